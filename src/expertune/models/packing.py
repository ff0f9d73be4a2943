"""Embed texts with a sentence-transformers model in groups of like length. Keeps nothing, knows no experts.

`SentenceTransformer.encode` takes a fixed number of texts at once, sorted by characters. Here texts are sorted by
tokens, and a batch holds as many as fit into one number of tokens, padding included: many short ones or few long ones,
so that a step is always large enough for the matrix product and small enough for the caches, and little of it is
padding.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from expertune.records import FloatArray

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor, nn

Role = Literal["query", "document"]

TOKENS = 2048
"""Tokens of a batch, padding included."""

# A group of a training batch holds as many tokens at least: the matrix product wants rows to work on.
_GROUP_TOKENS = 256
# Of a training batch with more tokens than this, activations are not kept but computed again, group by group: those of
# MiniLM take about 0.3 MB a token.
_KEPT_TOKENS = 8192
# Texts tokenised at once: their tokens lie in one array as wide as the longest.
_TEXTS = 1024
# Texts of a batch where features are no rows of tokens: the library's own choice.
_UNPACKED = 32
# In this order, as `encode_document` looks for a prompt of the model's own.
_PROMPTS: dict[Role, tuple[str, ...]] = {"query": ("query",), "document": ("document", "passage", "corpus")}


def encode(
    model: SentenceTransformer,
    texts: Sequence[str],
    *,
    role: Role,
    prompt: str | None = None,
    tokens: int = TOKENS,
    most: int | None = None,
    bfloat16: bool = False,
) -> FloatArray:
    """Return what `encode_query` or `encode_document` would, float32 `[len(texts), dimension]`.

    Args:
        model: Any; one whose features are not plain token ids is left to the library's own batches.
        texts: In any order.
        role: Which prompt and, with two encoders, which encoder.
        prompt: Put before every text; None: the model's own.
        tokens: Of a batch, padding included; a longer text is a batch of its own.
        most: Texts of a batch; None: as many as fit.
        bfloat16: Multiply matrices in bfloat16; weights, norms and the result stay float32.
    """
    import torch

    model.eval()
    prompt = prompt if prompt is not None else own_prompt(model, role)
    vectors: FloatArray | None = None
    with torch.inference_mode(), torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=bfloat16):
        for rows, features in _batches(model, texts, role, prompt, tokens, most or len(texts)):
            made = _forward(model, features, role)
            if vectors is None:
                vectors = np.zeros((len(texts), made.shape[1]), dtype=np.float32)
            vectors[rows] = made
    return vectors if vectors is not None else np.zeros((0, 0), dtype=np.float32)


def embed(model: nn.Module, features: dict[str, Any], *, stride: int = 1) -> Tensor:
    """Return the sentence embeddings of every `stride`-th text of a tokenised batch, with gradients.

    A batch is as wide as its longest text; short questions beside a long one are mostly padding. So texts of like
    length go through the model together, in three groups or so, which changes no vector. Features that are no rows of
    tokens go as they come.

    Of many long texts only the vectors stay in memory: the backward pass computes the activations of a group again, as
    gradient caching does (Gao et al. 2021), for the same gradients in the memory of one group.
    """
    import torch
    from torch.utils.checkpoint import checkpoint

    mask = features.get("attention_mask")
    if mask is None or not packs(features, len(mask)):
        made: Tensor = model(features)["sentence_embedding"]
        return made[::stride]
    lengths = mask[::stride].sum(dim=1).tolist()
    many = sum(lengths) > _KEPT_TOKENS
    groups = pack(lengths, TOKENS if many else max(_GROUP_TOKENS, sum(lengths) // 3), len(lengths))
    forward = functools.partial(checkpoint, model, use_reentrant=False) if many else model
    parts = [forward(_cut(features, [stride * row for row in rows]))["sentence_embedding"] for rows in groups]
    order = torch.tensor([row for rows in groups for row in rows], device=mask.device)
    return torch.cat(parts)[order.argsort()]


def rounded(model: SentenceTransformer) -> SentenceTransformer:
    """Return a copy of the model with matrices in bfloat16, for `encode(bfloat16=True)`; it shares no memory with it.

    Autocast would round them the same way, but for every batch anew.
    """
    import copy

    import torch

    def matrices(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
        for module in model.modules():
            if type(module) is torch.nn.Linear:
                yield from ((module, name, value) for name, value in list(module.named_parameters(recurse=False)))

    # Most of the model: not copied before it is rounded.
    twin = copy.deepcopy(model, {id(value): value for _, _, value in matrices(model)})
    for module, name, value in matrices(twin):
        setattr(module, name, torch.nn.Parameter(value.detach().to(torch.bfloat16), requires_grad=False))
    return twin


def packs(features: dict[str, Any], count: int) -> bool:
    """Whether the features of `count` texts are rows of tokens that may be regrouped: ids, a mask, and their like."""
    import torch

    mask = features.get("attention_mask")
    if not isinstance(mask, torch.Tensor) or mask.ndim != 2 or len(mask) != count or "input_ids" not in features:
        return False
    tensors = (value for value in features.values() if isinstance(value, torch.Tensor))
    return all(value.shape == mask.shape for value in tensors)


def pack(lengths: Sequence[int], tokens: int, most: int) -> list[list[int]]:
    """Return batches of indices, longest texts first, of at most `most` texts and `tokens` tokens with padding."""
    batches: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index], reverse=True):
        if not batches or len(batches[-1]) >= room:
            batches.append([])
            # The first of a batch is its longest: the others are padded to it.
            room = max(1, min(most, tokens // max(lengths[index], 1)))
        batches[-1].append(index)
    return batches


def _batches(
    model: SentenceTransformer, texts: Sequence[str], role: Role, prompt: str | None, tokens: int, most: int
) -> Iterator[tuple[list[int], dict[str, Any]]]:
    """Yield indices of texts and their features."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]), reverse=True)
    for start in range(0, len(order), _TEXTS):
        some = order[start : start + _TEXTS]
        features = model.preprocess([texts[index] for index in some], prompt=prompt, task=role)
        if packs(features, len(some)):
            for rows in pack(features["attention_mask"].sum(dim=1).tolist(), tokens, most):
                yield [some[row] for row in rows], _cut(features, rows)
            continue
        for first in range(0, len(some), _UNPACKED):
            few = some[first : first + _UNPACKED]
            yield few, model.preprocess([texts[index] for index in few], prompt=prompt, task=role)


def _cut(features: dict[str, Any], rows: list[int]) -> dict[str, Any]:
    """Return the features of some rows, as wide as the longest of them; padding may stand on either side."""
    import torch

    mask = features["attention_mask"][rows]
    width = max(1, int(mask.sum(dim=1).max()))
    left_padded = bool((features["attention_mask"][:, -1] == 1).all())
    columns = slice(mask.shape[1] - width, None) if left_padded else slice(0, width)
    return {
        name: value[rows][:, columns].contiguous() if isinstance(value, torch.Tensor) else value
        for name, value in features.items()
    }


def _forward(model: SentenceTransformer, features: dict[str, Any], role: Role) -> FloatArray:
    from sentence_transformers.util import batch_to_device

    made = model(batch_to_device(dict(features), model.device), task=role)["sentence_embedding"]
    vectors: FloatArray = made[:, : model.truncate_dim].float().cpu().numpy()
    return vectors


def own_prompt(model: SentenceTransformer, role: Role) -> str | None:
    """Return what the model itself puts before texts in a role, as `encode_query` and `encode_document` choose it."""
    name = next((name for name in _PROMPTS[role] if name in model.prompts), model.default_prompt_name)
    return model.prompts.get(name) if name is not None else None
