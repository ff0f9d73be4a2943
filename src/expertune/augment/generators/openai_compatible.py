"""Write questions with any server that offers `/v1/chat/completions`: llama-server, vLLM, Ollama, LM Studio, OpenAI."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import Field

from expertune.augment.generators import base, chat
from expertune.models import ModelSource, plugins
from expertune.models.plugins import Request, StreamingGenerator
from expertune.models.server import UNDECISIVE, FilteredError, Server, ServerOptions, excerpt, refuse_model

logger = logging.getLogger(__name__)

_PLUG_IN = "openai_compatible"
_VERSION = 1
# Requests under way at once, times this, go between two looks at the time budget.
_ROUNDS = 16


class ChatOptions(ServerOptions):
    """What a config may set."""

    concurrency: int = Field(default=4, ge=1, description="requests under way at once")
    temperature: float = Field(default=0.8, ge=0.0, description="of sampling")
    max_tokens: int = Field(default=256, ge=1, description="a longer answer is cut by the server, and not used")
    language: chat.LanguageChoice = Field(
        default="auto", description="of the instructions; auto: of each answer, English where there are no others"
    )


class OpenAICompatibleGenerator(StreamingGenerator):
    """Let a chat model on a server write the questions that a given text answers.

    Nothing is sent before the first question is asked for: a run that finds all texts in the cache asks nobody.
    """

    def __init__(self, source: ModelSource | None = None, /, **options: Any) -> None:
        refuse_model(source, plug_in=_PLUG_IN)
        self._options = plugins.read_options(ChatOptions, options, plug_in=_PLUG_IN)
        self._server = Server(self._options, plug_in=_PLUG_IN)
        self._language = chat.fixed(self._options.language)
        self._cut = False
        self.name = self._options.model
        self.batch_size = _ROUNDS * self._options.concurrency
        decisive = self._options.model_dump(exclude=UNDECISIVE | {"concurrency"})
        decisive["prompts"] = base.number(chat.WORDINGS)
        self.fingerprint = plugins.fingerprint(_PLUG_IN, _VERSION, None, decisive)

    served = True

    @property
    def used(self) -> str:
        """What it has used so far, in a line; empty as long as nothing was asked."""
        return str(self._server.usage)

    def stream(self, requests: Sequence[Request], *, seed: int) -> Iterator[tuple[int, str]]:
        """Yield (position, text) as each answer arrives.

        Raises:
            ServerError: the server cannot be used; what was under way has been yielded before.
        """
        return self._server.side_by_side(partial(self._ask, seed=seed), requests, most=self._options.concurrency)

    def _ask(self, request: Request, *, seed: int) -> str:
        body = {
            "messages": chat.messages(request, language=self._language),
            "temperature": self._options.temperature,
            "max_tokens": self._options.max_tokens,
            # Some servers keep seeds in 32 bits with a sign.
            "seed": base.request_seed(request, seed) >> 1,
        }
        try:
            answer = self._server.post("chat/completions", body)
        except FilteredError as error:
            logger.info("%s: %s", self.name, error)
            return ""
        self._server.warn_of_other_model(answer)
        return self._text(answer)

    def _text(self, answer: Mapping[str, Any]) -> str:
        """Return what the model wrote; "" for an empty choice, a refusal, or a text that was cut."""
        if not isinstance(answer.get("choices"), list):
            raise self._server.error(
                f"the answer has no list of choices: {excerpt(dict(answer))}",
                hint="Is it a server for chat completions?",
            )
        text, ended = chat.reply(answer)
        if not ended and not self._cut:
            self._cut = True
            logger.warning("%s: an answer was cut at max_tokens = %d", self.name, self._options.max_tokens)
        return text if ended else ""
