"""Plug-ins spread over a real local Ray cluster: same bytes as in one process, also where a process is killed."""

import importlib.util
import json
import os
import signal
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from expertune import config
from expertune.augment.stage import augment
from expertune.config import AugmentSection, ClusterSection, Config
from expertune.errors import ConfigError, PluginError
from expertune.models import ray
from expertune.models.cache import MemoryCache
from expertune.models.embed import embed_texts
from expertune.models.plugins import EmbeddingExpert, Expert, Generator, Request
from expertune.pipeline import store
from expertune.pipeline.run import Run, Stage
from expertune.records import Dataset, Document

HERE = ClusterSection(address="here")
ANSWERS = [f"we ship your order in {days} days and you can return it" for days in range(40)]
DATASET = Dataset("shop", tuple(Document(f"d{n}", text) for n, text in enumerate(ANSWERS)), ())

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed")
slow = [
    pytest.mark.slow,
    needs_ray,
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    # Ray leaves its own processes to the system when it shuts down.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


class Numbers(EmbeddingExpert):
    """Embed a text by its characters; notes every call in a folder, and can end its own process once."""

    name = "numbers"
    fingerprint = "numbers 1"
    chunk = 8

    def __init__(self, folder: Path, *, dies_at: str = "") -> None:
        self.folder = folder
        self.dies_at = dies_at

    def embed(self, texts, *, is_query):
        (self.folder / f"{os.getpid()}-{time.monotonic_ns()}").write_text(json.dumps(list(texts)))
        if self.dies_at in texts and self.dies_at:
            mark = self.folder / "died"
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if "refuse this" in texts:
            raise PluginError("it is refused", place="expert numbers", hint="Say something else.")
        time.sleep(0.02)
        return np.array([np.cos(np.arange(1, 5) * (sum(map(ord, text)) + is_query)) for text in texts], np.float32)

    def score(self, questions, documents):
        raise AssertionError("never asked for whole matrices")


class Shouts(Generator):
    """Write an answer in capitals."""

    name = "shouts"
    fingerprint = "shouts 1"
    batch_size = 4

    def generate(self, requests, *, seed):
        return [f"{request.document.upper()} {request.kind} {request.attempt} {seed}" for request in requests]


def asked(folder):
    """Return the lists of texts that were embedded, with the process of each call."""
    return [(path.name.split("-")[0], json.loads(path.read_text())) for path in folder.glob("*-*")]


@contextmanager
def two(*made):
    """Spread plug-ins that copy themselves."""
    with ray.spread(made, [partial(_same, item) for item in made], HERE, threads=1) as spread:
        yield spread


def _same(item):
    return item


def folders(tmp_path, *names):
    made = [tmp_path / name for name in names]
    for folder in made:
        folder.mkdir()
    return made


def test_without_an_address_plug_ins_stay_what_they_are():
    plug_in = Shouts()
    with ray.spread([plug_in], [Shouts], ClusterSection(), threads=1) as (same,):
        assert same is plug_in


def test_without_ray_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    ray.require(ClusterSection())
    with pytest.raises(ConfigError, match=r"pip install 'expertune\[ray\]'"):
        ray.require(HERE)


def test_a_cluster_that_was_started_here_ends_though_nothing_can_work_on_it(monkeypatch):
    ended = []

    class Broken:
        def available_resources(self):
            raise RuntimeError("lost its head")

        def shutdown(self):
            ended.append(True)

    monkeypatch.setattr(ray, "require", lambda section: None)
    monkeypatch.setattr(ray, "_join", lambda section: True)
    monkeypatch.setattr(ray, "_ray", Broken)
    with pytest.raises(RuntimeError, match="lost its head"), ray.spread([Shouts()], [Shouts], HERE, threads=1):
        pass
    assert ended == [True]


def test_what_would_gain_nothing_stays_here_and_starts_no_cluster(monkeypatch):
    monkeypatch.setattr(ray, "require", lambda section: None)  # no cluster is started, so none is needed

    class Server(Shouts):
        served = True

    class Whole(Expert):
        name, fingerprint = "whole", "whole 1"

        def score(self, questions, documents):
            return np.zeros((len(questions), len(documents)), np.float32)

    given = (Server(), Whole())
    with ray.spread(given, [Server, Whole], HERE, threads=1) as spread:
        assert spread == given


def test_in_one_process_items_are_taken_one_by_one():
    taken = []
    results = Shouts().each("generate", (taken.append(n) or [Request(str(n), "", "short")] for n in range(3)), seed=1)
    assert next(results) == ["0 short 0 1"]
    assert taken == [0]


@pytest.fixture(autouse=True, scope="module")
def fakes_can_be_imported():
    """Let processes of a cluster import this module, as they would an installed plug-in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        yield


@pytest.fixture(scope="class")
def running():
    """Start one cluster for several tests; who finds one running joins it and leaves it running."""
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    assert ray.is_initialized()
    ray.shutdown()


@pytest.mark.usefixtures("running")
class TestOnACluster:
    pytestmark = slow

    def test_texts_are_embedded_in_the_same_batches_by_two_processes(self, tmp_path):
        here, there = folders(tmp_path, "here", "there")
        expected = embed_texts(Numbers(here), ANSWERS, is_query=True, cache=MemoryCache())
        with two(Numbers(there)) as (expert,):
            assert isinstance(expert, EmbeddingExpert)
            made = embed_texts(expert, ANSWERS, is_query=True, cache=MemoryCache())
        assert made.tobytes() == expected.tobytes()
        assert sorted(texts for _, texts in asked(there)) == sorted(texts for _, texts in asked(here))
        assert len({process for process, _ in asked(there)}) == 2
        assert str(os.getpid()) not in {process for process, _ in asked(there)}

    def test_a_killed_process_costs_its_batch_and_no_more(self, tmp_path):
        here, there = folders(tmp_path, "here", "there")
        expected = embed_texts(Numbers(here), ANSWERS, is_query=False)
        with two(Numbers(there, dies_at=ANSWERS[20])) as (expert,):
            made = embed_texts(expert, ANSWERS, is_query=False)
        assert (there / "died").exists()
        assert made.tobytes() == expected.tobytes()
        again = [texts for _, texts in asked(there)]
        assert len(again) == len(asked(here)) + 1
        assert ANSWERS[20] in next(texts for texts in again if again.count(texts) == 2)

    def test_questions_are_written_in_order_and_equal_requests_once(self):
        section = AugmentSection(generators=["template"], per_answer=3)
        twins = Dataset("twins", (*DATASET.documents, Document("d99", ANSWERS[0])), ())
        expected = augment(twins, section, [Shouts()])
        with two(Shouts()) as spread:
            assert augment(twins, section, spread) == expected

    def test_an_error_of_the_plug_in_arrives_as_what_it_is(self, tmp_path):
        with two(Numbers(tmp_path)) as (expert,), pytest.raises(PluginError, match="it is refused") as caught:
            embed_texts(expert, ["refuse this"], is_query=True)
        assert caught.value.hint == "Say something else."

    def test_another_model_on_the_cluster_is_refused(self, tmp_path):
        class Other(Numbers):
            fingerprint = "numbers 2"

        makers = [partial(Other, tmp_path)]
        with ray.spread([Numbers(tmp_path)], makers, HERE, threads=1) as (expert,):
            assert isinstance(expert, Expert)
            with pytest.raises(PluginError, match="another model or version"):
                embed_texts(expert, ["order"], is_query=True)

    def test_a_run_makes_the_same_artefacts_as_in_one_process(self, tmp_path, tiny_model):
        wanted = _shop(tmp_path, tiny_model)
        results = {}
        for address in ("", "here"):
            changes = {
                "cluster": ClusterSection(address=address),
                "run": wanted.run.model_copy(update={"out": tmp_path / f"out{address}", "threads": 1}),
            }
            Run(wanted.model_copy(update=changes)).execute(until=Stage.SCORE)
            results[address] = _artefacts(tmp_path / f"out{address}" / "store")
        assert results["here"] == results[""]
        assert any(name.endswith(".npy") for name in results["here"])


class TestOfItsOwn:
    pytestmark = slow

    def test_no_cluster_at_the_address_is_a_config_error(self):
        nowhere = ClusterSection(address="127.0.0.1:1")
        with pytest.raises(ConfigError, match=r"127\.0\.0\.1:1"):  # noqa: SIM117
            with ray.spread([Shouts()], [Shouts], nowhere, threads=1):
                pass

    def test_a_cluster_started_for_plug_ins_ends_with_them(self):
        import ray

        with two(Shouts()) as (spread,):
            assert spread.generate([Request("order", "", "short")], seed=3) == ["ORDER short 0 3"]
            assert ray.is_initialized()
        assert not ray.is_initialized()


def _shop(folder, model) -> Config:
    rows = [{"question": f"how do i return order {n}", "answer": answer} for n, answer in enumerate(ANSWERS)]
    (folder / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return config.from_mapping(
        {
            "data": {"path": str(folder / "qa.jsonl")},
            "augment": {"generators": ["template"], "per_answer": 4},
            "score": {"experts": [str(model), "bm25", "ngrams"]},
        }
    )


def _artefacts(root: Path) -> dict[str, str]:
    """Return the hash of every file of every artefact by stage, key and name; measured seconds are no result."""
    found = {}
    for path in sorted(root.glob("*/*/*")):
        name = str(path.relative_to(root))
        if path.name == "record.json":
            record = json.loads(path.read_text())
            record.pop("seconds", None)
            found[name] = store.fingerprint(record)
        elif path.suffix == ".npy":
            found[name] = store.file_hash(path)
    return found
