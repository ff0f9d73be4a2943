"""A plain SentenceTransformer for questions, to use with an index that was made with the base."""

from __future__ import annotations

from pathlib import Path

from expertune.commands.export.notes import write_notes
from expertune.commands.export.sides import TunedSides
from expertune.models.encoder import sentence_encoder
from expertune.models.plugins import EmbeddingExpert


def write(sides: TunedSides, folder: Path) -> EmbeddingExpert:
    """Write the question side to `folder` and return what embeds with it."""
    sides.queries.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)
    write_notes(folder, "query-encoder", sides)
    return sentence_encoder(str(folder))
