"""Write a saved model's settings under the names that servers know.

sentence-transformers 6 gave modules and pooling new names, and reads both. text-embeddings-inference 1.9, the converter
of llama.cpp and Ollama look for the old ones: without them the first refuses a folder, and the others do not pool.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_MODULES = {"Transformer", "Pooling", "Normalize", "Dense"}
"""What those servers can do; a model with anything else is left as it is."""

_POOLING = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
_TEXT_ONLY = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}
"""The settings of a plain text encoder, which the old file implies."""


def use_classic_names(folder: Path, longest: int) -> None:
    """Rewrite modules.json and the settings of transformer and pooling; `longest` is what is read, in tokens."""
    modules = _read(folder / "modules.json")
    kinds = [module["type"].rsplit(".", 1)[-1] for module in modules]
    if not set(kinds) <= _MODULES:
        return
    for module, kind in zip(modules, kinds, strict=True):
        module["type"] = f"sentence_transformers.models.{kind}"
        settings = folder / module["path"] / ("sentence_bert_config.json" if kind == "Transformer" else "config.json")
        if kind == "Transformer" and _read(settings) == _TEXT_ONLY:
            _write(settings, {"max_seq_length": longest, "do_lower_case": False})
        elif kind == "Pooling":
            _write(settings, _classic_pooling(_read(settings)))
    _write(folder / "modules.json", modules)


def _classic_pooling(settings: dict[str, Any]) -> dict[str, Any]:
    modes = settings.get("pooling_mode")
    if modes is None:
        return settings
    chosen = {modes} if isinstance(modes, str) else set(modes)
    return {
        "word_embedding_dimension": settings["embedding_dimension"],
        **{key: mode in chosen for mode, key in _POOLING.items()},
        "include_prompt": settings["include_prompt"],
    }


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _write(file: Path, value: Any) -> None:
    file.write_text(f"{json.dumps(value, indent=2)}\n", encoding="utf-8")
