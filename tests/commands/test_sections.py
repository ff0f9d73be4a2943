"""The help of the program: every command under one heading, nothing cut off."""

from __future__ import annotations

from typer.main import get_command
from typer.testing import CliRunner

from expertune.commands.cli import app
from expertune.commands.sections import SECTIONS


def test_every_command_stands_under_one_heading():
    placed = [name for commands in SECTIONS.values() for name in commands]
    assert len(placed) == len(set(placed))
    assert set(get_command(app).commands) <= set(placed)  # type: ignore[attr-defined]


def test_the_help_begins_with_what_a_newcomer_needs_and_shows_examples(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = CliRunner().invoke(app, ["--help"]).stdout.splitlines()
    headings = [line.removesuffix(":") for line in lines if line and not line.startswith((" ", "Usage"))]
    assert headings == ["Options", *SECTIONS]
    assert "            $ expertune check --data my-faq" in lines
    assert not any("..." in line for line in lines[1:])
    assert max(map(len, lines)) <= 80
