"""A real HTTP server on loopback that speaks OpenAI's protocol, and misbehaves as it is told."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[["Handler", dict[str, Any]], None]


@dataclass
class Seen:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Misbehaving:
    """What the server does: `script` for the first requests, one each, then `usual`."""

    usual: Reply
    script: list[Reply] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    url: str = ""
    busiest: int = 0
    _busy: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, seen: Seen) -> Reply:
        with self._lock:
            self.seen.append(seen)
            self._busy += 1
            self.busiest = max(self.busiest, self._busy)
            return self.script.pop(0) if self.script else self.usual

    def done(self) -> None:
        with self._lock:
            self._busy -= 1


class Handler(BaseHTTPRequestHandler):
    """Reads a request and lets the script answer it."""

    protocol_version = "HTTP/1.1"
    behaviour: Misbehaving

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reply = self.behaviour.next(Seen(self.path, dict(self.headers), body))
        try:
            reply(self, body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            self.behaviour.done()

    def log_message(self, *_: object) -> None:
        pass

    def send(self, text: str, *, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        data = text.encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def serving(usual: Reply, *script: Reply) -> Iterator[Misbehaving]:
    """Run the server while the block runs."""
    behaviour = Misbehaving(usual, list(script))
    made = type("Bound", (Handler,), {"behaviour": behaviour})
    server = ThreadingHTTPServer(("127.0.0.1", 0), made)
    server.daemon_threads = True
    behaviour.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield behaviour
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# --- good answers -----------------------------------------------------------------------------------------------------


def completion(text: str | None, *, model: str = "small", reason: str = "stop", **message: Any) -> str:
    return json.dumps(
        {
            "model": model,
            "choices": [{"finish_reason": reason, "message": {"role": "assistant", "content": text, **message}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10},
        }
    )


def asking(handler: Handler, body: dict[str, Any]) -> None:
    """Answer with a question that is different for different messages, and the same for the same."""
    digest = hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()
    words = " ".join(f"w{digest[n : n + 6]}" for n in range(0, 30, 6))
    handler.send(completion(f"Where is {words} kept?", model=body["model"]))


def vector(text: str) -> list[float]:
    return [float(byte) - 128.0 for byte in hashlib.sha256(text.encode()).digest()[:8]]


def embedding(handler: Handler, body: dict[str, Any]) -> None:
    """Answer with one vector for each text, last one first: `index` tells which is whose."""
    rows = [{"index": index, "embedding": vector(text)} for index, text in enumerate(body["input"])]
    answer = {"model": body["model"], "data": rows[::-1], "usage": {"prompt_tokens": 7 * len(rows)}}
    handler.send(json.dumps(answer))


# --- bad ones ---------------------------------------------------------------------------------------------------------


def failing(status: int, message: str = "no", code: str | None = None, **headers: str) -> Reply:
    text = json.dumps({"error": {"message": message, "code": code}})
    return lambda handler, _: handler.send(text, status=status, **headers)


def saying(text: str, **options: Any) -> Reply:
    return lambda handler, _: handler.send(text, **options)


def slow(seconds: float, then: Reply) -> Reply:
    def reply(handler: Handler, body: dict[str, Any]) -> None:
        time.sleep(seconds)
        then(handler, body)

    return reply


def dripping(handler: Handler, _: dict[str, Any]) -> None:
    """Send a byte now and then, so that no single wait is long."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.02)


def closing_in_the_middle(handler: Handler, _: dict[str, Any]) -> None:
    text = completion("Where is it kept?").encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(text)))
    handler.end_headers()
    handler.wfile.write(text[: len(text) // 2])
    handler.close_connection = True


def repeating_the_key(status: int) -> Reply:
    """Answer with what stood in the header, plain and escaped, as some servers do in errors."""

    def reply(handler: Handler, _: dict[str, Any]) -> None:
        key = handler.headers["Authorization"].removeprefix("Bearer ")
        escaped = "".join(f"\\u{ord(char):04x}" for char in key)
        padding = "x" * (200 - len(key) // 2 - 30)
        said = f"{padding} wrong key {key} or {escaped}"
        if status == 200:
            message = f'{{"role": "assistant", "content": "Is {key} the key, or {escaped}?"}}'
            handler.send(f'{{"model": "{escaped}", "choices": [{{"finish_reason": "stop", "message": {message}}}]}}')
        else:
            handler.send(f'{{"error": {{"message": "{said}"}}}}', status=status)

    return reply
