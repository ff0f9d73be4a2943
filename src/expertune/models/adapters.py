"""What the files of a PEFT adapter say: that it is one, and what it was trained on. Loads nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CONFIG = "adapter_config.json"


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter instead of whole weights."""
    return (place(folder) / CONFIG).is_file()


def base_name(folder: Path) -> str:
    """Return the name of the model that the adapter was trained on; "" where the adapter does not say."""
    name = str(read_json(place(folder) / CONFIG, {}).get("base_model_name_or_path") or "")
    beside = folder / name
    return str(beside) if name and beside.is_dir() else name


def place(folder: Path) -> Path:
    """Return where the adapter's files lie: beside the transformer's."""
    return folder if (folder / CONFIG).is_file() else transformer_folder(folder)


def transformer_folder(folder: Path) -> Path:
    """Return where a model's first module lies, which is the folder itself for most."""
    modules = read_modules(folder)
    return folder / str(modules[0].get("path", "")) if modules else folder


def read_modules(folder: Path) -> list[dict[str, Any]]:
    """Return what modules.json says of each module, in order; nothing where a transformer comes alone."""
    return [module for module in read_json(folder / "modules.json", []) if isinstance(module, dict)]


def read_json(path: Path, default: Any) -> Any:
    """Return what a file holds; the default where there is none, or of another type than the default."""
    if not path.is_file():
        return default
    value = json.loads(path.read_text(encoding="utf-8"))
    return value if isinstance(value, type(default)) else default
