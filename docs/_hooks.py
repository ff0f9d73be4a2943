"""What the site does to a page: links to files outside docs/, which work in the repository, lead to the repository."""

from __future__ import annotations

import re
from typing import Any


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:  # noqa: ARG001 -- mkdocs' own names
    """Return the page's text with links that lead out of docs/ pointing to the repository."""
    way_out = "../" * (page.file.src_uri.count("/") + 1)
    return re.sub(rf"\]\({re.escape(way_out)}([\w./-]+)", rf"]({config.repo_url.rstrip('/')}/blob/main/\1", markdown)
