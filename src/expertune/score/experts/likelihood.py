"""Score by how likely a small language model finds the question after it has read the answer.

Query likelihood with a language model, as in Sachan et al. 2022 (arXiv 2204.07496).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import Field

from expertune.errors import ConfigError
from expertune.models import ModelSource, language_models
from expertune.models.plugins import Expert, Options, fingerprint, read_options
from expertune.records import FloatArray
from expertune.score.experts.base import require_model
from expertune.score.experts.shortlist import chunk, shortlist

_PLUG_IN = "likelihood"
_VERSION = 1
# Longer answers are cut: small models lose the thread, and large ones the time.
_MOST_TOKENS = 256
_QUESTIONS = 16  # at once
_TEXT = "{text}"
_PROMPT = f'Frequently asked questions\n\nAnswer: {_TEXT}\n\nThe question to this answer is: "'


class LikelihoodOptions(Options):
    """What a config may set."""

    candidates: int = Field(default=30, ge=0, description="documents scored for each question, found by words; 0: all")
    prompt: str = Field(default=_PROMPT, description=f"what stands before the question; {_TEXT} is the answer")


class LikelihoodExpert(Expert):
    """Score the mean of log p(token | answer, tokens before) over the tokens of a question, in nats."""

    def __init__(self, model: ModelSource | None, **options: Any) -> None:
        self._source = require_model(model, plug_in=_PLUG_IN)
        self._options = read_options(LikelihoodOptions, options, plug_in=_PLUG_IN)
        if _TEXT not in self._options.prompt:
            raise ConfigError([f"the prompt has no place for the answer, {_TEXT}"], place=f"plug-in {_PLUG_IN}")
        self.name = self._source.name
        self.chunk = chunk(self._options.candidates)
        self.fingerprint = fingerprint(_PLUG_IN, _VERSION, self._source, self._options.model_dump())

    def score(self, questions: Sequence[str], documents: Sequence[str]) -> FloatArray:
        """Return float32 `[len(questions), len(documents)]` below 0; NaN where a document is no candidate."""
        chosen = shortlist(questions, documents, self._options.candidates)
        values = np.full(chosen.shape, np.nan, dtype=np.float32)
        if not chosen.any():
            return values
        tokens = [self._tokens(question) for question in questions]
        # Questions of like length share a batch; one without tokens stays unscored.
        order = sorted((row for row, some in enumerate(tokens) if some), key=lambda row: len(tokens[row]))
        for column, document in enumerate(documents):
            rows = [row for row in order if chosen[row, column]]
            if rows:
                values[rows, column] = self._mean_log_p(document, [tokens[row] for row in rows])
        return values

    def _mean_log_p(self, document: str, questions: Sequence[list[int]]) -> list[float]:
        """Read the document once and continue it with every question."""
        import torch

        _, model = self._loaded
        prefix = torch.tensor([self._prefix(document)], device=model.device)
        means: list[float] = []
        with torch.inference_mode():
            # The last token is left for the questions' batches: what it predicts is their first token.
            memory = model(input_ids=prefix[:, :-1], use_cache=True, logits_to_keep=1).past_key_values
            for start in range(0, len(questions), _QUESTIONS):
                some = questions[start : start + _QUESTIONS]
                means += self._continued(memory, prefix[0], some)
        return means

    def _continued(self, memory: Any, prefix: Any, questions: Sequence[list[int]]) -> list[float]:
        """Return the mean log-probability of each question's tokens, in nats."""
        import torch

        _, model = self._loaded
        count, longest = len(questions), max(map(len, questions))
        tokens = torch.zeros((count, longest + 1), dtype=torch.long, device=model.device)
        weights = torch.zeros((count, longest), device=model.device)
        tokens[:, 0] = prefix[-1]
        for row, some in enumerate(questions):
            tokens[row, 1 : len(some) + 1] = torch.tensor(some, device=model.device)
            weights[row, : len(some)] = 1.0 / len(some)
        # Padding stands on the right, where nothing before it can see it: the mask needs to know only the length.
        own = copy.deepcopy(memory)
        own.batch_repeat_interleave(count)
        mask = torch.ones((count, len(prefix) - 1 + longest), dtype=torch.long, device=model.device)
        logits = model(input_ids=tokens[:, :-1], attention_mask=mask, past_key_values=own).logits.float()
        chosen = logits.gather(2, tokens[:, 1:, None]).squeeze(2) - logits.logsumexp(2)
        means: list[float] = (chosen * weights).sum(dim=1).tolist()
        return means

    def _prefix(self, document: str) -> list[int]:
        tokenizer, _ = self._loaded
        tokens = self._tokens(document)
        if len(tokens) > _MOST_TOKENS:
            document = tokenizer.decode(tokens[:_MOST_TOKENS])
        prefix: list[int] = tokenizer(self._options.prompt.replace(_TEXT, document))["input_ids"]
        return prefix

    def _tokens(self, text: str) -> list[int]:
        tokens: list[int] = self._loaded[0](text, add_special_tokens=False)["input_ids"]
        return tokens

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        return language_models.load(self._source, dtype="auto", place="score.experts")
