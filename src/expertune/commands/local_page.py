"""Serve a page on this machine's loopback address, to this machine's browser alone. Knows no page's content.

Nobody else can ask: the socket is bound to 127.0.0.1, and a request whose Host header names another machine is refused,
so that a web page elsewhere cannot reach it under a name of its own (DNS rebinding). What changes something must come
from the page itself: its Origin is compared (cross-site request forgery).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from expertune.errors import ConfigError
from expertune.report.page import policy_hash

logger = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
_MOST_BYTES = 1 << 20

Fields = Mapping[str, Sequence[str]]
"""Values of a query or a form by name; a name may have several."""


class RefusedError(Exception):
    """What cannot be answered: the status and why, in a sentence."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        self.status, self.why = status, why
        super().__init__(why)


class Page(Protocol):
    """What is served. `style` and `script` stand inside the page; only these two get through its policy."""

    style: str
    script: str

    def get(self, fields: Fields) -> str:
        """Return the page as HTML, or raise `RefusedError`."""
        ...

    def post(self, path: str, fields: Fields) -> str:
        """Do what a form asks for and return where to go on, such as "/", or raise `RefusedError`."""
        ...


class LocalServer(ThreadingHTTPServer):
    """Serve one page; `server_port` tells the port where 0 was asked for.

    Raises:
        ConfigError: the port cannot be had.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, page: Page, port: int) -> None:
        try:
            super().__init__((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as error:
            hint = "Name another one, or 0 for any that is free."
            raise ConfigError([f"port {port} cannot be had ({error})"], place="--port", hint=hint) from None
        self.page = page
        self.hosts = frozenset(f"{name}:{self.server_port}" for name in (ADDRESS, "localhost"))
        scripts = f"script-src {policy_hash(page.script)}; " if page.script else ""
        self.headers = {
            "Content-Security-Policy": (
                f"default-src 'none'; style-src {policy_hash(page.style)}; {scripts}form-action 'self'; "
                "base-uri 'none'; frame-ancestors 'none'"
            ),
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            # Not "no-referrer": a form would then be sent with the Origin "null", like one of any other page.
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }
        self.one_at_a_time = threading.Lock()  # Two forward passes at once are slower than one after the other.

    @property
    def url(self) -> str:
        """Where a browser finds the page."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def run(self) -> None:
        """Serve until interrupted, which is how it is meant to end."""
        try:
            self.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Answer GET and HEAD of the one page and POST of its forms; refuse the rest."""

    server: LocalServer
    server_version = "expertune"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        """Send the page."""
        try:
            self._refuse_others()
            asked = urlsplit(self.path)
            if asked.path != "/":
                raise RefusedError(HTTPStatus.NOT_FOUND, "There is one page, at /.")
            fields = _fields(asked.query)
            with self.server.one_at_a_time:
                body = self.server.page.get(fields).encode("utf-8", errors="replace")
        except RefusedError as refusal:
            self.send_error(refusal.status, explain=refusal.why)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def do_POST(self) -> None:
        """Do what a form of the page asks for, and send the browser on."""
        try:
            self._refuse_others()
            origins = self.headers.get_all("Origin") or []
            if len(origins) != 1 or origins[0].lower() not in {f"http://{host}" for host in self.server.hosts}:
                raise RefusedError(HTTPStatus.FORBIDDEN, "Only this page's own forms are taken.")
            length = self.headers.get("Content-Length", "")
            if not (length.isascii() and length.isdigit()) or int(length) > _MOST_BYTES:
                raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "A form has its length and at most 1 MiB.")
            fields = _fields(self.rfile.read(int(length)).decode("utf-8", errors="replace"))
            with self.server.one_at_a_time:
                target = self.server.page.post(urlsplit(self.path).path, fields)
        except RefusedError as refusal:
            self.close_connection = True
            self.send_error(refusal.status, explain=refusal.why)
            return
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _refuse_others(self) -> None:
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:
            raise RefusedError(HTTPStatus.FORBIDDEN, "This page answers to this machine only.")

    def end_headers(self) -> None:
        """Send the headers that every answer has, refusals too."""
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *values: Any) -> None:  # noqa: A002 - the base's own name
        """Keep what is asked out of the terminal."""
        logger.debug(format, *values)


def _fields(text: str) -> Fields:
    try:
        return parse_qs(text, keep_blank_values=True, errors="replace", max_num_fields=1000)
    except ValueError:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "A form has at most 1000 fields.") from None
