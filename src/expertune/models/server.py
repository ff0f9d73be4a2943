"""Talk to a server that speaks OpenAI's protocol: retries, limits, keys, token counts. Knows no prompt and no vector.

A key is read from the environment, sent in one header, and taken out of everything a server says before anybody sees
it: a server may repeat it in an error or in an answer.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import Field, SecretStr

from expertune.errors import ConfigError, ServerError
from expertune.models.parallel import Item, Made, side_by_side
from expertune.models.plugins import Options, require_extra

if TYPE_CHECKING:
    import httpx
    import tenacity

    from expertune.models import ModelSource

logger = logging.getLogger(__name__)

TRIES = 6
"""How often a request is sent that may succeed later."""

_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
# A server that asks for more patience than this has run out of quota rather than of breath.
_MOST_PATIENCE = 300.0
# Waits shorter than this are not worth a line.
_TOLD_WAIT = 5.0
_MOST_BYTES = 64_000_000
_EXCERPT = 200
_HIDDEN = "[key]"
# Upper case only: a key that was put here by mistake hardly ever looks like that, so the name may be shown in errors.
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_KEY = re.compile(r"[!-~]+")
_MARKUP = re.compile(r"\s*<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE)
_DATED = r"(?:[-:@]\d{4}[\d-]*|:latest)?"


class ServerOptions(Options):
    """What a config may set for any server."""

    base_url: str = Field(description="where the server's paths begin, such as http://localhost:8000/v1")
    model: str = Field(min_length=1, description="the model's name on the server")
    key_variable: str = Field(
        default="", description="environment variable that holds the API key; empty: none is sent"
    )
    timeout: float = Field(default=120.0, gt=0.0, description="seconds for one answer")
    body: dict[str, Any] = Field(default_factory=dict, description="further fields of each request")


UNDECISIVE = {"key_variable", "timeout"}
"""The options that change no answer, so that they stand in no fingerprint."""


def refuse_model(source: ModelSource | None, *, plug_in: str) -> None:
    """Make sure that a server's plug-in was given no model of this machine.

    Raises:
        ConfigError: one was given, and it would have been ignored.
    """
    if source is not None:
        raise ConfigError(
            [f"the plug-in '{plug_in}' reads no model of this machine, got '{source.name}'"],
            hint="Name the server's model in its options: options = { base_url = ..., model = ... }.",
        )


@dataclass
class Usage:
    """What one server object has used: answers, tokens read and written."""

    answers: int = 0
    read: int = 0
    written: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, told: Any) -> None:
        """Count one answer; `told` is the `usage` that the server sent with it, if it sent one."""
        table = told if isinstance(told, dict) else {}
        with self._lock:
            self.answers += 1
            self.read += _count(table.get("prompt_tokens"))
            self.written += _count(table.get("completion_tokens"))

    def __str__(self) -> str:
        """Say it in one line; nothing if no answer came."""
        if not self.answers:
            return ""
        return f"{self.answers:,} answers of the server, {self.read:,} tokens read, {self.written:,} written"


class Server:
    """One model on one server. Safe for several threads; a connection is opened with the first request.

    Raises:
        ConfigError: an address or a variable name that cannot be used, no key in the variable, libraries missing.
    """

    def __init__(self, options: ServerOptions, *, plug_in: str) -> None:
        require_extra("servers", "httpx", "tenacity", plug_in=plug_in)
        self._options = options
        self._url = _checked_url(options.base_url, plug_in)
        self._key = _read_key(options.key_variable, plug_in)
        self._stopping = threading.Event()
        self._renamed = False
        self.usage = Usage()

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the JSON object the server answers to the model's name, `body` and the fields of the config.

        Requests that may succeed later are repeated: 429, 5xx, timeouts, lost connections, broken JSON.

        Raises:
            ServerError: it refuses, or there is still no usable answer after the last repetition.
            FilteredError: it refuses only this request, because of its content.
        """
        fields = {"model": self._options.model, **body, **self._options.body}
        try:
            answer: dict[str, Any] = self._retrying(self._post_once, path, fields)
        except _PassingError as error:
            raise self.error(
                f"{error} (tried {TRIES} times)",
                hint="Everything finished is kept: run the same command again once the server answers.",
            ) from None
        self.usage.add(answer.get("usage"))
        return answer

    def side_by_side(
        self, work: Callable[[Item], Made], items: Sequence[Item], *, most: int
    ) -> Iterator[tuple[int, Made]]:
        """Yield (position, result) of `work` on every item as each is finished, `most` at a time (`parallel`)."""
        return side_by_side(work, items, most=most, stopping=self._stopping)

    def is_asked_model(self, answer: Mapping[str, Any]) -> bool:
        """Whether an answer comes from the model that was asked for, as far as the server says.

        A path before the name, letter case, `.gguf` and a dated version after it make no difference.
        """
        told = answer.get("model")
        if not isinstance(told, str) or not told:
            return True
        asked, plain = (
            name.rpartition("/")[2].casefold().removesuffix(".gguf") for name in (self._options.model, told)
        )
        return re.fullmatch(re.escape(re.sub(r":latest$", "", asked)) + _DATED, plain) is not None

    def warn_of_other_model(self, answer: Mapping[str, Any]) -> None:
        """Log once that the server answers with another model's name."""
        if not self._renamed and not self.is_asked_model(answer):
            self._renamed = True
            logger.warning("%s: asked for '%s', '%s' answers", self._url, self._options.model, excerpt(answer["model"]))

    def error(self, message: str, *, hint: str = "") -> ServerError:
        """Return an error that names server and model, and never the key."""
        return ServerError(self._without_key(message), place=f"{self._url}, model {self._options.model}", hint=hint)

    # --- one request --------------------------------------------------------------------------------------------------

    def _post_once(self, path: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        import httpx

        deadline = time.monotonic() + self._options.timeout
        try:
            with self._client.stream("POST", f"{self._url}/{path}", json=fields) as response:
                text = self._read(response, deadline)
        except httpx.TimeoutException:
            raise _PassingError(f"no answer within {self._options.timeout:g} s") from None
        except httpx.RequestError as error:
            raise _PassingError(f"the connection failed ({self._without_key(str(error))})") from None
        if not response.is_success:
            raise self._refusal(response.status_code, text, response.headers.get("retry-after", ""))
        return self._parsed(text)

    def _read(self, response: httpx.Response, deadline: float) -> str:
        """Return the body; the whole of it has to come before the deadline, not only each part."""
        parts, size = [], 0
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if time.monotonic() > deadline:
                raise _PassingError(f"no answer within {self._options.timeout:g} s")
            if size > _MOST_BYTES:
                raise self.error(
                    f"an answer is larger than {_MOST_BYTES // 1_000_000} MB", hint="Ask for less at once."
                )
        return b"".join(parts).decode("utf-8", "replace")

    def _parsed(self, text: str) -> dict[str, Any]:
        if _MARKUP.match(text):
            raise self.error("answers with a web page instead of JSON", hint=_ADDRESS)
        answer = _parsed(text)
        if answer is None:
            raise _PassingError(f"the answer is not whole JSON ({len(text)} characters)")
        if not isinstance(answer, dict):
            raise self.error(f"answers with a JSON {type(answer).__name__} instead of an object", hint=_ADDRESS)
        told: dict[str, Any] = self._scrubbed(answer)
        if told.get("error"):
            raise self._refusal(_count(_detail(told, "code")) or 200, text, "")
        return told

    def _refusal(self, status: int, text: str, retry_after: str) -> Exception:
        """Return what to raise: an error that passes, or one that does not."""
        said = self._said(text)
        message = f"answers with status {status}{f': {said}' if said else ''}"
        if status == 429 or status >= 500:
            return _PassingError(message, _seconds(retry_after))
        if _detail(_parsed(text), "code") in ("content_filter", "content_policy_violation"):
            return FilteredError(message)
        return self.error(message, hint=self._hint(status))

    def _said(self, text: str) -> str:
        """Return what an answer with an error says, in a few words. The key goes before anything is cut."""
        if _MARKUP.match(text):
            return "a web page"
        answer = _parsed(text)
        said = text if answer is None else _detail(answer, "message") or answer
        return excerpt(self._without_key(str(said)))

    def _hint(self, status: int) -> str:
        variable = self._options.key_variable
        if status in (401, 403):
            return f"Is the key in {variable} valid here?" if variable else "Name the key's variable: key_variable."
        if status == 404:
            return f"{_ADDRESS} Does it have this model?"
        return _ADDRESS if 300 <= status < 400 else "What the server says tells which option to change."

    # --- retries ------------------------------------------------------------------------------------------------------

    def _retrying(self, function: Callable[..., Any], *arguments: Any) -> Any:
        import tenacity

        stop = tenacity.stop_after_attempt(TRIES)
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, _PassingError) and error.passes),
            stop=stop | tenacity.stop_when_event_set(self._stopping),
            wait=_pause,
            sleep=tenacity.sleep_using_event(self._stopping),
            before_sleep=self._tell,
            reraise=True,
        )
        return attempts(function, *arguments)

    def _tell(self, state: tenacity.RetryCallState) -> None:
        seconds = state.next_action.sleep if state.next_action else 0.0
        error = state.outcome.exception() if state.outcome else None
        if seconds >= _TOLD_WAIT:
            logger.info("%s: %s; waiting %.0f s", self._url, error, seconds)

    # --- the key ------------------------------------------------------------------------------------------------------

    @cached_property
    def _client(self) -> httpx.Client:
        import httpx

        key = self._key.get_secret_value()
        # Redirects are not followed: the key is for this server only.
        client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=self._options.timeout,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=None),
        )
        weakref.finalize(self, client.close)
        return client

    def _without_key(self, text: str) -> str:
        key = self._key.get_secret_value()
        return text.replace(key, _HIDDEN) if key else text

    def _scrubbed(self, value: Any) -> Any:
        """Return JSON with the key taken out of every string."""
        if isinstance(value, str):
            return self._without_key(value)
        if isinstance(value, list):
            return [self._scrubbed(item) for item in value]
        if isinstance(value, dict):
            return {self._without_key(name): self._scrubbed(item) for name, item in value.items()}
        return value


_ADDRESS = "Is base_url the address of the interface, usually ending in /v1?"


class FilteredError(Exception):
    """The server refuses this one request because of its content; others may pass."""


class _PassingError(Exception):
    """What may be gone at the next attempt. `after`: how many seconds the server asks to wait, None if it does not."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message if after is None or after <= _MOST_PATIENCE else f"{message}; wait {after:.0f} s")
        self.after = after

    @property
    def passes(self) -> bool:
        """Whether it passes soon enough to wait for it."""
        return self.after is None or self.after <= _MOST_PATIENCE


def excerpt(text: Any) -> str:
    """Return the beginning of what a server said, on one line."""
    line = " ".join(str(text).split())
    return line if len(line) <= _EXCERPT else f"{line[:_EXCERPT]}..."


def _pause(state: tenacity.RetryCallState) -> float:
    """Return the seconds to wait: what the server asks for, else exponentially more, by chance so that threads part."""
    import tenacity

    error = state.outcome.exception() if state.outcome else None
    growing: float = tenacity.wait_random_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_WAIT)(state)
    return max(error.after, 0.0) if isinstance(error, _PassingError) and error.after is not None else growing


def _checked_url(url: str, plug_in: str) -> str:
    """Return the address without a slash at the end; what it holds is not repeated, since it may be a secret."""
    import httpx

    try:
        parts = httpx.URL(url)
        fine = parts.scheme in ("http", "https") and bool(parts.host) and (parts.port or 0) < 2**16
        secret = bool(parts.userinfo or parts.query or parts.fragment)
    except httpx.InvalidURL:
        fine, secret = False, False
    if not fine or secret:
        raise ConfigError(
            ["base_url holds a user, a query or a fragment" if secret else "base_url is no http or https address"],
            place=f"plug-in {plug_in}",
            hint="Write it like http://localhost:8000/v1; a key belongs into the variable that key_variable names.",
        )
    return url.rstrip("/")


def _read_key(variable: str, plug_in: str) -> SecretStr:
    if not variable:
        return SecretStr("")
    if not _VARIABLE.fullmatch(variable):
        raise ConfigError(
            ["key_variable is not the name of an environment variable in upper case"],
            place=f"plug-in {plug_in}",
            hint='Put the key into a variable, and the variable\'s name here: key_variable = "MY_SERVER_KEY".',
        )
    key = os.environ.get(variable, "").strip()
    if not _KEY.fullmatch(key):
        what = "holds characters that no key has" if key else "is empty or not set"
        raise ConfigError(
            [f"the environment variable {variable} {what}"],
            place=f"plug-in {plug_in}",
            hint=f"Set it before the run: export {variable}=...",
        )
    return SecretStr(key)


def _count(value: Any) -> int:
    """Return a number of tokens or a status as the server tells it; 0 where it does not."""
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return int(value) if isinstance(value, int) and value > 0 else 0


def _seconds(retry_after: str) -> float | None:
    """Return how long a Retry-After header asks to wait: it holds seconds or a date."""
    if not retry_after:
        return None
    try:
        return float(retry_after)
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()


def _parsed(text: str) -> Any:
    """Return what a text holds as JSON; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _detail(answer: Any, name: str) -> Any:
    """Return one field of the error that an answer holds; servers put it into `error`, `detail` or nowhere."""
    if not isinstance(answer, dict):
        return None
    error = answer.get("error") or answer.get("detail") or answer
    return error.get(name) if isinstance(error, dict) else error if name == "message" else None
