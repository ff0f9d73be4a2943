"""Recognise what models write around a question, in English and other main languages. Knows no draft and no rule."""

from __future__ import annotations

import re

_OPENING = (
    r"(?:here(?:'s|’s| is| are)|below (?:is|are)|the following (?:is|are)|this is|hier (?:ist|sind|is|zijn)|voici|voilà"
    r"|aquí (?:está|están|hay|tienes|tiene)|aqui (?:está|estão)|ecco|oto|вот)"
)
_ASKED = (
    r"(?:questions?|quer(?:y|ies)|rephras\w+|paraphras\w+|frage\w*|suchanfrage\w*|umformulierung\w*|preguntas?"
    r"|domand[ae]|perguntas?|vra(?:ag|gen)|pytani[ea]|вопрос\w*)"
)
_ARTICLE = r"(?:(?:an?|one|some|the|two|three|eine?|einige|die|der|une|des|la|una|uma|een|de|il|jedno)\s+)"
_BRACKETED = (
    r"[(\[]\s*(?:user |customer |short )?(?:re-?(?:phras|word|formulat|written|writ)\w*|paraphras\w*|question|query|q"
    r"|keywords?|version|variant|alternative|umformuliert|frage|reformul\w*|pregunta|domanda|pergunta|vraag)"
    r"(?:\s+(?:question|version|query))?\s*\d*\s*[)\]]"
)
_SHOWN = r"(?:passage|text|article|document|answer|paragraph|context|excerpt|snippet)"

FOREIGN_PREAMBLE = re.compile(rf"^\s*{_OPENING}\b[^:：\n?]{{0,80}}\b{_ASKED}\b[^:：\n?]{{0,80}}[:：]\s*", re.IGNORECASE)
"""An opening that ends with a colon; the question follows."""
_MODAL = r"(?:(?:is|are|was|could|would|might|may|can|be|also)\s+)*"
ANNOUNCED = re.compile(
    r"^\s*(?:(?:(?:one|an?|another|the|my|your)\s+)?(?:possible |example |other |next |customer |user )?"
    rf"{_ASKED}(?:\s+(?:is|are|was|could be|would be|might be|may be|asked))?"
    rf"|(?:(?:the|a)\s+)?(?:customer|user|you|i|one|somebody|someone)\s+{_MODAL}(?:ask(?:s|ed)?|say)\b[^:：\n?]{{0,40}})"
    r"\s*[:：]\s*",
    re.IGNORECASE,
)
"""A question that is announced before a colon: "You could ask: ...", "One possible question is: ..."."""
OPEN_PREAMBLE = re.compile(rf"^{_OPENING} {_ARTICLE}?(?:[\w-]+\s+){{0,3}}?{_ASKED}\b", re.IGNORECASE)
"""An opening that announces a question in the same sentence: there is none."""
FOREIGN_LABEL = re.compile(
    r"^\s*(?:frage|suchanfrage|question|pregunta|domanda|pergunta|vraag|pytanie|вопрос|问题|問題|質問|질문)\s*\d*\s*[:：]\s*",
    re.IGNORECASE,
)
BRACKETED_LABEL = re.compile(rf"^\s*{_BRACKETED}\s*[:.–-]*\s*|\s*{_BRACKETED}\s*$", re.IGNORECASE)
WRAPPED = re.compile(
    r"""^\s*(?:```\w*\s*)?\[?\s*\{.*?["']?\b(?:question|query|text|q)\w*["']?\s*:\s*(["'])(.*?)(?:(?<!\\)\1|$)""",
    re.IGNORECASE | re.DOTALL,
)
"""JSON with a question inside, which is the second group."""
LISTED = re.compile(r"""^\s*\[\s*(?=["'])|(?<=["'])\s*[\],]+\s*$""")
"""The brackets of a list around a text in quotes."""
REFERENCE = re.compile(
    r"\b(?:according to|based on|as (?:mentioned|stated|described|given)(?: in)?|as per"
    r"|(?:mentioned|described|stated) in) "
    rf"(?:the|this|that) (?:above |given |following |provided |preceding |previous )?{_SHOWN}\b"
    rf"|\b(?:the|this) (?:above|given|following|provided) {_SHOWN}\b|\b(?:the|this) (?:passage|excerpt|snippet)\b"
    rf"|\b(?:the|this) {_SHOWN} (?:above|below|says?|mentions?|states?|describes?|explains?|refers? to|talks? about)\b"
    rf"|\b(?:does|did|would) (?:the|this) (?:{_SHOWN}|author) (?:say|mention|state|describe|explain|mean|suggest)\b"
    r"|\b(?:given|from|in|with|by) the (?:(?:given|provided|above|following) )?context\b"
    r"|\bthe (?:given|provided|above) information\b|\binformation (?:is|was) (?:provided|given|mentioned)\b"
    r"|\bwhich of the following\b|\b(?:described|mentioned|stated|listed) (?:above|below)\b|\bcan be inferred\b"
    r"|\b(?:laut|gemäß) (?:dem |der |des |diesem |dieser )?(?:obigen |gegebenen |vorliegenden )?"
    r"(?:text|passage|textabschnitt|abschnitt|artikel|dokument|antwort)s?\b|\bim (?:obigen |gegebenen )?text\b"
    r"|\b(?:selon|d'après|d’après) (?:le|la|ce|cette) (?:texte|passage|document|réponse|extrait|article)\b"
    r"|\b(?:según|de acuerdo con|de acordo com|segundo|secondo) (?:el|la|este|esta|o|a|il|lo|questo) "
    r"(?:texto|pasaje|documento|respuesta|resposta|passagem|testo|brano|risposta)\b"
    r"|\bvolgens (?:de|deze|het) (?:tekst|passage|artikel|document|antwoord)\b"
    r"|根据(?:上|本|该|这)?(?:文|段|篇)|(?:この|上記の|本)(?:文章|文書|テキスト|回答)(?:によると|によれば|では)",
    re.IGNORECASE,
)
"""A mention of the text that the model was shown: nobody who asks has seen it."""
