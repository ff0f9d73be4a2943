"""A model whose weights are not its base's: what a tuning leaves behind, without the tuning."""

from __future__ import annotations

from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer


def moved(base: Path, how: str) -> SentenceTransformer:
    """Return the base with other weights: all of them, or its linear layers by differences of rank 2."""
    model = SentenceTransformer(str(base), device="cpu")
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        if how == "everything":
            for value in model.parameters():
                value.add_(0.05 * torch.randn(value.shape, generator=random))
        else:
            for module in model.modules():
                if isinstance(module, torch.nn.Linear):
                    left = torch.randn(module.weight.shape[0], 2, generator=random)
                    module.weight.add_(0.05 * left @ torch.randn(2, module.weight.shape[1], generator=random))
    return model
