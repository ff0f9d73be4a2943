from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from expertune.errors import ModelUnavailableError, UntrustedModelError
from expertune.models import packages
from expertune.models.packages import Layout, locate, present

WEIGHTS = b"weights" * 100


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path with one installed package, and an empty cache."""
    folder = tmp_path / "site"
    information = folder / "carrier_model-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: carrier-model\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("EXPERTUNE_CACHE", str(tmp_path / "cache"))
    return folder


def put(site: Path, path: str, data: bytes) -> str:
    (site / path).parent.mkdir(parents=True, exist_ok=True)
    (site / path).write_bytes(data)
    return path


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def archived(site: Path, members: dict[str, bytes]) -> Layout:
    data = zipped(members)
    half = len(data) // 2
    parts = (put(site, "carrier/m.zip.001", data[:half]), put(site, "carrier/m.zip.002", data[half:]))
    return Layout(("carrier-model",), "model.safetensors", sha(WEIGHTS), folder="model", archive=parts)


def test_a_folder_is_used_in_place(site: Path) -> None:
    put(site, "carrier/model/model.safetensors", WEIGHTS)
    layout = Layout(("carrier-model",), "model.safetensors", sha(WEIGHTS), folder="carrier/model")
    assert present(layout)
    assert locate("m", layout, most_bytes=0) == site / "carrier/model"


def test_changed_weights_are_refused_in_place(site: Path) -> None:
    put(site, "carrier/model/model.safetensors", WEIGHTS + b"!")
    layout = Layout(("carrier-model",), "model.safetensors", sha(WEIGHTS), folder="carrier/model")
    with pytest.raises(UntrustedModelError, match="SHA-256"):
        locate("m", layout, most_bytes=0)


def test_files_are_joined_from_parts_once(site: Path) -> None:
    parts = (put(site, "carrier/a", WEIGHTS[:50]), put(site, "carrier/b", WEIGHTS[50:]))
    layout = Layout(
        ("carrier-model",),
        "model.onnx",
        sha(WEIGHTS),
        files={"model.onnx": parts, "tokenizer.json": (put(site, "carrier/t.json", b"{}"),)},
    )
    folder = locate("joined", layout, most_bytes=0)
    assert (folder / "model.onnx").read_bytes() == WEIGHTS
    assert (folder / "tokenizer.json").read_bytes() == b"{}"
    assert folder == packages.cache_folder() / f"joined-{sha(WEIGHTS)[:12]}"
    (site / "carrier/t.json").write_bytes(b"changed")
    assert (locate("joined", layout, most_bytes=0) / "tokenizer.json").read_bytes() == b"{}"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_an_archive_in_parts_is_unpacked_below_its_folder(site: Path) -> None:
    layout = archived(
        site, {"model/model.safetensors": WEIGHTS, "model/1_Pooling/config.json": b"{}", "other/x": b"no"}
    )
    folder = locate("zipped", layout, most_bytes=10_000)
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert found == ["1_Pooling/config.json", "model.safetensors"]


def test_a_missing_part_is_named(site: Path) -> None:
    layout = archived(site, {"model/model.safetensors": WEIGHTS})
    (site / "carrier/m.zip.002").unlink()
    assert not present(layout)
    with pytest.raises(ModelUnavailableError, match=r"m\.zip\.002"):
        locate("zipped", layout, most_bytes=10_000)
    assert list(packages.cache_folder().iterdir()) == []


def test_a_truncated_archive_is_an_error_and_leaves_nothing(site: Path) -> None:
    layout = archived(site, {"model/model.safetensors": WEIGHTS})
    put(site, "carrier/m.zip.002", b"")
    with pytest.raises(ModelUnavailableError, match="put together"):
        locate("zipped", layout, most_bytes=10_000)
    assert list(packages.cache_folder().iterdir()) == []


@pytest.mark.parametrize("name", ["../evil", "/evil", "model/../../evil", "C:/evil", "..\\evil"])
def test_members_that_leave_the_folder_are_refused(site: Path, tmp_path: Path, name: str) -> None:
    layout = archived(site, {"model/model.safetensors": WEIGHTS, name: b"evil"})
    with pytest.raises(UntrustedModelError, match="leads out"):
        locate("zipped", layout, most_bytes=10_000)
    assert not list(tmp_path.rglob("evil"))


def test_links_in_an_archive_are_refused(site: Path) -> None:
    link = zipfile.ZipInfo("model/link")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    layout = Layout(
        ("carrier-model",),
        "model.safetensors",
        sha(WEIGHTS),
        folder="model",
        archive=(put(site, "carrier/m.zip", buffer.getvalue()),),
    )
    with pytest.raises(UntrustedModelError, match="leads out"):
        locate("zipped", layout, most_bytes=10_000)


def test_an_archive_of_absurd_size_is_refused(site: Path) -> None:
    layout = archived(site, {"model/model.safetensors": WEIGHTS, "model/zeros": bytes(100_000)})
    with pytest.raises(UntrustedModelError, match=r"100,700 bytes, at most 10,000"):
        locate("zipped", layout, most_bytes=10_000)


def test_assembled_weights_that_are_not_the_pinned_ones_never_reach_the_cache(site: Path) -> None:
    layout = archived(site, {"model/model.safetensors": b"other"})
    with pytest.raises(UntrustedModelError, match="SHA-256"):
        locate("zipped", layout, most_bytes=10_000)
    assert list(packages.cache_folder().iterdir()) == []


def test_weights_changed_in_the_cache_are_refused(site: Path) -> None:
    layout = archived(site, {"model/model.safetensors": WEIGHTS})
    folder = locate("zipped", layout, most_bytes=10_000)
    (folder / "model.safetensors").write_bytes(b"tampered with")
    with pytest.raises(UntrustedModelError, match="Delete this folder"):
        locate("zipped", layout, most_bytes=10_000)


def test_a_package_that_is_not_installed_carries_nothing(site: Path) -> None:
    put(site, "carrier/model/model.safetensors", WEIGHTS)
    assert not present(Layout(("absent-package",), "model.safetensors", sha(WEIGHTS), folder="carrier/model"))
    assert not present(Layout((), "model.safetensors", sha(WEIGHTS), folder="carrier/model"))
