"""Write questions with llama.cpp, from the GGUF file of a chat model: on a processor much faster than transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import Field

from expertune.augment.generators import base, chat
from expertune.errors import ConfigError, ModelUnavailableError
from expertune.models import ModelSource, plugins
from expertune.models.plugins import Request, StreamingGenerator

if TYPE_CHECKING:
    from llama_cpp import Llama

_PLUG_IN = "llama_cpp"
_VERSION = 2
# Share of probability that is sampled from.
_TOP_P = 0.9
# Tokens of prompt and answer together: about a thousand words, the instructions, and what is written.
_CONTEXT = 4096


class LlamaCppOptions(plugins.Options):
    """What a config may set."""

    language: chat.LanguageChoice = Field(default="auto", description="of the instructions; auto: of each answer")
    temperature: float = Field(default=0.8, ge=0.0, description="of sampling")
    max_tokens: int = Field(default=256, ge=1, description="of an answer; one that was cut is not used")
    threads: int = Field(default=0, ge=0, description="processor threads; 0: llama.cpp decides")
    gpu_layers: int = Field(default=0, ge=-1, description="layers computed on a GPU; -1: all")


class LlamaCppGenerator(StreamingGenerator):
    """Let a GGUF model write questions one after the other; each is kept as soon as it is written.

    The model is loaded when the first question is asked for: a run that finds all texts in the cache loads none.
    """

    def __init__(self, model: ModelSource | None, **options: Any) -> None:
        if model is None or not model.location.endswith(".gguf"):
            given = f"'{model.location}'" if model else "no model"
            raise ConfigError(
                [f"the plug-in '{_PLUG_IN}' needs a GGUF file, got {given}"],
                hint=f'Name one: "{_PLUG_IN}:FILE.gguf" or "{_PLUG_IN}:smollm2-135m-instruct".',
            )
        plugins.require_extra("llama-cpp", "llama_cpp", plug_in=_PLUG_IN)
        self._source = model
        self._options = plugins.read_options(LlamaCppOptions, options, plug_in=_PLUG_IN)
        self._language = chat.fixed(self._options.language)
        self.name = model.name
        self.batch_size = 64
        decisive = self._options.model_dump(exclude={"threads", "gpu_layers"})
        decisive["wording"] = base.number(chat.WORDINGS)
        self.fingerprint = plugins.fingerprint(_PLUG_IN, _VERSION, model, decisive)

    def stream(self, requests: Sequence[Request], *, seed: int) -> Iterator[tuple[int, str]]:
        """Yield (position, text) as each is written."""
        for position, request in enumerate(requests):
            yield position, self._text(request, base.request_seed(request, seed))

    def _text(self, request: Request, seed: int) -> str:
        answer = self._llama.create_chat_completion(
            chat.messages(request, language=self._language),
            temperature=self._options.temperature,
            top_p=_TOP_P,
            max_tokens=self._options.max_tokens,
            seed=seed,
        )
        text, ended = chat.reply(answer)
        return text if ended else ""

    @cached_property
    def _llama(self) -> Llama:
        from llama_cpp import Llama

        try:
            llama = Llama(
                self._source.location,
                n_ctx=_CONTEXT,
                n_threads=self._options.threads or None,
                n_gpu_layers=self._options.gpu_layers,
                verbose=False,
            )
        except (ValueError, RuntimeError, OSError, AssertionError) as error:
            raise ModelUnavailableError(
                f"not a GGUF file that llama.cpp can load ({error})",
                place=self._source.location,
                hint="Name another file under augment.generators.",
            ) from error
        if "tokenizer.chat_template" not in llama.metadata:
            raise ConfigError(
                [f"the plug-in '{_PLUG_IN}' writes with chat models, this file has no chat template"],
                place=self._source.location,
                hint=f'Let the plug-in "transformers" continue frames: "transformers:{self._source.location}".',
            )
        return llama
