"""Everybody who takes part in `bench/quality.py`, by name. One file a family; each gets the same `Task`.

| name | what | source |
|---|---|---|
| base | the untouched model | |
| expertune | this package at its defaults | |
| paper-hard, paper-soft-1, -2, -3 | full model, pairwise regression | arXiv 2408.11868 as docs/design.md reads it |
| mnrl, gist, cosent, cosine, margin-mse, distill-kl | full model, released losses | sentence-transformers |
| llama-index-linear | linear map of the query vectors, in-batch negatives | llama_index |
| litfit-linear | linear map of all vectors, closed form | litfit |
"""

from __future__ import annotations

from contenders.adapters import litfit_linear, llama_index_linear
from contenders.ours import base, expertune
from contenders.paper import paper
from contenders.released import released
from contenders.task import Contender

CONTENDERS: dict[str, Contender] = {
    "base": base,
    "expertune": expertune,
    **{f"paper-{strategy}": paper(strategy) for strategy in ("hard", "soft-1", "soft-2", "soft-3")},
    **{name: released(name) for name in ("mnrl", "gist", "cosent", "cosine", "margin-mse", "distill-kl")},
    "llama-index-linear": llama_index_linear,
    "litfit-linear": litfit_linear,
}
