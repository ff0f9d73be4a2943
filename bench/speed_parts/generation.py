"""Tokens a second: batches of prompts against `generate` one by one, and llama.cpp on the same file."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from typing import Any

import torch

from speed_parts import texts
from speed_parts.measuring import Section, in_turn, ratio, row

MODEL = "smollm2-135m-instruct"


def run(given: Namespace) -> Section:
    """Measure the small packaged model on the prompts that augmentation would send."""
    from expertune import models
    from expertune.augment.generators.decoding import Writer
    from expertune.models import language_models

    source = models.resolve(MODEL)
    tokenizer, model = language_models.load(source, dtype="auto", place="bench")
    asked = prompts(given)
    few = asked[:: max(1, len(asked) // given.alone)][: given.alone]
    writers = {
        "ours, batched, with contrast": Writer(model, tokenizer, contrast=0.7, top_p=0.9),
        "ours, batched": Writer(model, tokenizer, contrast=0.0, top_p=0.9),
    }
    ways: dict[str, Callable[[], int]] = {
        name: lambda writer=writer: _written(writer, asked, tokenizer) for name, writer in writers.items()
    }
    ways["generate, one by one"] = lambda: _generated(model, tokenizer, few)
    notes = ["Ours counts the tokens that are kept, without the one that ends a text; the others count all they write."]
    if find_spec("llama_cpp"):
        ways["llama.cpp, one by one"] = _llama(source.location, given.threads, few)
    else:
        notes.append("llama.cpp was not measured: llama-cpp-python is not installed (it compiles from source).")
    counted: dict[str, list[float]] = {name: [] for name in ways}

    def timed(name: str) -> Callable[[], None]:
        def once() -> None:
            started = time.perf_counter()
            tokens = ways[name]()
            counted[name].append(tokens / (time.perf_counter() - started))

        return once

    in_turn({name: timed(name) for name in ways}, given.turns)
    rates = {name: values[1:] for name, values in counted.items()}  # the first round warms up
    rows = [row(name, "tokens/s", values) for name, values in rates.items()]
    whole, shared = _reading(writers["ours, batched"], asked, given.turns)
    rows += [row("reading all prompts whole", "s", whole), row("reading them with shared beginnings", "s", shared)]
    ratios = [
        ratio("ours, batched / generate", rates["ours, batched"], rates["generate, one by one"]),
        ratio(
            "ours, batched, with contrast / generate",
            rates["ours, batched, with contrast"],
            rates["generate, one by one"],
        ),
        ratio("reading whole / with shared beginnings", whole, shared),
    ]
    if "llama.cpp, one by one" in rates:
        ratios.append(ratio("ours, batched / llama.cpp", rates["ours, batched"], rates["llama.cpp, one by one"]))
        ratios.append(
            ratio(
                "ours, batched, with contrast / llama.cpp",
                rates["ours, batched, with contrast"],
                rates["llama.cpp, one by one"],
            )
        )
    setting = {"model": MODEL, "dtype": str(model.dtype), "prompts": len(asked), "prompts one by one": len(few)}
    return Section(setting, rows, ratios, notes)


def prompts(given: Namespace) -> list[Any]:
    """Return the prompts of every default kind for some answers of the shop, as augmentation asks for them."""
    from expertune.augment.generators import base
    from expertune.augment.generators import prompts as wording
    from expertune.models.plugins import Request

    documents = texts.drawn(texts.read(given.shop, "corpus"), given.answers)
    from expertune.augment.plan import KINDS

    requests = [
        Request(text, "How does that work?" if kind == "rephrase" else "", kind, attempt)
        for text in documents
        for kind in KINDS
        for attempt in range(2)
    ]
    return [wording.prompt(request, temperature=0.5, seed=base.request_seed(request, 0)) for request in requests]


def _batches(asked: Sequence[Any], size: int = 64) -> Iterable[list[Any]]:
    """Yield batches of like length, as the generator forms them."""
    ordered = sorted(asked, key=lambda prompt: len(prompt.text))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def _written(writer: Any, asked: Sequence[Any], tokenizer: Any) -> int:
    made = [written.text for batch in _batches(asked) for written in writer.write(batch)]
    return sum(len(ids) for ids in tokenizer(made, add_special_tokens=False)["input_ids"])


def _generated(model: Any, tokenizer: Any, asked: Sequence[Any]) -> int:
    count = 0
    for prompt in asked:
        inputs = tokenizer(prompt.text + prompt.start, return_tensors="pt")
        with torch.inference_mode():
            made = model.generate(**inputs, max_new_tokens=prompt.longest, do_sample=False)
        count += made.shape[1] - inputs["input_ids"].shape[1]
    return count


def _llama(file: str, threads: int, asked: Sequence[Any]) -> Callable[[], int]:
    from llama_cpp import Llama

    llama = Llama(file, n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False)

    def write() -> int:
        count = 0
        for prompt in asked:
            llama.reset()
            made = llama.create_completion(prompt.text + prompt.start, max_tokens=prompt.longest, temperature=0.0)
            count += made["usage"]["completion_tokens"]
        return count

    return write


def _reading(writer: Any, asked: Sequence[Any], turns: int) -> tuple[list[float], list[float]]:
    """Return the seconds of reading all prompts whole, and with their beginnings shared."""
    reader = writer._reader
    batches = [[prompt.text + prompt.start for prompt in batch] for batch in _batches(asked)]
    rows = [[reader._tokenizer(batch)["input_ids"], batch] for batch in batches]

    def whole() -> None:
        with torch.inference_mode():
            for ids, _ in rows:
                reader._padded(ids)

    def shared() -> None:
        with torch.inference_mode():
            for _, batch in rows:
                reader.read(batch)

    seconds = in_turn({"whole": whole, "shared": shared}, turns)
    return seconds["whole"], seconds["shared"]
