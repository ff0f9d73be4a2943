"""Shared fixtures: a real but tiny model, so that unit tests need no downloaded weights."""

from __future__ import annotations

import json
import shutil
import string
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

WORDS = (
    "a an and the is are do does how what when where why who can i you my your we our to of in on for with from not "
    "order orders return refund refunds ship shipping delivery deliver cost price pay payment card size colour "
    "cancel change address password account reset track parcel days free long take policy item open shop store "
    "question answer"
)


def write_tiny_model(folder: Path, *, seed: int = 0) -> Path:
    """Write a SentenceTransformer folder: 2-layer BERT, hidden 32, WordPiece, mean pooling, unit length."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    letters = list(string.ascii_lowercase + string.digits + string.punctuation)
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(f"##{letter}" for letter in letters),
    ]
    vocabulary += [word for word in WORDS.split() if word not in vocabulary]
    bert = folder / "bert"
    bert.mkdir(parents=True)
    (bert / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    (bert / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 64})
    )
    BertTokenizerFast.from_pretrained(str(bert)).save_pretrained(str(bert))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertModel(
            BertConfig(
                vocab_size=len(vocabulary),
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=64,
                max_position_embeddings=64,
                # Larger than BERT's 0.02, so that random weights tell texts apart.
                initializer_range=0.2,
            )
        )
    model.save_pretrained(str(bert), safe_serialization=True)
    transformer = Transformer(str(bert), max_seq_length=64)
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
    made = SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu")
    made.save_pretrained(str(folder / "model"), create_model_card=False)
    return folder / "model"


@pytest.fixture(scope="module")
def few_resamples() -> Iterator[None]:
    """Draw few resamples in the tests of a module, where their number is not what is tested."""
    from expertune.evaluate import statistics, sts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", 1000)
        patch.setattr(sts, "RESAMPLES", 200)
        yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny SentenceTransformer; treat it as read-only."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Open a Chromium without network services; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=flags)
        yield opened
        opened.close()


@pytest.fixture
def postgres() -> Iterator[str]:
    """Return the address of a real PostgreSQL with pgvector, started for one test."""
    pgserver = pytest.importorskip("pgserver", reason="no PostgreSQL with pgvector (pip install pgserver)")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # where root starts it, it runs as a user of its own
        server = pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        yield server.get_uri()
        server.cleanup()
