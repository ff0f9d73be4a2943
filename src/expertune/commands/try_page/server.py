"""Serve one page on this machine's loopback address: type a question, see what both models answer.

Nobody else can ask: the socket is bound to 127.0.0.1, and a request whose Host header names another machine is refused,
so that a web page elsewhere cannot reach it under a name of its own (DNS rebinding). The page runs no script, and what
is shown is escaped.
"""

from __future__ import annotations

import logging
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from expertune.commands.try_page.side_by_side import SHOWN, SideBySide
from expertune.errors import ConfigError
from expertune.report.page import asset, environment, policy_hash

logger = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
LONGEST = 2000
"""Characters of a question; the models read a few hundred at most."""


class PageServer(ThreadingHTTPServer):
    """Serve the page of two models; `server_port` tells the port where 0 was asked for.

    Raises:
        ConfigError: the port cannot be had.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, models: SideBySide, port: int) -> None:
        try:
            super().__init__((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as error:
            hint = "Name another one, or 0 for any that is free."
            raise ConfigError([f"port {port} cannot be had ({error})"], place="--port", hint=hint) from None
        self.models = models
        self.hosts = frozenset(f"{name}:{self.server_port}" for name in (ADDRESS, "localhost"))
        self.style = asset("expertune.report", "report.css") + asset("expertune.commands.try_page", "try.css")
        self.headers = {
            "Content-Security-Policy": (
                f"default-src 'none'; style-src {policy_hash(self.style)}; form-action 'self'; "
                "base-uri 'none'; frame-ancestors 'none'"
            ),
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }
        self._asking = threading.Lock()

    @property
    def url(self) -> str:
        """Where a browser finds the page."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def page(self, question: str) -> str:
        """Return the page for a question; an empty one is not asked."""
        started = time.perf_counter()
        with self._asking:  # Two forward passes at once are slower than one after the other.
            answers = self.models.ask(question) if question else None
        return (
            environment("expertune.commands.try_page")
            .get_template("try.html.j2")
            .render(
                question=question,
                answers=answers,
                names=self.models.names,
                documents=len(self.models.documents),
                shown=SHOWN,
                longest=LONGEST,
                seconds=time.perf_counter() - started,
                style=self.style,
            )
        )

    def run(self) -> None:
        """Serve until interrupted, which is how it is meant to end."""
        try:
            self.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Answer GET and HEAD of the one page; refuse the rest."""

    server: PageServer
    server_version = "expertune"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        """Send the page."""
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:
            self.send_error(HTTPStatus.FORBIDDEN, explain="This page answers to this machine only.")
            return
        asked = urlsplit(self.path)
        if asked.path != "/":
            self.send_error(HTTPStatus.NOT_FOUND, explain="There is one page, at /.")
            return
        question = " ".join(parse_qs(asked.query, errors="replace").get("q", [""])[0].split())
        if len(question) > LONGEST:
            self.send_error(HTTPStatus.BAD_REQUEST, explain=f"A question may have {LONGEST} characters.")
            return
        body = self.server.page(question).encode("utf-8", errors="replace")
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def end_headers(self) -> None:
        """Send the headers that every answer has, refusals too."""
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *values: Any) -> None:  # noqa: A002 - the base's own name
        """Keep what is asked out of the terminal."""
        logger.debug(format, *values)
