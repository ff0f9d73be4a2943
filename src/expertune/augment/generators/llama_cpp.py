"""Write questions with llama.cpp, from a GGUF file: on a processor much faster than transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from expertune.augment.generators import base, chat, prompts
from expertune.errors import ConfigError, ModelUnavailableError
from expertune.models import ModelSource, plugins
from expertune.models.plugins import Request, StreamingGenerator

if TYPE_CHECKING:
    from llama_cpp import Llama

_PLUG_IN = "llama_cpp"
_VERSION = 1
_STOPS = ['"', "\n", "”", "“"]


class LlamaCppOptions(plugins.Options):
    """What a config may set."""

    prompts: Literal["auto", "chat", "frames"] = Field(
        default="auto",
        description="chat: instructions; frames: a text to continue; auto: chat where the file has a chat template",
    )
    language: chat.LanguageChoice = Field(default="auto", description="of the chat instructions")
    temperature: float = Field(default=0.8, ge=0.0, description="of sampling; frames sample only in late attempts")
    top_p: float = Field(default=0.9, gt=0.0, le=1.0, description="share of probability that is sampled from")
    max_tokens: int = Field(default=256, ge=1, description="of a chat answer; one that was cut is not used")
    context: int = Field(default=4096, ge=256, description="tokens of prompt and answer together")
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
        decisive["wording"] = base.number(chat.WORDINGS, prompts.RECIPES, prompts.FRAME_WORDS)
        self.fingerprint = plugins.fingerprint(_PLUG_IN, _VERSION, model, decisive)

    def stream(self, requests: Sequence[Request], *, seed: int) -> Iterator[tuple[int, str]]:
        """Yield (position, text) as each is written."""
        for position, request in enumerate(requests):
            own = base.request_seed(request, seed)
            yield position, self._chatted(request, own) if self._chats else self._continued(request, own)

    @property
    def _chats(self) -> bool:
        choice = self._options.prompts
        return choice == "chat" or (choice == "auto" and "tokenizer.chat_template" in self._llama.metadata)

    def _chatted(self, request: Request, seed: int) -> str:
        answer = self._llama.create_chat_completion(
            chat.messages(request, language=self._language),
            temperature=self._options.temperature,
            top_p=self._options.top_p,
            max_tokens=self._options.max_tokens,
            seed=seed,
        )
        text, ended = chat.reply(answer)
        return text if ended else ""

    def _continued(self, request: Request, seed: int) -> str:
        asked = prompts.prompt(request, temperature=self._options.temperature, seed=seed)
        answer = self._llama.create_completion(
            asked.text + asked.start,
            temperature=asked.temperature,
            top_p=self._options.top_p,
            max_tokens=asked.longest,
            stop=_STOPS,
            seed=seed,
        )
        choice = answer["choices"][0]
        ended = choice["finish_reason"] != "length"
        return prompts.finished(f"{asked.start}{choice['text']}".strip(), request, ended=ended)

    @cached_property
    def _llama(self) -> Llama:
        from llama_cpp import Llama

        try:
            return Llama(
                self._source.location,
                n_ctx=self._options.context,
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
