"""The difference between tuned and base as a PEFT adapter: small, and laid over the base wherever that is served.

Weight matrices become low-rank differences, the closest ones of their rank; biases and normalisation layers, which are
tiny, are kept whole. Where the run tuned LoRA adapters of no higher rank, nothing is lost.
"""

from __future__ import annotations

import copy
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expertune import models
from expertune.commands.export.notes import write_notes
from expertune.commands.export.sides import TunedSides
from expertune.errors import ConfigError, ExportError
from expertune.models.encoder import ModelInMemory
from expertune.models.plugins import EmbeddingExpert

if TYPE_CHECKING:
    from torch import Tensor, nn

# Below it lies what float32 makes of weights that were interpolated and did not move.
_MOVED = 1e-7


@dataclass(frozen=True, slots=True)
class _Changes:
    """What moved: differences of weight matrices by module name, and names of small modules (norms) to keep whole."""

    matrices: dict[str, Tensor]
    whole: tuple[str, ...]


def write(sides: TunedSides, folder: Path, rank: int) -> EmbeddingExpert:
    """Write adapter_model.safetensors and adapter_config.json, and return what embeds with base and adapter together.

    Raises:
        ConfigError: peft is not installed.
        ExportError: nothing says what the base was, or an adapter cannot hold what changed.
    """
    if importlib.util.find_spec("peft") is None:
        raise ConfigError(["the library peft is not installed"], hint="pip install 'expertune[lora]'")
    from peft import LoraConfig, PeftModel, get_peft_model

    _refuse_other_modules(sides)
    tuned = sides.queries[0].model
    changes = _changes(sides.base[0].model, tuned)
    settings = LoraConfig(
        r=rank,
        lora_alpha=rank,  # so that the product of the two factors is the difference itself
        bias="all",
        target_modules=sorted(changes.matrices),
        modules_to_save=list(changes.whole) or None,
    )
    adapted = get_peft_model(copy.deepcopy(sides.base[0].model), settings)
    entry = models.find(sides.base_name)
    settings.base_model_name_or_path = entry.hub if entry else Path(sides.base_name).name
    _fill(adapted.base_model.model, tuned, changes, rank)
    adapted.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    write_notes(folder, "adapter", sides)
    # Judged as a user meets it: read from the files, laid over an untouched base.
    fresh = copy.deepcopy(sides.base)
    fresh[0].model = PeftModel.from_pretrained(fresh[0].model, str(folder))
    fresh.prompts = {**(fresh.prompts or {}), "query": sides.query_prompt}
    return ModelInMemory("base and adapter", fresh)


def _refuse_other_modules(sides: TunedSides) -> None:
    """Raise ExportError where tuning changed more than the transformer: an adapter holds nothing else."""
    before = dict(sides.base.named_parameters())
    others = [(name, value) for name, value in sides.queries.named_parameters() if not name.startswith("0.model.")]
    moved = [name for name, value in others if name not in before or (value - before[name]).abs().max() > _MOVED]
    if moved or not hasattr(sides.queries[0], "model"):
        raise ExportError(
            f"the model has weights outside its transformer, which an adapter cannot hold ({(moved or ['0'])[0]})",
            place=str(sides.folder),
            hint="Export the query-encoder instead.",
        )


def _changes(base: nn.Module, tuned: nn.Module) -> _Changes:
    from torch import nn

    matrices: dict[str, Tensor] = {}
    whole: list[str] = []
    before = dict(base.named_modules())
    for name, module in tuned.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            difference = (module.weight - before[name].weight).detach()
            if difference.abs().max() > _MOVED:
                matrices[name] = difference
        elif any(
            (value - dict(before[name].named_parameters(recurse=False))[key]).abs().max() > _MOVED
            for key, value in module.named_parameters(recurse=False)
        ):
            whole.append(name)
    return _Changes(matrices, tuple(sorted(whole)))


def _fill(adapted: nn.Module, tuned: nn.Module, changes: _Changes, rank: int) -> None:
    """Put the differences into the adapter's factors, and what is kept whole beside them."""
    import torch
    from torch import nn

    with torch.no_grad():
        for name, difference in changes.matrices.items():
            layer: Any = adapted.get_submodule(name)
            source = tuned.get_submodule(name)
            left, right = _factors(difference, rank)
            if isinstance(source, nn.Embedding):
                # An embedding's table is looked up by row: its difference is (B A) transposed.
                layer.lora_embedding_A["default"].copy_(left.T)
                layer.lora_embedding_B["default"].copy_(right.T)
            else:
                layer.lora_B["default"].weight.copy_(left)
                layer.lora_A["default"].weight.copy_(right)
                if source.bias is not None:
                    layer.base_layer.bias.copy_(source.bias)
        for name in changes.whole:
            kept: Any = adapted.get_submodule(name)
            kept.modules_to_save["default"].load_state_dict(tuned.get_submodule(name).state_dict())


def _factors(difference: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return `[rows, rank]` and `[rank, columns]` whose product is the closest matrix of that rank (Eckart-Young)."""
    import torch

    left, values, right = torch.linalg.svd(difference.float(), full_matrices=False)
    kept = min(rank, len(values))
    root = values[:kept].sqrt()
    first, second = difference.new_zeros(len(left), rank), difference.new_zeros(rank, right.shape[1])
    first[:, :kept] = left[:, :kept] * root
    second[:kept] = root[:, None] * right[:kept]
    return first, second
