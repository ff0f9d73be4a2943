"""Show the commands of `expertune --help` under headings, those a newcomer needs first, with an example each."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

SECTIONS: dict[str, dict[str, str]] = {
    "Start here": {
        "init": "expertune init my-faq",
        "check": "expertune check --data my-faq",
        "compare": "expertune compare --data my-faq",
        "run": "expertune run --data my-faq --log searches.txt --out runs/my-faq",
        "try": "expertune try runs/my-faq",
        "judge": "expertune judge --data my-faq --log searches.txt",
    },
    "With a finished run": {"export": "", "add": "", "diff": "", "push": ""},
    "Choose models and settings": {"models": "", "panel": "", "study": ""},
    "Single stages, in their order": {
        "load": "",
        "augment": "",
        "score": "",
        "label": "",
        "train": "",
        "evaluate": "",
    },
}
"""Headings, their commands, and an example where one helps. A command that is not here is listed under the last one."""


LONGEST = 160
"""Characters of a command's description: its first sentence, never cut."""


class Sections(TyperGroup):
    """A group whose help lists its commands under headings."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one list of commands a heading; the arguments are click's context and formatter."""
        placed = {name for commands in SECTIONS.values() for name in commands}
        others = {name: "" for name in self.list_commands(ctx) if name not in placed}
        width = max(map(len, self.commands))
        for title, commands in {**SECTIONS, "Others": others}.items():
            rows: list[tuple[str, str]] = []
            for name, example in commands.items():
                command = self.get_command(ctx, name)
                if command is None:
                    continue
                rows.append((name.ljust(width), command.get_short_help_str(LONGEST)))
                if example:
                    rows.append(("", f"$ {example}"))
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
