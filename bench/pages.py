"""Put measured tables between the two marks of a page of docs/."""

from __future__ import annotations

from pathlib import Path


def put(page: Path, begin: str, end: str, body: str) -> None:
    """Replace what stands between two marks; each must be there once."""
    before, rest = page.read_text(encoding="utf-8").split(begin)
    _, after = rest.split(end)
    page.write_text(f"{before}{begin}\n{body}{end}{after}", encoding="utf-8")
