"""Tokens a second: batches of prompts against `generate` one by one, and llama.cpp on the same file."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Sequence
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
    writer = Writer(model, tokenizer)
    ways: dict[str, Callable[[], int]] = {
        "ours, batched, guided": lambda: _written(writer, asked, guided=True),
        "ours, batched": lambda: _written(writer, asked, guided=False),
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
    ratios = [
        ratio("ours, batched / generate", rates["ours, batched"], rates["generate, one by one"]),
        ratio(
            "ours, batched, guided / generate",
            rates["ours, batched, guided"],
            rates["generate, one by one"],
        ),
    ]
    if "llama.cpp, one by one" in rates:
        ratios.append(ratio("ours, batched / llama.cpp", rates["ours, batched"], rates["llama.cpp, one by one"]))
        ratios.append(
            ratio(
                "ours, batched, guided / llama.cpp",
                rates["ours, batched, guided"],
                rates["llama.cpp, one by one"],
            )
        )
    setting = {"model": MODEL, "dtype": str(model.dtype), "prompts": len(asked), "prompts one by one": len(few)}
    return Section(setting, rows, ratios, notes)


def prompts(given: Namespace) -> list[Any]:
    """Return the filled frames of every kind for some answers of the shop, as augmentation asks for them."""
    from expertune.augment.generators import frames
    from expertune.augment.plan import KINDS
    from expertune.models.plugins import Request

    documents = texts.drawn(texts.read(given.shop, "corpus"), given.answers)
    return [
        frames.fill(Request(text, "How does that work?" if kind == "rephrase" else "", kind, attempt))
        for text in documents
        for kind in KINDS
        for attempt in range(2)
    ]


def _written(writer: Any, asked: Sequence[Any], *, guided: bool) -> int:
    from expertune.augment.generators.decoding import Prompt

    def tokens(text: str) -> list[int]:
        return writer.tokenizer(text)["input_ids"]

    made = writer.write(
        [Prompt(tokens(item.text), tokens(item.plain) if guided else [], 0, 0.0, item.longest) for item in asked]
    )
    return sum(len(writer.tokenizer(text, add_special_tokens=False)["input_ids"]) for text, _ in made)


def _generated(model: Any, tokenizer: Any, asked: Sequence[Any]) -> int:
    count = 0
    for prompt in asked:
        inputs = tokenizer(prompt.text, return_tensors="pt")
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
            made = llama.create_completion(prompt.text, max_tokens=prompt.longest, temperature=0.0)
            count += made["usage"]["completion_tokens"]
        return count

    return write
