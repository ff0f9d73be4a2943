"""Everybody who takes part in `bench/quality.py`, by name. One file a family; each gets the same `Task`.

| name | what | source |
|---|---|---|
| expertune | this package at its defaults | |
| query-mnrl, -distill-kl, -margin-mse, -cosent | questions alone, released losses | sentence-transformers |
| full-mnrl, -distill-kl, -margin-mse, -cosent | the whole model, released losses | sentence-transformers |
| paper-hard, paper-soft-1, -2, -3 | full model, pairwise regression | arXiv 2408.11868 as docs/design.md reads it |
| llama-index-linear | linear map of the query vectors, in-batch negatives | llama_index |
| litfit-linear | linear map of all vectors, closed form | litfit |
"""

from __future__ import annotations

from contenders.adapters import litfit_linear, llama_index_linear
from contenders.ours import expertune
from contenders.paper import paper
from contenders.released import LOSSES, released
from contenders.task import Contender

CONTENDERS: dict[str, Contender] = {
    "expertune": expertune,
    **{f"{side}-{loss}": released(side, loss) for side in ("query", "full") for loss in LOSSES},
    **{f"paper-{strategy}": paper(strategy) for strategy in ("hard", "soft-1", "soft-2", "soft-3")},
    "llama-index-linear": llama_index_linear,
    "litfit-linear": litfit_linear,
}
