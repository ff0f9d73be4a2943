"""Pushing to a hub: a real HTTP server on this machine speaks the hub's protocol; nothing leaves it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from expertune.commands import cli

TOKEN = "hf_secretsecretsecret"


class FakeHub(ThreadingHTTPServer):
    """Take a repository and a commit of small files, as the hub's HTTP interface does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.created: list[dict] = []
        self.files: dict[str, bytes] = {}
        self.tokens: set[str] = set()
        self.refuses = False


class Handler(BaseHTTPRequestHandler):
    server: FakeHub

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""

    def do_GET(self) -> None:
        self._answer({"id": "me/faq", "sha": "0" * 40, "siblings": []} if "/api/models/" in self.path else {}, 200)

    def do_POST(self) -> None:
        length, chunked = self.headers.get("Content-Length"), b""
        while not length and (size := int(self.rfile.readline(), 16)):
            chunked += self.rfile.read(size)
            self.rfile.readline()
        body = self.rfile.read(int(length)) if length else chunked
        self.server.tokens.add(self.headers.get("Authorization", ""))
        if self.server.refuses:
            return self._answer({"error": f"Forbidden for {TOKEN}"}, 403)
        if self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            return self._answer({"url": f"{self.server.address}/me/faq", "id": "me/faq"}, 200)
        if "/preupload/" in self.path:
            wanted = [{"path": item["path"], "uploadMode": "regular"} for item in json.loads(body)["files"]]
            return self._answer({"files": [{**item, "shouldIgnore": False} for item in wanted]}, 200)
        if "/commit/" in self.path:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.server.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            address = f"{self.server.address}/me/faq/commit/{'0' * 40}"
            return self._answer({"success": True, "commitOid": "0" * 40, "commitUrl": address}, 200)
        return self._answer({}, 200)

    def _answer(self, body: dict, status: int) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    import huggingface_hub.constants
    import huggingface_hub.hf_api

    server = FakeHub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # What a user sets as HF_ENDPOINT and HF_HUB_OFFLINE; the library has read both when it was imported.
    for module in (huggingface_hub.constants, huggingface_hub.hf_api.constants):
        monkeypatch.setattr(module, "ENDPOINT", server.address)
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "README.md").write_text("---\nlibrary_name: sentence-transformers\n---\n\n# Card\n", encoding="utf-8")
    return folder


def push(model: Path, *options: str) -> Result:
    return CliRunner().invoke(cli.app, ["push", str(model), "me/faq", *options])


def test_the_model_and_its_card_arrive_in_a_private_repository(hub: FakeHub, model: Path):
    (model / "notes.py").write_text("print('mine')")
    (model / ".env").write_text("SECRET=1")
    result = push(model)
    assert result.exit_code == 0, result.output
    assert f"{hub.address}/me/faq" in result.stdout
    (created,) = hub.created
    assert created["visibility"] == "private"
    assert (created["name"], created["organization"]) == ("faq", "me")
    expected = {path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()}
    assert set(hub.files) == expected - {"notes.py", ".env"}
    assert all((model / name).read_bytes() == content for name, content in hub.files.items())
    assert hub.tokens == {f"Bearer {TOKEN}"}


def test_public_has_to_be_asked_for(hub: FakeHub, model: Path):
    assert push(model, "--public").exit_code == 0
    assert hub.created[0]["visibility"] == "public"


def refused(result: Result, *expected: str) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert TOKEN not in result.output
    for text in expected:
        assert text in result.stderr


def test_offline_opens_no_connection(hub: FakeHub, model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused(push(model), "HF_HUB_OFFLINE")
    assert (hub.created, hub.tokens) == ([], set())


def test_the_token_comes_from_the_environment_only(hub: FakeHub, model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", " ")
    refused(push(model), "HF_TOKEN is not set")
    assert hub.tokens == set()


def test_a_refusal_is_one_error_that_does_not_repeat_the_token(hub: FakeHub, model: Path):
    hub.refuses = True
    refused(push(model), "did not take the model", "Check the name")
    assert hub.files == {}


def test_a_hub_that_is_down_is_one_error(hub: FakeHub, model: Path):
    hub.shutdown()
    hub.server_close()
    refused(push(model), "did not take the model")


@pytest.mark.parametrize(
    ("missing", "told"), [("README.md", "holds no README.md"), ("modules.json", "holds no sentence-transformers model")]
)
def test_a_folder_without_model_or_card_is_not_sent(hub: FakeHub, model: Path, missing: str, told: str):
    (model / missing).unlink()
    refused(push(model), told)
    assert hub.created == []


def test_a_folder_that_would_run_code_is_not_sent(hub: FakeHub, model: Path):
    for file in model.glob("*.safetensors"):
        file.unlink()
    (model / "pytorch_model.bin").write_bytes(b"pickle")
    refused(push(model), "pickle")
    assert hub.created == []
