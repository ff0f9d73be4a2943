"""How the built-in generators draw their seeds. Knows no model format and no prompt."""

from __future__ import annotations

import hashlib

from expertune.models.plugins import Request


def number(*parts: object) -> int:
    """Return a seed in [0, 2**32) made of anything that has a `repr`."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()[:4], "big")


def request_seed(request: Request, seed: int) -> int:
    """Return a request's own seed, so that its text does not depend on what else is asked for."""
    return number(seed, request.document, request.question, request.kind, request.attempt)
