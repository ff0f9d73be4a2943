"""Messages that ask a chat model for a question of a kind, in the language of the answer. Knows no server, no model.

Instructions are worded in English, German and Chinese; for any other language the English ones are used, which ask for
the language of the text as well. Attempts differ by whose question it is, so that no chance has to make them differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from expertune.models.plugins import Request

Language = Literal["en", "de", "zh"]
LanguageChoice = Literal["auto", "en", "de", "zh"]
"""What a config may say: a language, or that of each answer."""
Messages = list[dict[str, str]]

# About a thousand words: what a question is about stands in the beginning of a longer answer.
_MOST_CHARACTERS = 6000
_THINKING = re.compile(r"^.*?</think>", re.DOTALL)
_OPEN_THINKING = re.compile(r"^\s*<think>")
_LETTER = re.compile(r"[^\W\d_]")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_KANA_OR_HANGUL = re.compile(r"[\u3040-\u30ff\uac00-\ud7af]")
# Frequent words that are German and, in this spelling, hardly anything else.
_GERMAN = re.compile(
    r"\b(?:und|ist|nicht|einen|einem|einer|eine|für|auf|werden|wird|können|kann|sie|ihre|ihren|ihr|oder|auch|wir|das|mit|"
    r"zu|zum|zur|von|sind|haben|bei|nach|aus|wenn)\b"
)
_GERMAN_SHARE = 0.08


@dataclass(frozen=True, slots=True)
class Wording:
    """The sentences of one language. `{text}` and `{question}` stand for the answer and the labelled question."""

    system: str
    text: str
    question: str
    kinds: Mapping[str, str]
    askers: tuple[str, ...]


WORDINGS: Mapping[Language, Wording] = {
    "en": Wording(
        system=(
            "You write what real users type when they look for help. Write in the same language as the text you are "
            "given. Reply with the requested words only: no introduction, no quotation marks, no explanation, no list."
        ),
        text='Text:\n"""\n{text}\n"""',
        question="A user asked about it: {question}",
        kinds={
            "question": "Write one natural question that this text answers. Do not copy its sentences.",
            "rephrase": "Ask the user's question again in clearly different words, without changing what is wanted.",
            "keyword": "Write the two to five search words somebody would type to find this text. No sentence.",
            "short": "Write a very short question of at most five words that this text answers.",
            "indirect": (
                "Describe in one or two sentences, in the first person, a problem that this text solves. "
                "Ask no question."
            ),
            "vocabulary": (
                "Write one question that this text answers, in everyday words of somebody who does not know the terms "
                "of the text; use as few of its words as you can."
            ),
        },
        askers=(
            "",
            "Ask about a detail of the text rather than about its main point.",
            "The user is new to all this.",
            "The user has tried already and it did not work.",
            "The user is in a hurry.",
            "The user writes politely and in full sentences.",
        ),
    ),
    "de": Wording(
        system=(
            "Du schreibst, was echte Nutzer eintippen, wenn sie Hilfe suchen. Schreibe auf Deutsch. Antworte nur mit "
            "dem verlangten Text: keine Einleitung, keine Anführungszeichen, keine Erklärung, keine Liste."
        ),
        text='Text:\n"""\n{text}\n"""',
        question="Ein Nutzer hat dazu gefragt: {question}",
        kinds={
            "question": "Schreibe eine natürliche Frage, die dieser Text beantwortet. Übernimm keine Sätze daraus.",
            "rephrase": "Stelle die Frage des Nutzers mit deutlich anderen Worten, ohne zu ändern, was er wissen will.",
            "keyword": "Schreibe die zwei bis fünf Suchwörter, mit denen jemand diesen Text suchen würde. Kein Satz.",
            "short": "Schreibe eine sehr kurze Frage mit höchstens fünf Wörtern, die dieser Text beantwortet.",
            "indirect": (
                "Beschreibe in ein oder zwei Sätzen in der Ich-Form ein Problem, das dieser Text löst. "
                "Stelle keine Frage."
            ),
            "vocabulary": (
                "Schreibe eine Frage, die dieser Text beantwortet, in Alltagssprache von jemandem, der die Fachwörter "
                "des Textes nicht kennt; verwende möglichst wenige seiner Wörter."
            ),
        },
        askers=(
            "",
            "Es soll um eine Einzelheit des Textes gehen, nicht um die Hauptsache.",
            "Für den Nutzer ist das alles neu.",
            "Der Nutzer hat es schon versucht, und es hat nicht geklappt.",
            "Der Nutzer hat es eilig.",
            "Der Nutzer schreibt höflich und in ganzen Sätzen.",
        ),
    ),
    "zh": Wording(
        system="你模仿真实用户在寻求帮助时输入的内容。请用中文书写。只回复所要求的文字：不要开场白，不要引号，不要解释，不要列表。",
        text='文本：\n"""\n{text}\n"""',
        question="一位用户就此提问：{question}",
        kinds={
            "question": "写一个可以由这段文本回答的自然的问题。不要照抄其中的句子。",
            "rephrase": "用明显不同的说法重新表述用户的问题，但不改变他想知道的内容。",
            "keyword": "写出用户为找到这段文本会输入的二到五个搜索词，用空格分开。不要写成句子。",
            "short": "写一个可以由这段文本回答的很短的问题，不超过十个字。",
            "indirect": "用第一人称写一两句话，描述这段文本能够解决的问题。不要提问。",
            "vocabulary": "写一个可以由这段文本回答的问题，提问者不懂文中的术语，用日常用语表达；尽量少用原文的词。",
        },
        askers=(
            "",
            "内容应针对文本中的某个细节，而不是主要内容。",
            "用户对这一切都很陌生。",
            "用户已经试过了，但没有成功。",
            "用户很着急。",
            "用户用礼貌而完整的句子书写。",
        ),
    ),
}


def messages(request: Request, *, language: Language | None = None) -> Messages:
    """Return the messages of a request; `language` None: that of the answer."""
    wording = WORDINGS[language or language_of(request.document)]
    kind, turn = request.kind, request.attempt
    if kind == "rephrase" and not request.question:
        # There is nothing to rephrase; somebody else asks than in the requests for a question.
        kind, turn = "question", turn + len(wording.askers) // 2
    asker = wording.askers[turn % len(wording.askers)]
    parts = [
        wording.text.format(text=request.document[:_MOST_CHARACTERS]),
        wording.question.format(question=request.question) if kind == "rephrase" else "",
        " ".join(filter(None, (wording.kinds[kind], asker))),
    ]
    return [
        {"role": "system", "content": wording.system},
        {"role": "user", "content": "\n\n".join(filter(None, parts))},
    ]


def reply(answer: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the text of a chat completion without thinking aloud, and whether it came to its end.

    The text is "" where there is none: no choice, a refusal in a field of its own, thoughts that lead to nothing.
    """
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return said(content) if isinstance(content, str) else "", choice.get("finish_reason") != "length"


def said(content: str) -> str:
    """Return what a model wrote without thinking aloud; "" where the thoughts lead to nothing."""
    text = _THINKING.sub("", content, count=1)
    return "" if _OPEN_THINKING.match(text) else text.strip()


def in_one(several: Messages) -> str:
    """Return messages as one text, for a model that knows no roles."""
    return "\n\n".join(message["content"] for message in several)


def fixed(choice: LanguageChoice) -> Language | None:
    """Return the language that a config sets; None: that of each answer."""
    return None if choice == "auto" else choice


def language_of(text: str) -> Language:
    """Return "zh" or "de" where the characters or the frequent words say so, else "en", which serves any language."""
    letters = len(_LETTER.findall(text))
    if not _KANA_OR_HANGUL.search(text) and len(_HAN.findall(text)) > 0.3 * max(letters, 1):
        return "zh"
    german = len(_GERMAN.findall(text.lower()))
    return "de" if german >= max(2, _GERMAN_SHARE * len(text.split())) else "en"
