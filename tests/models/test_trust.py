from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from expertune.errors import ModelUnavailableError, UntrustedModelError
from expertune.models import trust


def edit_json(path: Path, change: Callable[[object], object]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def test_a_saved_model_is_accepted(model: Path) -> None:
    trust.check(model)


def test_the_fingerprint_depends_on_contents_and_names_only(model: Path, tmp_path: Path) -> None:
    before = trust.fingerprint(model)
    copy = Path(shutil.copytree(model, tmp_path / "elsewhere"))
    assert trust.fingerprint(copy) == before
    (copy / ".git").mkdir()
    (copy / ".git" / "HEAD").write_text("ref")
    assert trust.fingerprint(copy) == before
    (copy / "modules.json").rename(copy / "modules2.json")
    assert trust.fingerprint(copy) != before


def test_the_fingerprint_notices_one_changed_byte(model: Path) -> None:
    before = trust.fingerprint(model)
    weights = model / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert trust.fingerprint(model) != before


def test_the_fingerprint_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(b"abc")
    assert trust.fingerprint(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    trust.check(file)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pt", "model.pkl"])
def test_pickle_weights_are_refused(model: Path, name: str) -> None:
    (model / "model.safetensors").unlink()
    (model / name).write_bytes(b"\x80\x02.")
    with pytest.raises(UntrustedModelError, match="pickle"):
        trust.check(model)


def test_a_pickle_beside_safetensors_is_not_loaded_and_so_accepted(model: Path) -> None:
    (model / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    trust.check(model)


def test_a_module_folder_with_nothing_but_a_pickle_is_refused(model: Path) -> None:
    (model / "2_Dense").mkdir()
    (model / "2_Dense" / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    with pytest.raises(UntrustedModelError, match="2_Dense"):
        trust.check(model)


def test_an_unrelated_safetensors_file_does_not_excuse_a_pickle(model: Path) -> None:
    (model / "model.safetensors").rename(model / "decoy.safetensors")
    (model / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    with pytest.raises(UntrustedModelError, match="pickle"):
        trust.check(model)


def test_raw_openvino_tensors_are_no_pickle(model: Path) -> None:
    (model / "openvino").mkdir()
    (model / "openvino" / "openvino_model.bin").write_bytes(b"raw")
    (model / "openvino" / "openvino_model.xml").write_text("<net/>")
    trust.check(model)


@pytest.mark.parametrize("nested", [False, True])
def test_remote_code_is_refused(model: Path, nested: bool) -> None:
    table = {"auto_map": {"AutoModel": "modeling.Custom"}}
    edit_json(model / "config.json", lambda config: {**config, **({"text_config": table} if nested else table)})
    with pytest.raises(UntrustedModelError, match="auto_map") as caught:
        trust.check(model)
    assert caught.value.place.endswith("config.json")


def test_a_module_of_another_package_is_refused(model: Path) -> None:
    edit_json(model / "modules.json", lambda modules: [{**modules[0], "type": "os.system"}])
    with pytest.raises(UntrustedModelError, match=r"os\.system"):
        trust.check(model)


@pytest.mark.parametrize("path", ["../other", "/etc", "a/../../b"])
def test_a_module_outside_the_folder_is_refused(model: Path, path: str) -> None:
    edit_json(model / "modules.json", lambda modules: [*modules, {**modules[1], "path": path}])
    with pytest.raises(UntrustedModelError, match="leads out"):
        trust.check(model)


def test_a_router_with_a_foreign_module_is_refused(model: Path) -> None:
    (model / "router_config.json").write_text(json.dumps({"types": {"query_0": "evil.Module"}}))
    with pytest.raises(UntrustedModelError, match=r"evil\.Module"):
        trust.check(model)


def test_links_out_of_the_folder_are_refused_and_inside_it_are_not(model: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (model / "inside").symlink_to(model / "config.json")
    trust.check(model)
    (model / "outside").symlink_to(tmp_path / "secret")
    with pytest.raises(UntrustedModelError, match="link"):
        trust.check(model)
    trust.check(model, root=tmp_path)


def test_broken_json_is_refused(model: Path) -> None:
    (model / "config.json").write_text("{")
    with pytest.raises(UntrustedModelError, match="JSON"):
        trust.check(model)


def test_a_folder_without_weights_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ModelUnavailableError, match="no model weights"):
        trust.check(tmp_path)


def test_a_file_that_is_no_gguf_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"\x80")
    with pytest.raises(ModelUnavailableError, match="gguf"):
        trust.check(tmp_path / "model.pt")
