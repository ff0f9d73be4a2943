"""Say from a model's JSON files whether it can be tuned, and what is worth knowing about it. Loads no weights."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expertune import models
from expertune.errors import ConfigError
from expertune.models import CatalogEntry, adapters
from expertune.models.adapters import read_json

PLACE = "train.base"
_FIRST = frozenset({"Transformer", "Router", "Asym", "StaticEmbedding"})
_SIDED = frozenset({"Router", "Asym"})
_MERGED = frozenset({"LORA", "ADALORA", "LOHA", "LOKR", "IA3", "OFT", "BOFT", "VERA"})
_ROLES = ("query", "document")
_COSINE = "Name a base that ranks by cosine, such as all-minilm-l6-v2 or all-mpnet-base-v2."


def check_entry(entry: CatalogEntry) -> None:
    """Refuse a model of the catalogue that cannot be tuned, before any file of it is there.

    Raises:
        ConfigError: it ranks by dot product, or is no sentence-transformers model.
    """
    if entry.expert != "sentence_transformer":
        kind = f"is read by the plug-in '{entry.expert or entry.generator}'"
        hint = "Name a sentence-transformers model, such as all-minilm-l6-v2."
        raise _refused(entry.name, f"{kind} and cannot be tuned", hint)
    if entry.similarity not in ("", "cosine"):
        raise _refused(entry.name, f"ranks by '{entry.similarity}', not by cosine", _COSINE)


def check(folder: Path, *, mode: str, lora: bool) -> tuple[str, ...]:
    """Return what a user should know of a base, a few words each.

    Args:
        folder: The model's.
        mode: As `train.mode`: with an encoder for each side, only "query" keeps to what was there.
        lora: Whether LoRA adapters are to be tuned.

    Raises:
        ConfigError: it cannot be tuned; the hint says what can be done.
    """
    name = folder.name
    if not folder.is_dir():
        raise _refused(name, "is one file; only folders of sentence-transformers models can be tuned", "Name a folder.")
    if adapters.is_adapter(folder):
        return _check_adapter(folder, mode=mode, lora=lora)
    if not any(folder.rglob("*.safetensors")):
        raise _refused(name, "has no weights in safetensors", "Name a folder with model.safetensors, not with a graph.")
    settings = read_json(folder / "config_sentence_transformers.json", {})
    modules = adapters.read_modules(folder)
    inner = read_json(adapters.transformer_folder(folder) / "config.json", {})
    if inner.get("quantization_config"):
        raise _refused(name, "holds quantised weights, which cannot be tuned", "Name the model it was made from.")
    notes = _check_settings(name, settings, similarity(folder))
    if modules:
        return (*notes, *_check_modules(folder, modules, mode=mode, lora=lora))
    return (*notes, _pooling_of_none(name, inner))


def _check_adapter(folder: Path, *, mode: str, lora: bool) -> tuple[str, ...]:
    kind = str(read_json(adapters.place(folder) / adapters.CONFIG, {}).get("peft_type", ""))
    if importlib.util.find_spec("peft") is None:
        raise _refused(folder.name, "is an adapter, and peft is not installed", "pip install 'expertune[lora]'")
    if kind.upper() not in _MERGED:
        raise _refused(
            folder.name, f"is an adapter of kind '{kind}', which cannot be merged", "Name a model without it."
        )
    name = adapters.base_name(folder)
    source = models.resolve(name) if name else None
    if source is None or adapters.is_adapter(Path(source.location)):
        hint = "Let base_model_name_or_path in adapter_config.json name the folder of a whole model."
        raise _refused(folder.name, f"is an adapter over '{name}', which is no whole model", hint)
    notes = check(Path(source.location), mode=mode, lora=lora)
    return (f"adapter, merged into {source.name}", *notes)


def similarity(folder: Path) -> str:
    """Return what a model ranks by; "cosine" also where dot product or distance of its unit vectors rank the same."""
    settings = read_json(folder / "config_sentence_transformers.json", {})
    named = str(settings.get("similarity_fn_name") or "cosine")
    alike = named in ("dot", "euclidean") and settings.get("truncate_dim") is None
    return "cosine" if alike and _ends_in_unit_vectors(folder, adapters.read_modules(folder)) else named


def _check_settings(name: str, settings: dict[str, Any], ranks_by: str) -> list[str]:
    """Return what to say of `config_sentence_transformers.json`: kind, similarity, dimension and prompts."""
    notes = []
    kind = settings.get("model_type") or "SentenceTransformer"
    if kind != "SentenceTransformer":
        raise _refused(name, f"is a {kind}; only a SentenceTransformer can be tuned", "Name an embedding model.")
    dimension = settings.get("truncate_dim")
    if dimension is not None and (not isinstance(dimension, int) or dimension < 1):
        raise _refused(name, f"has truncate_dim = {dimension!r}, expected a number above 0", _repair("truncate_dim"))
    if ranks_by != "cosine":
        hint = f'{_COSINE} If you rank by cosine anyway, write "cosine" for similarity_fn_name in its settings.'
        raise _refused(name, f"ranks by '{ranks_by}' of vectors of any length, not by cosine", hint)
    if dimension is not None:
        notes.append(f"vectors cut to {dimension} dimensions")
    return [*notes, *_check_prompts(name, settings)]


def _check_prompts(name: str, settings: dict[str, Any]) -> list[str]:
    prompts = settings.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(prompt, str | None) for prompt in prompts.values()):
        raise _refused(name, "has prompts that are no table of texts", _repair("prompts"))
    default = settings.get("default_prompt_name")
    if default and default not in {"query", "document", *prompts}:
        raise _refused(name, f"has the default prompt '{default}', which is none of its prompts", _repair("prompts"))
    notes = [f"{role} prompt {prompts[role]!r}" for role in _ROLES if prompts.get(role)]
    ignored = [key for key in ("passage", "corpus") if prompts.get(key)]
    if ignored and not prompts.get("document"):
        # Since sentence-transformers 6 every model has a prompt "document", if only an empty one, and that goes first.
        notes.append(f"the prompt '{ignored[0]}' is not used for documents: only one named 'document' is")
    others = sorted(key for key, prompt in prompts.items() if prompt and key not in (*_ROLES, *ignored, default))
    if others and not any(prompts.get(role) for role in _ROLES):
        notes.append(f"the prompts {', '.join(others)} are not used: only those named 'query' and 'document' are")
    return notes


def _check_modules(folder: Path, modules: Sequence[dict[str, Any]], *, mode: str, lora: bool) -> list[str]:
    first, notes = _kind(modules[0]), []
    names = {_kind(module) for module in modules}
    if names.intersection(_SIDED) and first not in _SIDED:
        hint = "Name the model it was made from, or one whose Router comes first."
        raise _refused(folder.name, "parts questions from documents only after its transformer", hint)
    if first not in _FIRST:
        raise _refused(folder.name, f"begins with a {first}, which cannot be tuned", "Name a transformer's folder.")
    if first in _SIDED:
        names |= {str(kind).rpartition(".")[2] for kind in (_routes(folder, modules).get("types") or {}).values()}
        notes.append("questions and documents have an encoder each; that of the questions is tuned")
        if mode != "query":
            hint = 'Set train.mode = "query": the encoder of documents then stays as it is.'
            raise _refused(folder.name, f"has an encoder for each side, which the mode '{mode}' would make one", hint)
    if lora and "StaticEmbedding" in names:
        raise _refused(folder.name, "is a table of vectors, which takes no adapters", "Set train.lora_rank = 0.")
    settings = read_json(adapters.transformer_folder(folder) / "sentence_bert_config.json", {})
    if "Transformer" in names and "Pooling" not in names and settings.get("module_output_name") != "sentence_embedding":
        hint = "Add a Pooling module with sentence-transformers, and save it again."
        raise _refused(folder.name, "makes no vector of a text: modules.json names no pooling", hint)
    return notes


def _ends_in_unit_vectors(folder: Path, modules: Sequence[dict[str, Any]]) -> bool:
    if not modules:
        return False
    if _kind(modules[-1]) != "Router":
        return _kind(modules[-1]) == "Normalize"
    sides = (_routes(folder, modules[-1:]).get("structure") or {}).values()
    return all(side and str(side[-1]).endswith("Normalize") for side in sides)


def _routes(folder: Path, modules: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what a Router's file says of its sides."""
    place = folder / str(modules[0].get("path", ""))
    routes: dict[str, Any] = read_json(place / "router_config.json", {}) or read_json(place / "config.json", {})
    return routes


def _pooling_of_none(name: str, inner: dict[str, Any]) -> str:
    """Say which pooling sentence-transformers takes for a transformer that comes alone."""
    architecture = str((inner.get("architectures") or [""])[0])
    if architecture.endswith("Classification"):
        hint = "Name an embedding model; one that scores pairs goes on the panel, as a cross_encoder."
        raise _refused(name, f"is a classifier or cross-encoder ({architecture})", hint)
    causal = architecture.endswith("ForCausalLM") and inner.get("is_causal", True)
    return f"no pooling in its folder: the {'last token' if causal else 'mean of the tokens'} is taken"


def _kind(module: dict[str, Any]) -> str:
    return str(module.get("type", "")).rpartition(".")[2]


def _repair(key: str) -> str:
    return f"Repair {key} in config_sentence_transformers.json."


def _refused(name: str, what: str, hint: str) -> ConfigError:
    return ConfigError([f"the model '{name}' {what}"], place=PLACE, hint=hint)
