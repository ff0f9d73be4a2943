"""The question side as one computation graph: ONNX, ONNX in 8-bit integers, OpenVINO.

The graph holds pooling and normalisation as well, and the tokenizer's file holds truncation and padding, so that
tokenizer, graph and nothing else turn texts into vectors.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from expertune.commands.export.notes import write_notes
from expertune.commands.export.sides import TunedSides
from expertune.errors import ConfigError, ExportError
from expertune.models.embed import unit_rows
from expertune.models.plugins import EmbeddingExpert
from expertune.records import FloatArray

if TYPE_CHECKING:
    from torch import Tensor, nn

Inputs = dict[str, NDArray[np.int64]]
_BATCH = 32
_OUTPUTS = ("token_embeddings", "sentence_embedding")


def write_onnx(sides: TunedSides, folder: Path) -> EmbeddingExpert:
    """Write model.onnx and tokenizer.json, and return what embeds with them through onnxruntime.

    Raises:
        ConfigError: onnx or onnxscript is not installed.
        ExportError: the model cannot be written as a graph.
    """
    _convert(sides, folder / "model.onnx")
    return _finished(sides, folder, "onnx", _onnxruntime(folder / "model.onnx"))


def write_int8(sides: TunedSides, folder: Path) -> EmbeddingExpert:
    """Do what `write_onnx` does and store the weights as 8-bit integers; activations are quantised while it runs."""
    full = folder / "full.onnx"
    _convert(sides, full)
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(full, folder / "model.onnx", weight_type=QuantType.QInt8, per_channel=True)
    for left_over in folder.glob("full.onnx*"):
        left_over.unlink()
    return _finished(sides, folder, "int8", _onnxruntime(folder / "model.onnx"))


def write_openvino(sides: TunedSides, folder: Path) -> EmbeddingExpert:
    """Write openvino_model.xml with its .bin, and tokenizer.json; return what embeds with them.

    Raises:
        ConfigError: openvino, onnx or onnxscript is not installed.
        ExportError: the model cannot be written as a graph.
    """
    _require("openvino")
    import openvino

    graph, target = folder / "model.onnx", folder / "openvino_model.xml"
    _convert(sides, graph)
    openvino.save_model(openvino.convert_model(graph), target, compress_to_fp16=False)
    for left_over in folder.glob("model.onnx*"):
        left_over.unlink()
    compiled = openvino.Core().compile_model(target, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    names = {item.any_name for item in compiled.inputs}

    def run(inputs: Inputs) -> FloatArray:
        vectors: FloatArray = compiled({name: inputs[name] for name in names})["sentence_embedding"]
        return vectors

    return _finished(sides, folder, "openvino", run)


def _finished(sides: TunedSides, folder: Path, form: str, run: Callable[[Inputs], FloatArray]) -> EmbeddingExpert:
    model = sides.queries
    tokenizer = model.tokenizer.backend_tokenizer
    tokenizer.enable_truncation(max_length=model.max_seq_length or 512)
    tokenizer.enable_padding(pad_id=model.tokenizer.pad_token_id, pad_token=model.tokenizer.pad_token)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_notes(folder, form, sides)
    return GraphExpert(folder, run, sides.query_prompt)


class GraphExpert(EmbeddingExpert):
    """Embed as the notes in the folder tell a user to: the tokenizer's file, then the graph."""

    def __init__(self, folder: Path, run: Callable[[Inputs], FloatArray], query_prompt: str) -> None:
        from tokenizers import Tokenizer

        self.name = self.fingerprint = "graph"
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._run = run
        self._prompt = query_prompt

    def embed(self, texts: Sequence[str], *, is_query: bool) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, rows of unit length."""
        prompt = self._prompt if is_query else ""
        rows = [
            self._run(self._inputs([prompt + text for text in texts[start : start + _BATCH]]))
            for start in range(0, len(texts), _BATCH)
        ]
        return unit_rows(np.concatenate(rows).astype(np.float32))

    def _inputs(self, texts: list[str]) -> Inputs:
        batch = self._tokenizer.encode_batch(texts)
        return {
            "input_ids": np.array([item.ids for item in batch], dtype=np.int64),
            "attention_mask": np.array([item.attention_mask for item in batch], dtype=np.int64),
            "token_type_ids": np.array([item.type_ids for item in batch], dtype=np.int64),
        }


def _onnxruntime(file: Path) -> Callable[[Inputs], FloatArray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]

    def run(inputs: Inputs) -> FloatArray:
        vectors: FloatArray = session.run(["sentence_embedding"], {name: inputs[name] for name in names})[0]
        return vectors

    return run


def _convert(sides: TunedSides, file: Path) -> None:
    """Write the modules of the question side as one ONNX graph with the outputs `_OUTPUTS`."""
    _require("onnx", "onnxscript")
    import torch

    model = sides.queries.eval().cpu()
    _refuse_unwritable(sides)
    features = model.preprocess(["a first question", "and one more that is longer"])
    names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in features]
    batch, length = torch.export.Dim("batch"), torch.export.Dim("tokens")
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                _graph(model, names),
                tuple(features[name] for name in names),
                str(file),
                input_names=names,
                output_names=list(_OUTPUTS),
                dynamic_shapes=(({0: batch, 1: length},) * len(names),),  # one tuple: that of *inputs
                external_data=False,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter raises many kinds, one an operator that it cannot write
        first = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise ExportError(
            f"the model cannot be written as a graph ({type(error).__name__}: {first})",
            place=str(sides.folder),
            hint="Export the query-encoder instead; it runs wherever sentence-transformers does.",
        ) from error


def _refuse_unwritable(sides: TunedSides) -> None:
    """Raise ExportError where token ids alone do not give the vector."""
    model = sides.queries
    reason = ""
    if sides.query_prompt and any(not getattr(module, "include_prompt", True) for module in model):
        reason = "its pooling leaves the tokens of the prompt out"
    elif not hasattr(model[0], "model"):
        reason = "its first module is no transformer"
    if reason:
        raise ExportError(
            f"the model cannot be written as a graph: {reason}",
            place=str(sides.folder),
            hint="Export the query-encoder instead; it runs wherever sentence-transformers does.",
        )


def _graph(model: Any, names: Sequence[str]) -> nn.Module:
    from torch import nn

    class Graph(nn.Module):
        """Take token ids and give token vectors and the finished vector."""

        def __init__(self) -> None:
            super().__init__()
            self.modules_in_order = nn.ModuleList(model.children())
            self.dimension = model.truncate_dim

        def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
            features: Mapping[str, Any] = dict(zip(names, inputs, strict=True))
            for module in self.modules_in_order:
                features = module(features)
            return features[_OUTPUTS[0]], features[_OUTPUTS[1]][:, : self.dimension]

    return Graph()


def _require(*libraries: str) -> None:
    missing = [name for name in libraries if importlib.util.find_spec(name) is None]
    if missing:
        extra = "openvino" if "openvino" in missing else "export"
        raise ConfigError(
            [f"the library {' and '.join(missing)} is not installed"], hint=f"pip install 'expertune[{extra}]'"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converters' advice to developers of converters away from users."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
