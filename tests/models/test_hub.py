"""Fetching from a hub: a real HTTP server on this machine speaks its protocol, and nothing is loaded unseen."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from base_variants import edit
from expertune import config, models
from expertune.errors import ExpertuneError, ModelUnavailableError, UntrustedModelError
from expertune.models.encoder import sentence_encoder
from expertune.pipeline import preflight

COMMIT = "c" * 40


class Hub(ThreadingHTTPServer):
    """Serve one folder as every repository, and remember which files were fetched."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.folder = folder
        self.fetched: list[str] = []

    @property
    def names(self) -> list[str]:
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/some/"):
            if "/tree/" in path:
                return self._answer(json.dumps([self._entry(name) for name in self.server.names]).encode())
            siblings = [{"rfilename": name} for name in self.server.names]
            return self._answer(json.dumps({"id": "some/model", "sha": COMMIT, "siblings": siblings}).encode())
        name = path.partition(f"/resolve/{COMMIT}/")[2]
        file = self.server.folder / name
        if not name or not file.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if name else "RepoNotFound")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if self.command == "GET":
            self.server.fetched.append(name)
        return self._answer(file.read_bytes())

    def _entry(self, name: str) -> dict[str, object]:
        data = (self.server.folder / name).read_bytes()
        return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


@pytest.fixture
def hub(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    import huggingface_hub.constants

    server = Hub(Path(shutil.copytree(tiny_model, tmp_path / "served")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # What a user sets as HF_ENDPOINT and the like; the library has read them when it was imported.
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.address)
    template = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield server
    server.shutdown()
    server.server_close()


def test_a_model_is_downloaded_once_and_loaded_from_its_folder(hub: Hub) -> None:
    source = models.resolve("some/model", offline=False)
    assert source.fingerprint == f"hub:some/model@{COMMIT}"
    assert Path(source.location).is_dir()
    assert set(hub.fetched) == set(hub.names)
    hub.fetched.clear()
    assert models.resolve("some/model") == models.resolve("some/model", offline=False) == source
    assert sentence_encoder("some/model").embed(["return it"], is_query=True).shape == (1, 32)
    assert hub.fetched == []


def test_what_no_loader_reads_is_left_where_it_is(hub: Hub) -> None:
    for name in ("pytorch_model.bin", "tf_model.h5", "model.onnx", "code.py"):
        (hub.folder / name).write_bytes(b"large")
    models.resolve("some/model", offline=False)
    assert not {"pytorch_model.bin", "tf_model.h5", "model.onnx", "code.py"} & set(hub.fetched)


@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_remote_code_is_refused_before_weights_are_fetched(hub: Hub, again: bool) -> None:
    edit(hub.folder, "config.json", auto_map={"AutoModel": "code.Model"})
    for _ in range(1 + again):
        with pytest.raises(UntrustedModelError, match="auto_map"):
            models.resolve("some/model", offline=False)
    assert "model.safetensors" not in hub.fetched


def test_pickles_are_refused_before_anything_is_fetched(hub: Hub) -> None:
    (hub.folder / "model.safetensors").rename(hub.folder / "pytorch_model.bin")
    with pytest.raises(UntrustedModelError, match="pickle"):
        models.resolve("some/model", offline=False)
    assert hub.fetched == []


def test_a_module_of_its_own_is_refused(hub: Hub) -> None:
    modules = json.loads((hub.folder / "modules.json").read_text())
    modules[1]["type"] = "code.Pooling"
    (hub.folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UntrustedModelError, match="not part of sentence-transformers"):
        models.resolve("some/model", offline=False)


def test_shards_that_are_missing_are_fetched_before_use(hub: Hub) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (hub.folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelUnavailableError, match="not all of the weights"):
        models.resolve("some/model", offline=False)


def test_a_hub_that_does_not_answer_or_lacks_the_model_is_said(hub: Hub) -> None:
    with pytest.raises(ModelUnavailableError, match="the hub"):
        models.resolve("other/model", offline=False)
    hub.shutdown()
    hub.server_close()
    with pytest.raises(ModelUnavailableError, match="the hub"):
        models.resolve("some/model", offline=False)


@pytest.mark.parametrize("role", ["base", "expert", "generator"])
def test_every_refusal_comes_before_the_work(hub: Hub, tiny_model: Path, role: str) -> None:
    edit(hub.folder, "config.json", auto_map={"AutoModel": "code.Model"})
    values = {
        "run": {"offline": False},
        "train": {"base": "some/model" if role == "base" else str(tiny_model)},
        "score": {"experts": ["sentence_transformer:some/model" if role == "expert" else "bm25", "ngrams"]},
        "augment": {"per_answer": int(role == "generator"), "generators": ["transformers:some/model"]},
    }
    made = config.from_mapping(values)
    with pytest.raises(ExpertuneError, match="auto_map"):
        preflight.require_models(made)
    assert "model.safetensors" not in hub.fetched
