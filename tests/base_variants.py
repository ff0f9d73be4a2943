"""Models as users bring them: each is made from one plain model folder by the library that writes such folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROMPTS = {"query": "question ", "document": "answer to "}
SETTINGS = "config_sentence_transformers.json"


def edit(folder: Path, name: str, **changes: Any) -> None:
    """Set keys of one of a model's JSON files; None removes a key."""
    values = json.loads((folder / name).read_text(encoding="utf-8")) | changes
    kept = {key: value for key, value in values.items() if value is not None}
    (folder / name).write_text(json.dumps(kept), encoding="utf-8")


def _edited(**changes: Any) -> Callable[[Path, Path], None]:
    def make(plain: Path, target: Path) -> None:
        shutil.copytree(plain, target)
        edit(target, SETTINGS, **changes)

    return make


def _stored_as(dtype: str, **changes: Any) -> Callable[[Path, Path], None]:
    def make(plain: Path, target: Path) -> None:
        import torch

        model = _load(plain).to(getattr(torch, dtype))
        model.save_pretrained(str(target), create_model_card=False)
        edit(target, SETTINGS, **changes)

    return make


def _built(modules: Callable[[Any], list[Any]], **options: Any) -> Callable[[Path, Path], None]:
    def make(plain: Path, target: Path) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        with torch.random.fork_rng():
            torch.manual_seed(1)
            made = SentenceTransformer(modules=modules(_load(plain)), device="cpu", **options)
        made.save_pretrained(str(target), create_model_card=False)

    return make


def _load(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def _pooled(mode: str, *, include_prompt: bool = True) -> Callable[[Any], list[Any]]:
    def modules(model: Any) -> list[Any]:
        from sentence_transformers.sentence_transformer.modules import Pooling

        size = model[0].get_embedding_dimension()
        return [model[0], Pooling(size, pooling_mode=mode, include_prompt=include_prompt)]

    return modules


def _with_dense(model: Any) -> list[Any]:
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    return [model[0], model[1], Dense(model[0].get_embedding_dimension(), 12), Normalize()]


def _router(*, shared_end: bool) -> Callable[[Any], list[Any]]:
    """Give questions another encoder than documents, as a model has that expertune tuned; pooling may be shared."""

    def modules(model: Any) -> list[Any]:
        import copy

        import torch
        from sentence_transformers.base.modules import Router

        other = copy.deepcopy(model)
        with torch.no_grad():
            for value in other.parameters():
                value.add_(0.02 * torch.randn(value.shape))
        if shared_end:
            return [Router.for_query_document([other[0]], [model[0]]), *list(model)[1:]]
        return [Router.for_query_document(list(other), list(model))]

    return modules


def _static(model: Any) -> list[Any]:
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    return [StaticEmbedding(model.tokenizer.backend_tokenizer, embedding_dim=16)]


def _bare(plain: Path, target: Path) -> None:
    model = _load(plain)
    model[0].model.save_pretrained(str(target))
    model.tokenizer.save_pretrained(str(target))


def _without_lengths(plain: Path, target: Path) -> None:
    shutil.copytree(plain, target)
    edit(target, "sentence_bert_config.json", max_seq_length=None)
    edit(target, "tokenizer_config.json", model_max_length=None)


def _sharded(plain: Path, target: Path) -> None:
    model = _load(plain)
    model.save_pretrained(str(target), create_model_card=False)
    (target / "model.safetensors").unlink()
    model[0].model.save_pretrained(str(target), max_shard_size="20KB")


def _old_layout(plain: Path, target: Path) -> None:
    """Give the transformer a folder of its own, as sentence-transformers wrote it first."""
    shutil.copytree(plain, target)
    inner = target / "0_Transformer"
    inner.mkdir()
    for file in [file for file in target.iterdir() if file.is_file() and file.name not in ("modules.json", SETTINGS)]:
        file.rename(inner / file.name)
    modules = json.loads((target / "modules.json").read_text(encoding="utf-8"))
    (target / "modules.json").write_text(json.dumps([{**modules[0], "path": inner.name}, *modules[1:]]))


def _adapter(*, whole_folder: bool) -> Callable[[Path, Path], None]:
    """Write a LoRA adapter over the plain model: with modules and tokenizer beside it, or as peft alone writes it."""

    def make(plain: Path, target: Path) -> None:
        import torch
        from peft import LoraConfig, get_peft_model

        settings = LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False)
        model = _load(plain)
        with torch.random.fork_rng():
            torch.manual_seed(2)
            if whole_folder:
                model.add_adapter(settings)
                model.prompts = dict(PROMPTS)
                model.save_pretrained(str(target), create_model_card=False)
            else:
                get_peft_model(model[0].model, settings).save_pretrained(str(target))
        edit(target, "adapter_config.json", base_model_name_or_path=str(plain))

    return make


TUNABLE: dict[str, Callable[[Path, Path], None]] = {
    "plain": _edited(),
    "prompts": _edited(prompts=PROMPTS),
    "a query prompt alone": _edited(prompts={"query": PROMPTS["query"]}),
    "a passage prompt": _edited(prompts={"query": "question ", "passage": "answer to "}),
    "a default prompt": _edited(prompts={"task": "find ", **PROMPTS}, default_prompt_name="task"),
    "float16": _stored_as("float16"),
    "bfloat16": _stored_as("bfloat16"),
    "truncated": _edited(truncate_dim=8),
    "float16 truncated with prompts": _stored_as("float16", truncate_dim=8, prompts=PROMPTS),
    "dot product of unit vectors": _edited(similarity_fn_name="dot"),
    "router": _built(_router(shared_end=False), prompts=PROMPTS),
    "router before the pooling": _built(_router(shared_end=True), truncate_dim=8),
    "adapter": _adapter(whole_folder=True),
    "adapter alone": _adapter(whole_folder=False),
    "bare": _bare,
    "first token": _built(_pooled("cls"), prompts=PROMPTS),
    "vectors of any length": _built(_pooled("mean")),
    "prompt left out of the pooling": _built(_pooled("mean", include_prompt=False), prompts=PROMPTS),
    "dense": _built(_with_dense),
    "no lengths": _without_lengths,
    "static": _built(_static),
    "sharded": _sharded,
    "old layout": _old_layout,
}
"""What can be tuned, by name: writes the variant of a plain model into a new folder."""
