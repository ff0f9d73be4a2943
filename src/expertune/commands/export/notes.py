"""A README.md beside an export: what it is, and the lines of code that use it."""

from __future__ import annotations

from pathlib import Path

from expertune import models
from expertune.commands.export.sides import TunedSides

_QUERY_ENCODER = """\
from sentence_transformers import SentenceTransformer
model = SentenceTransformer("this-folder")
vectors = model.encode(["until when can I return it"], normalize_embeddings=True)
"""
_ADAPTER = """\
from peft import PeftModel
from sentence_transformers import SentenceTransformer
model = SentenceTransformer({base!r})
model[0].model = PeftModel.from_pretrained(model[0].model, "this-folder")
vectors = model.encode(["until when can I return it"], prompt={prompt!r}, normalize_embeddings=True)
"""
_TOKENS = """\
import numpy as np
from tokenizers import Tokenizer
batch = Tokenizer.from_file("this-folder/tokenizer.json").encode_batch([{prompt!r} + "until when can I return it"])
rows = {{"input_ids": [x.ids for x in batch], "attention_mask": [x.attention_mask for x in batch], \
"token_type_ids": [x.type_ids for x in batch]}}
"""
_ONNX = (
    _TOKENS
    + """\
import onnxruntime
session = onnxruntime.InferenceSession("this-folder/model.onnx")
wanted = {{item.name: np.array(rows[item.name]) for item in session.get_inputs()}}
vectors = session.run(["sentence_embedding"], wanted)[0]
"""
)
_OPENVINO = (
    _TOKENS
    + """\
import openvino
exact = {{"INFERENCE_PRECISION_HINT": "f32"}}  # without it, bfloat16 where the processor has it
model = openvino.Core().compile_model("this-folder/openvino_model.xml", "CPU", exact)
vectors = model({{item.any_name: np.array(rows[item.any_name]) for item in model.inputs}})["sentence_embedding"]
"""
)
CODE = {"query-encoder": _QUERY_ENCODER, "adapter": _ADAPTER, "onnx": _ONNX, "int8": _ONNX, "openvino": _OPENVINO}
"""How each form is used; `this-folder` stands for where it lies."""


def write_notes(folder: Path, form: str, sides: TunedSides) -> None:
    """Write README.md into an export's folder."""
    entry = models.find(sides.base_name)
    base = entry.hub if entry is not None and entry.hub else sides.base_name or "the base model"
    code = CODE[form] if form == "query-encoder" else CODE[form].format(base=base, prompt=sides.query_prompt)
    documents = (
        f"Documents keep the vectors of {base}: an index made with it stays valid."
        if sides.separate
        else "Questions and documents share this encoder: make the index with it as well."
    )
    text = f"# {form}\n\nEncodes questions, as the model that `expertune` tuned does. {documents}\n\n"
    (folder / "README.md").write_text(f"{text}```python\n{code}```\n", encoding="utf-8")
