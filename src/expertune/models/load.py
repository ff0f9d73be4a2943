"""Load a sentence-transformers model: the one place for every use of it. Never runs code that comes with a model.

Whatever its files hold, what is loaded is plain: float32 weights, adapters merged, prompts on the model itself.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expertune import models
from expertune.errors import PluginError
from expertune.models import ModelSource, adapters, packing
from expertune.models.language_models import without_bars

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def load_model(source: ModelSource) -> SentenceTransformer:
    """Load a model from a folder or hub id, on the GPU where there is one; panel, training and measuring all use this.

    Weights are float32, however they are stored. Prompts that only the catalogue knows stand on the model as its own,
    so that `encode_query`, `encode_document` and what is saved have them.

    Raises:
        PluginError: its files cannot be read.
    """
    with loading(source.name), without_bars():
        folder = Path(source.location)
        model = _merged(folder) if adapters.is_adapter(folder) else _read(source.location, local=source.local)
        model.float()
    if source.entry is not None:
        catalogued: dict[packing.Role, str] = {
            "query": source.entry.query_prompt,
            "document": source.entry.document_prompt,
        }
        for role, prompt in catalogued.items():
            if prompt and not packing.own_prompt(model, role):
                model.prompts[role] = prompt
    return model


def one_side(model: SentenceTransformer, role: packing.Role) -> SentenceTransformer:
    """Return what encodes questions or documents as a model of its own; a model with one encoder is returned itself.

    The weights are shared with the model. Prompts, dimension and similarity are the model's.
    """
    from sentence_transformers import SentenceTransformer

    router: Any = model[0]
    if not hasattr(router, "sub_modules"):
        return model
    side = SentenceTransformer(
        modules=[*router.sub_modules[_route(router, role)], *list(model.children())[1:]],
        device=str(model.device),
        prompts=dict(model.prompts),
        default_prompt_name=model.default_prompt_name,
        similarity_fn_name=model.similarity_fn_name,
        truncate_dim=model.truncate_dim,
    )
    return side.train(model.training)


def _route(router: Any, role: packing.Role) -> str:
    """Return the name of a Router's modules for texts in a role, found in the order that the Router itself looks."""
    for key in ((role, "text"), (role, None), (None, "text"), (None, None)):
        if key in router.route_mappings:
            return str(router.route_mappings[key])
    return next((name for name in (role, "text") if name in router.sub_modules), str(router.default_route))


def _read(location: str, *, local: bool = True) -> SentenceTransformer:
    import torch
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(
        location, trust_remote_code=False, local_files_only=local, model_kwargs={"dtype": torch.float32}
    )


def _merged(folder: Path) -> SentenceTransformer:
    """Load what an adapter was trained on and fold the adapter into its weights.

    Modules, prompts and tokenizer are the adapter folder's where it has them, else those of its base.
    """
    from peft import PeftModel

    base = models.resolve(adapters.base_name(folder))
    if not (folder / "modules.json").is_file():
        model = load_model(base)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            model = _read(str(_with_weights(folder, Path(base.location), Path(scratch) / folder.name)))
    inner: Any = model[0]
    inner.model = PeftModel.from_pretrained(inner.model, str(adapters.place(folder))).merge_and_unload()
    return model.requires_grad_(True)  # peft froze what lay below the adapter


def _with_weights(folder: Path, base: Path, target: Path) -> Path:
    """Copy an adapter's folder, with config and weights of its base in place of the adapter's files."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("adapter_*", ".*"))
    place = target / adapters.place(folder).relative_to(folder)
    below = adapters.transformer_folder(base)
    for file in (below / "config.json", *below.glob("*.safetensors"), *below.glob("*.safetensors.index.json")):
        shutil.copyfile(file, place / file.name)
    return target


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Say which model cannot be loaded.

    Raises:
        PluginError: anything went wrong inside.
    """
    try:
        yield
    except Exception as error:  # a damaged folder or a lost network: the loaders raise many kinds
        message = f"the model cannot be loaded ({type(error).__name__}: {error})"
        raise PluginError(message, place=f"model {name}") from error
