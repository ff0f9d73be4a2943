"""Write any record to a folder and read it back, bit-equal. JSON and .npy only, never pickle; no stage logic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar, get_origin

import numpy as np
from cattrs.preconf.json import make_converter

Record = TypeVar("Record")

JSON_NAME = "record.json"
# Small arrays (per-query metrics) stay readable in the JSON; large ones become .npy files that can be mapped.
_INLINE_ITEMS = 20_000


def save(record: object, folder: Path) -> None:
    """Write a frozen record: its fields to `record.json`, large arrays to `.npy` files beside it."""
    converter = make_converter()
    count = 0

    def unstructure(array: np.ndarray[Any, Any]) -> dict[str, Any]:
        nonlocal count
        if array.size <= _INLINE_ITEMS and array.dtype != np.float32:
            return {"dtype": str(array.dtype), "values": array.tolist()}
        name = f"array-{count}.npy"
        count += 1
        np.save(folder / name, array, allow_pickle=False)
        return {"file": name}

    converter.register_unstructure_hook_func(_is_array, unstructure)
    text = json.dumps(converter.unstructure(record), ensure_ascii=False, indent=1, sort_keys=True)
    (folder / JSON_NAME).write_text(text, encoding="utf-8")


def load(kind: type[Record], folder: Path) -> Record:
    """Read a record that `save` wrote; large arrays are memory-mapped, read-only."""
    converter = make_converter()

    def structure(value: dict[str, Any], _: Any) -> np.ndarray[Any, Any]:
        if "file" in value:
            mapped: np.ndarray[Any, Any] = np.load(folder / value["file"], mmap_mode="r", allow_pickle=False)
            return mapped
        return np.array(value["values"], dtype=value["dtype"])

    converter.register_structure_hook_func(_is_array, structure)
    converter.register_structure_hook(Path, lambda value, _: Path(value))
    converter.register_unstructure_hook(Path, str)
    return converter.structure(json.loads((folder / JSON_NAME).read_text(encoding="utf-8")), kind)


def _is_array(kind: Any) -> bool:
    return kind is np.ndarray or get_origin(kind) is np.ndarray
