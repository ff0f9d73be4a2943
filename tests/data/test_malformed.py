"""Malformed data files and configs, each with the text of its error: `tests/malformed/`, one case a line.

A case of `data.jsonl` holds files (text, or bytes in base64, or a long repeat), the section `[data]`, what is read, and
the whole message; one of `configs.jsonl` a TOML text and the message.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from expertune import config, data
from expertune.config import DataSection
from expertune.errors import ConfigError, DataError

CORPUS = Path(__file__).parents[1] / "malformed"
READ: dict[str, Callable[[DataSection], object]] = {
    "load": lambda section: data.Files(section).train,
    "judged": lambda section: data.Files(section).judged,
    "held_out": lambda section: data.Files(section).held_out,
}
# What a library says in brackets is its own and changes with its version; the keys a section knows grow with it.
_BORROWED = re.compile(
    r"(is not JSON|is not Parquet|properly quoted cells|readable TOML file) \(.*\)|( \(known here: .*?\))"
)


def cases(name: str) -> list[Any]:
    lines = (CORPUS / name).read_text(encoding="utf-8").splitlines()
    return [pytest.param(case, id=case["name"]) for case in map(json.loads, lines)]


def content(value: str | dict[str, Any]) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if "base64" in value:
        return base64.b64decode(value["base64"])
    text, times = value["repeat"]
    return f"{value['before']}{text * times}{value['after']}".encode()


def own(message: str) -> str:
    return _BORROWED.sub(lambda found: found[1] or "", message)


@pytest.mark.parametrize("case", cases("data.jsonl"))
def test_malformed_data(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in case["files"].items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(value))
    with pytest.raises(DataError) as caught:
        READ[case["read"]](DataSection.model_validate(case["data"]))
    assert own(str(caught.value)) == own(case["expected"])
    assert caught.value.hint.endswith(".")


@pytest.mark.parametrize("case", cases("configs.jsonl"))
def test_malformed_config(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("c.toml").write_text(case["toml"], encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config.read(Path("c.toml"))
    assert own(str(caught.value)) == own(case["expected"])


def test_there_are_many_and_each_is_another_one():
    every = [case.values[0] for name in ("data.jsonl", "configs.jsonl") for case in cases(name)]
    assert len(every) >= 400
    assert len({case["name"] for case in every}) == len(every)
    assert len({json.dumps([case.get("files"), case.get("toml"), case.get("data")]) for case in every}) == len(every)
