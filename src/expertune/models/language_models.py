"""Load a language model, causal or seq2seq: a GGUF file, a folder, or a hub id. Knows not what it writes or judges.

A GGUF file is made quick to load: its weights are unpacked once into the cache folder.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from expertune.errors import ModelUnavailableError
from expertune.models import ModelSource
from expertune.models.folders import new_folder
from expertune.models.hardware import computes_bfloat16
from expertune.models.packages import cache_folder

Precision = Literal["auto", "bfloat16", "float32"]


def load(source: ModelSource, *, dtype: Precision, place: str, seq2seq: bool = False) -> tuple[Any, Any]:
    """Return tokenizer and model, ready to compute: on the GPU where there is one.

    Args:
        source: Where the model lives.
        dtype: What to compute in; auto: bfloat16 where the processor or GPU has it.
        place: The config key that names the model, for errors.
        seq2seq: Whether a seq2seq model will do as well; its config then says `is_encoder_decoder`.

    Raises:
        ModelUnavailableError: it cannot be loaded as a language model of a kind that will do.
    """
    import torch
    from transformers import AutoConfig, AutoTokenizer

    wanted = "causal or seq2seq" if seq2seq else "causal"
    folder = source.location
    if folder.endswith(".gguf") and Path(folder).is_file():
        folder = str(unpacked(Path(folder), source.fingerprint, place=place))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=source.local)
            config = AutoConfig.from_pretrained(folder, local_files_only=source.local, trust_remote_code=False)
            if config.is_encoder_decoder and not seq2seq:
                raise ValueError("it is a seq2seq model")
            model, loaded = _kind(config).from_pretrained(
                folder,
                config=config,
                local_files_only=source.local,
                dtype=_dtype(dtype),
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
            # An encoder alone would load too: with whatever it lacks made up at random.
            if loaded["missing_keys"]:
                raise ValueError(f"it has no weights for {min(loaded['missing_keys'])}")
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelUnavailableError(
            f"not a {wanted} language model that transformers can load ({error})",
            place=source.name,
            hint=f"Name another model under {place}.",
        ) from error
    return tokenizer, model.to(device).eval()


def is_seq2seq(source: ModelSource) -> bool:
    """Whether a model's config names it one, read without loading anything; False for a GGUF file, which has none."""
    from huggingface_hub import hf_hub_download

    location = source.location
    try:
        file = Path(location) / "config.json" if source.local else Path(hf_hub_download(location, "config.json"))
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # loading it will tell what is wrong
    return isinstance(settings, dict) and settings.get("is_encoder_decoder") is True


def _kind(config: Any) -> Any:
    """Return the class of transformers that loads a language model with this config."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


def _dtype(choice: Precision) -> Any:
    """Return the torch type to compute in: half the bytes where the hardware has instructions for it."""
    import torch

    if choice != "auto":
        return getattr(torch, choice)
    return torch.bfloat16 if computes_bfloat16() else torch.float32


def unpacked(file: Path, fingerprint: str, *, place: str) -> Path:
    """Return a folder with the weights of a GGUF file as bfloat16 safetensors, written on first use.

    Reading a quantised file takes up to a minute, reading the folder a second. The folder appears by one rename,
    so it is complete when it exists.

    Raises:
        ModelUnavailableError: the file cannot be read as a language model, or the cache cannot be written.
    """
    target = cache_folder() / f"{file.stem}-{fingerprint[:12]}-unpacked"
    if target.is_dir():
        return target
    try:
        with new_folder(target) as temporary:
            _unpack(file, temporary, place)
    except OSError as error:
        raise ModelUnavailableError(
            f"the model cannot be unpacked ({error})",
            place=str(file),
            hint=f"Free space in {target.parent}, or name another folder with the variable EXPERTUNE_CACHE.",
        ) from error
    return target


def _unpack(file: Path, folder: Path, place: str) -> None:
    import torch
    from transformers import AutoConfig, AutoTokenizer, GgufConfig

    try:
        with quiet(), _without_gguf_bar():
            tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
            config = AutoConfig.from_pretrained(str(file.parent), gguf_file=file.name)
            model: Any = _kind(config).from_pretrained(
                str(file.parent),
                config=config,
                gguf_file=file.name,
                dtype=torch.float32,
                quantization_config=GgufConfig(dequantize=True),
            )
            model.to(torch.bfloat16).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except (ValueError, KeyError, RuntimeError) as error:
        raise ModelUnavailableError(
            f"not a GGUF file of a language model that transformers can read ({error})",
            place=str(file),
            hint=f"Name a model folder or another file under {place}.",
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from printing progress bars and advice while it loads; afterwards all is as before."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with without_bars():
            yield
    finally:
        logging.set_verbosity(verbosity)


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """Keep transformers from drawing progress bars; afterwards all is as before."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextlib.contextmanager
def _without_gguf_bar() -> Iterator[None]:
    """Silence the bar that reading GGUF draws: transformers has no switch for this one."""
    from transformers import modeling_gguf_pytorch_utils as reader

    drawn = getattr(reader, "tqdm", None)
    if drawn is None:
        yield
        return
    reader.tqdm = functools.partial(drawn, disable=True)
    try:
        yield
    finally:
        reader.tqdm = drawn
