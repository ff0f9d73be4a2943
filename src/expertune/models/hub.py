"""Fetch a model from the hub into its client's cache, and look at every file before any of them is loaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from expertune.errors import ExpertuneError, ModelUnavailableError, UntrustedModelError
from expertune.models import trust

_OTHERS = ("*.h5", "*.msgpack", "*.ot", "*.tflite", "*.mlmodel", "*.mlpackage/*", "openvino/*", "*.py")
"""What other programs read: it is not fetched, and so are pickles and, beside safetensors, graphs."""

_PICKLES = tuple(f"*{ending}" for ending in trust.PICKLES)
_GRAPHS = ("onnx/*", "*.onnx", "*.onnx_data")


def snapshot(hub: str) -> Path | None:
    """Return the folder that the hub's client keeps of this model, if it is there with its weights and may be loaded.

    Raises:
        UntrustedModelError: it is there, and its files are refused.
    """
    from huggingface_hub import try_to_load_from_cache

    for name in ("config.json", "adapter_config.json", "modules.json"):
        file = try_to_load_from_cache(hub, name)
        if isinstance(file, str):
            break
    else:
        return None
    folder = Path(file).parent
    try:
        _check(folder)
    except ModelUnavailableError:
        return None
    return folder


def download(hub: str) -> Path:
    """Fetch a model and return its folder, looked at.

    The list of files comes first, then the settings, then the weights: what is refused is refused before it is large.

    Raises:
        ModelUnavailableError: the hub has no such model, does not answer, or its files are no model.
        UntrustedModelError: its files are refused.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        listing = HfApi().model_info(hub, timeout=10)
        names = [item.rfilename for item in listing.siblings or ()]
        _check_names(hub, names)
        settings = Path(snapshot_download(hub, allow_patterns=["*.json"]))
        trust.check_settings(settings)
        left_out = [*_OTHERS, *_PICKLES, *(_GRAPHS if any(map(_safe, names)) else ())]
        folder = Path(snapshot_download(hub, ignore_patterns=left_out))
        _check(folder)
    except ExpertuneError:
        raise
    except RepositoryNotFoundError:
        raise ModelUnavailableError(f"the hub has no model '{hub}' (or it is private)", place=hub) from None
    except Exception as error:  # the client raises many kinds
        raise ModelUnavailableError(
            f"the hub does not give the model ({type(error).__name__}: {str(error).strip().partition(chr(10))[0]})",
            place=hub,
            hint="Is the hub within reach? Otherwise name a folder with the model.",
        ) from None
    return folder


def _check(folder: Path) -> None:
    # Snapshots link to files beside them in the same cached repository.
    trust.check(folder, root=folder.parent.parent)
    for index in folder.rglob("*.safetensors.index.json"):
        shards = set(json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values())
        if not all((index.parent / shard).is_file() for shard in shards):
            raise ModelUnavailableError("not all of the weights are there", place=str(folder))


def _check_names(hub: str, names: Sequence[str]) -> None:
    if any(map(_safe, names)):
        return
    pickle = next((name for name in names if Path(name).suffix in trust.PICKLES), "")
    if pickle:
        raise UntrustedModelError(
            f"the weights are a pickle ({pickle}), which can run code when loaded; only safetensors are read",
            place=hub,
            hint="Convert it once where you trust it: SentenceTransformer(...).save_pretrained(folder).",
        )


def _safe(name: str) -> bool:
    return name.endswith((".safetensors", ".gguf"))
