"""Let plug-ins work in several processes, on one machine or many, through Ray. Knows no stage; only it knows Ray.

A plug-in becomes one with the same name, fingerprint and methods whose calls are carried out by actors, each with a
copy of the plug-in and so of its model. A stage gives it the same batches as always and gets the results in order:
same bytes, same cache. Ray starts an actor again that was killed, and gives it the call that was lost.
"""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from expertune.config import ClusterSection
from expertune.errors import ConfigError, ExpertuneError, PluginError
from expertune.models.cache import ItemCache
from expertune.models.plugins import EmbeddingExpert, Expert, Generator, Plugin, Request
from expertune.records import FloatArray

PlugIn = TypeVar("PlugIn", bound=Plugin)

HERE = "here"
"""The address that starts Ray on this machine for the length of a run."""

RETRIES = 3
"""How often a lost call is tried again: a call that kills its process every time must end the run."""

_PORT = 6379  # of a cluster's head, unless the address says otherwise
_PATIENCE = 10.0  # seconds
# Calls under way for each actor: one that works, and one whose result or whose turn is waited for.
_AHEAD = 2


def require(section: ClusterSection) -> None:
    """Make sure that Ray is installed where it is to be used.

    Raises:
        ConfigError: it is not; the hint is the command that installs it.
    """
    if section.address and importlib.util.find_spec("ray") is None:
        problem = f"cluster.address = '{section.address}' needs the library ray"
        raise ConfigError([problem], hint="pip install 'expertune[ray]'")


@contextmanager
def spread(
    plug_ins: Sequence[PlugIn], makers: Sequence[Callable[[], PlugIn]], section: ClusterSection, *, threads: int
) -> Iterator[tuple[PlugIn, ...]]:
    """Give the plug-ins back as ones that work in several processes, as long as the context lasts.

    Those that would gain nothing stay what they are: a server's, which waits for another machine anyway, and an
    expert that looks at all questions in one call.

    Args:
        plug_ins: Generators or experts.
        makers: Each makes a copy of the plug-in in another process; what it is made of must be there too.
        section: Where.
        threads: Processors of each process.

    Raises:
        ConfigError: Ray is not installed, or no cluster answers at the address.
    """
    require(section)
    if not section.address or not any(map(_worth_spreading, plug_ins)):
        yield tuple(plug_ins)
        return
    started = _join(section)
    try:
        crew = _Crew(section, threads)
        try:
            yield tuple(
                cast(PlugIn, _remote(plug_in, make, crew)) if _worth_spreading(plug_in) else plug_in
                for plug_in, make in zip(plug_ins, makers, strict=True)
            )
        finally:
            crew.dismiss()
    finally:
        if started:
            _ray().shutdown()


def _worth_spreading(plug_in: Plugin) -> bool:
    in_parts = isinstance(plug_in, Generator) or (isinstance(plug_in, Expert) and plug_in.chunk > 0)
    return in_parts and not plug_in.served


def _remote(plug_in: Plugin, make: Callable[[], Any], crew: _Crew) -> _Remote:
    """Return a plug-in of the same kind whose calls actors carry out; from a streaming one, batches come whole."""
    if isinstance(plug_in, Generator):
        return _RemoteGenerator(plug_in, make, crew)
    return (_RemoteEmbedding if isinstance(plug_in, EmbeddingExpert) else _RemoteExpert)(plug_in, make, crew)


def _ray() -> Any:
    import ray

    return ray


def _join(section: ClusterSection) -> bool:
    """Join the cluster at the address, or start one here; return whether this process has to end it."""
    # A run opens no connection that was not asked for; Ray reads this when it starts.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = _ray()
    if ray.is_initialized():
        return False
    here = section.address == HERE
    try:
        _knock(section.address)
        ray.init(
            address="local" if here else section.address,
            log_to_driver=False,
            configure_logging=False,
            **({"include_dashboard": False} if here else {}),
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            [f"no Ray cluster can be used at '{section.address}' ({error})"],
            place="cluster.address",
            hint=f"Start one with `ray start --head`, or set the address to '{HERE}' to start one for this run.",
        ) from error
    return True


def _knock(address: str) -> None:
    """Find out at once whether anybody answers at an address: Ray itself tries for many minutes.

    Raises:
        OSError: nobody does.
        ValueError: it is no address.
    """
    if address in (HERE, "auto"):
        return
    place = urlsplit(address if "://" in address else f"//{address}")
    with socket.create_connection((place.hostname, place.port or _PORT), timeout=_PATIENCE):
        pass


class _Worker:
    """What lives in an actor's process: the plug-in, made when the first call comes."""

    def __init__(self, make: Callable[[], Any], fingerprint: str) -> None:
        self._make = make
        self._fingerprint = fingerprint
        self._plug_in: Any = None

    def call(self, number: int, method: str, item: Any, shared: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
        """Return the number of the call with its result."""
        if self._plug_in is None:
            self._plug_in = self._make()
            if self._plug_in.fingerprint != self._fingerprint:
                raise PluginError(
                    "a process of the cluster has another model or version than this one",
                    place=f"plug-in {self._plug_in.name}",
                    hint="Install the same packages and model files on every machine.",
                )
        rest, named = shared
        return number, getattr(self._plug_in, method)(item, *rest, **named)


def _decided(make: Callable[[], EmbeddingExpert], decision: str) -> EmbeddingExpert:
    return make().decided(decision)


class _Crew:
    """The actors of the plug-in that works now: stages ask one after the other, so each has all actors in its turn."""

    def __init__(self, section: ClusterSection, threads: int) -> None:
        self._resources = {"num_cpus": threads, "num_gpus": section.gpus}
        free = _ray().available_resources()
        room = [free.get(kind, 0) // need for kind, need in (("CPU", threads), ("GPU", section.gpus)) if need]
        self.count = max(1, int(min(room)))
        self._of: object = None
        self._actors: list[Any] = []

    def of(self, remote: _Remote, make: Callable[[], Any]) -> list[Any]:
        """Return the actors of a plug-in, and end those of the one that had them before."""
        if self._of is not remote:
            self.dismiss()
            worker = _ray().remote(_Worker).options(**self._resources, max_restarts=-1, max_task_retries=RETRIES)
            self._actors = [worker.remote(make, remote.fingerprint) for _ in range(self.count)]
            self._of = remote
        return self._actors

    def dismiss(self) -> None:
        """End the actors, and with them their copies of a model."""
        for actor in self._actors:
            _ray().kill(actor)
        self._actors, self._of = [], None


class _Remote(Plugin):
    """A plug-in whose calls are carried out by actors."""

    def __init__(self, plug_in: Any, make: Callable[[], Any], crew: _Crew) -> None:
        self._plug_in, self._make, self._crew = plug_in, make, crew
        for name in ("name", "fingerprint", "batch_size", "chunk", "symmetric", "similarity"):
            if hasattr(plug_in, name):
                setattr(self, name, getattr(plug_in, name))

    def release(self) -> None:
        """Let go of what this process has loaded to decide with; the actors end with their crew."""
        self._plug_in.release()

    def _call(self, method: str, item: Any, *rest: Any, **named: Any) -> Any:
        return next(self.each(method, [item], *rest, **named))

    def each(self, method: str, items: Iterable[Any], *rest: Any, **named: Any) -> Iterator[Any]:
        """Yield the method's result for every item, in order; a few calls are under way at a time."""
        from ray.exceptions import RayActorError, RayTaskError
        from ray.util import ActorPool

        actors = self._crew.of(self, self._make)
        pool = ActorPool(list(actors))
        # What is the same for all calls is sent to each machine once.
        shared = _ray().put((tuple(rest), named))
        waiting = enumerate(items)
        results: dict[int, Any] = {}
        taken = due = 0
        try:
            while True:
                for number, item in islice(waiting, _AHEAD * len(actors) - (taken - due)):
                    pool.submit(lambda actor, given: actor.call.remote(*given, shared), (number, method, item))
                    taken += 1
                if due == taken:
                    return
                number, result = pool.get_next_unordered()
                results[number] = result
                while due in results:
                    yield results.pop(due)
                    due += 1
        except RayTaskError as error:
            raise (error.cause if isinstance(error.cause, ExpertuneError) else error) from None
        except RayActorError as error:
            raise PluginError(
                f"its process died {RETRIES + 1} times at the same call ({error})",
                place=f"plug-in {self.name}",
                hint="Give each process more memory: larger run.threads or cluster.gpus start fewer of them.",
            ) from error


class _RemoteGenerator(_Remote, Generator):
    def generate(self, requests: Sequence[Request], *, seed: int) -> list[str]:
        texts: list[str] = self._call("generate", requests, seed=seed)
        return texts


class _RemoteExpert(_Remote, Expert):
    def score(self, questions: Sequence[str], documents: Sequence[str]) -> FloatArray:
        scores: FloatArray = self._call("score", questions, documents)
        return scores


class _RemoteEmbedding(_RemoteExpert, EmbeddingExpert):
    def embed(self, texts: Sequence[str], *, is_query: bool) -> FloatArray:
        vectors: FloatArray = self._call("embed", texts, is_query=is_query)
        return vectors

    def decide(self, questions: Sequence[str], documents: Sequence[str], cache: ItemCache) -> str:
        decision: str = self._plug_in.decide(questions, documents, cache)
        return decision

    def decided(self, decision: str) -> EmbeddingExpert:
        plug_in = self._plug_in.decided(decision)
        return _RemoteEmbedding(plug_in, partial(_decided, self._make, decision), self._crew)
