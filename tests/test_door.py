"""The package's door: its names, and what importing it does not do."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import expertune

HEAVY = ("torch", "transformers", "sentence_transformers", "pandas", "pydantic", "numpy", "rich", "typer")


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_importing_loads_nothing_heavy_and_prints_nothing():
    done = _python(f"import expertune, sys; assert not {set(HEAVY)} & set(sys.modules)")
    assert (done.stdout, done.stderr) == ("", "")


def test_using_the_door_loads_no_torch():
    code = "from expertune import *; import sys; print('torch' in sys.modules, Run.__name__)"
    assert _python(code).stdout.split() == ["False", "Run"]


def test_every_public_name_resolves_and_is_listed():
    for name in expertune.__all__:
        assert getattr(expertune, name) is not None
    assert dir(expertune) == sorted(set(expertune.__all__))
    assert len(set(expertune.__all__)) == len(expertune.__all__)


def test_names_are_the_objects_of_their_modules():
    from expertune.errors import ExpertuneError
    from expertune.pipeline.run import Run

    assert expertune.Run is Run
    assert expertune.ExpertuneError is ExpertuneError


def test_the_version_is_that_of_the_installed_package():
    assert expertune.__version__ == version("expertune")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Runn'"):
        expertune.Runn  # noqa: B018
