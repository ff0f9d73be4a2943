"""Find out whether a run could start and what it would roughly cost. Loads no model and writes nothing.

Every problem of config, data and models is collected, so that a user sees them all at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expertune import data, models, registry
from expertune.config import AugmentSection, Config, DataSection, PluginSpec, from_mapping
from expertune.errors import ConfigError, ExpertuneError, ModelUnavailableError
from expertune.models import trust
from expertune.records import Dataset, JudgedSet

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")

SECONDS_PER_QUESTION: Mapping[str, float] = {"smollm2-135m-instruct": 0.5, "gemma-3-270m": 3.0, "template": 0.0}
"""Measured on two processor cores, like everything below. Rough: it may be twice or half as much elsewhere."""

SECONDS_PER_TEXT: Mapping[str, float] = {
    "all-mpnet-base-v2": 0.03,
    "all-minilm-l6-v2": 0.004,
    "universal-sentence-encoder-multilingual": 0.004,
    "paraphrase-minilm-l3-v2": 0.002,
}
"""For texts of about 20 words. Experts that are not listed and have no weights cost next to nothing."""

SECONDS_PER_MEGABYTE = 6e-5
"""Of weights, for one text: what a model costs that is not listed."""

SECONDS_PER_EXAMPLE = 0.013
"""One training question for a base of 90 MB, forward and backward; in full mode documents come on top."""

FULL_MODE = 15.0
"""How many times a step costs more where documents are tuned too."""

LOADING = 10.0
"""Importing the libraries and loading models, once."""


@dataclass(frozen=True, slots=True)
class Part:
    """One model or plug-in that a run needs: what for, its name, whether it is there, and where it comes from."""

    role: str
    name: str
    found: bool
    source: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What one stage has to do: `items` things called `unit`, in roughly `seconds`."""

    stage: str
    items: int
    unit: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong, and as far as it could be read, what would run."""

    problems: tuple[ExpertuneError, ...]
    config: Config | None = None
    dataset: Dataset | None = None
    judged: tuple[JudgedSet, ...] = ()
    parts: tuple[Part, ...] = ()
    costs: tuple[Cost, ...] = ()

    @property
    def seconds(self) -> float:
        """The rough time of the whole run, nothing reused."""
        return sum(cost.seconds for cost in self.costs)


def check(values: Mapping[str, Any], *, place: str = "config") -> Findings:
    """Look at everything a config needs, also where other parts of it are wrong.

    Args:
        values: The nested mapping that `config.read_values` returns.
        place: What to call it in messages.
    """
    problems: list[ExpertuneError] = []
    config = None
    try:
        config = from_mapping(dict(values), place=place)
    except ConfigError as error:
        problems.append(error)
    readable = config or _readable(values)
    dataset, judged = _data(readable.data, problems, offline=readable.run.offline)
    parts = tuple(_parts(readable, problems))
    costs = _costs(config, dataset, judged) if config and dataset else ()
    return Findings(tuple(problems), config, dataset, judged, parts, costs)


def require_models(config: Config) -> None:
    """Make sure that every model and plug-in of a run is there, before the first one starts to work.

    Raises:
        ExpertuneError: the one problem, or one ModelUnavailableError with all of them.
    """
    problems: list[ExpertuneError] = []
    list(_parts(config, problems))
    if len(problems) == 1:
        raise problems[0]
    if problems:
        lines = "".join(f"\n- {problem}" for problem in problems)
        raise ModelUnavailableError(f"{len(problems)} models or plug-ins cannot be used:{lines}", place="config")


def _readable(values: Mapping[str, Any]) -> Config:
    """Return a config with the sections that are valid by themselves, and the defaults for the others."""
    sections: dict[str, Any] = {}
    for name in Config.model_fields:
        try:
            from_mapping({**sections, name: values.get(name, {})})
        except ConfigError:
            continue
        sections[name] = values.get(name, {})
    return from_mapping(sections)


# --- data ----------------------------------------------------------------------------------------------------------


def _data(
    section: DataSection, problems: list[ExpertuneError], *, offline: bool
) -> tuple[Dataset | None, tuple[JudgedSet, ...]]:
    dataset: Dataset | None = None
    judged: tuple[JudgedSet, ...] = ()
    found: dict[str, ExpertuneError] = {}
    try:
        dataset = data.load(section, offline=offline)
    except ExpertuneError as error:
        found.setdefault(str(error), error)
    try:
        judged = data.load_judged(section, offline=offline)
    except ExpertuneError as error:
        found.setdefault(str(error), error)
    try:
        data.held_out_questions(section, offline=offline)
    except ExpertuneError as error:
        found.setdefault(str(error), error)
    problems.extend(found.values())
    return dataset, judged


# --- models --------------------------------------------------------------------------------------------------------


def _parts(config: Config, problems: list[ExpertuneError]) -> Iterator[Part]:
    """Yield every model and plug-in of a run; what is wrong with them goes to `problems`."""
    offline = config.run.offline
    generators = config.augment.generators if config.augment.per_answer else ()
    for group, specs in (("generators", generators), ("experts", config.score.experts)):
        for spec in specs:
            yield _part(group, spec, problems, offline=offline)
    base = PluginSpec(use="sentence_transformer", model=config.train.base)
    yield _part("base", base, problems, offline=offline)


def _part(group: str, spec: PluginSpec, problems: list[ExpertuneError], *, offline: bool) -> Part:
    role = group.removesuffix("s")
    try:
        source = _source(spec.model, offline=offline) if spec.model else "built in"
        if group != "base":
            _plug_in(group, spec)
    except ExpertuneError as error:
        problems.append(error)
        return Part(role, spec.label, found=False, source="")
    return Part(role, spec.label, found=True, source=source)


def _plug_in(group: str, spec: PluginSpec) -> None:
    """Make sure that the plug-in exists and, where the model picks it, that the model is meant for it."""
    entry = models.find(spec.model) if spec.model else None
    if spec.use:
        if spec.use not in registry.names(group):
            registry.factory(group, spec.use)
        return
    if entry is not None and not (entry.expert if group == "experts" else entry.generator):
        can, cannot, other = (
            ("writes questions", "score them", "augment.generators")
            if group == "experts"
            else ("scores questions", "write them", "score.experts")
        )
        place = "score.experts" if group == "experts" else "augment.generators"
        raise ConfigError(
            [f"the model '{spec.model}' {can}, it cannot {cannot}"], place=place, hint=f"Name it under {other}."
        )


def _source(name: str, *, offline: bool) -> str:
    """Say where a model comes from without reading its weights.

    Raises:
        ModelUnavailableError: nowhere.
        UntrustedModelError: its files are refused.
    """
    path = Path(name).expanduser()
    if name.strip() and path.exists():
        trust.check(path)
        return "folder" if path.is_dir() else "file"
    entry = models.find(name)
    if entry is not None and models.installed(entry):
        return "installed"
    try:
        models.resolve(name)
    except ModelUnavailableError:
        hub = entry.hub if entry is not None else name
        if offline or not _HUB_ID.fullmatch(hub):
            raise
        return f"hub, fetched on first use{f' ({entry.megabytes} MB)' if entry is not None else ''}"
    return "hub cache"


# --- cost ----------------------------------------------------------------------------------------------------------


def _costs(config: Config, dataset: Dataset, judged: Sequence[JudgedSet]) -> tuple[Cost, ...]:
    written, writing = _writing(config.augment, dataset)
    questions = written + len(dataset.questions)
    texts = questions + len(dataset.documents)
    scoring = sum(texts * _seconds_per_text(spec) for spec in config.score.experts)
    base = _seconds_per_text(PluginSpec(model=config.train.base))
    queries = sum(len(item.queries) for item in judged)
    documents = sum(len(item.documents) for item in judged)
    # In query mode the documents keep the base's vectors, so they are embedded once for both models.
    embedded = 2 * queries + (1 if config.train.mode == "query" else 2) * documents
    return (
        Cost("augment", written, "questions to write", writing),
        Cost("score", texts * len(config.score.experts), "texts to embed or index", LOADING + scoring),
        Cost("train", *_training(config, questions, base)),
        Cost("evaluate", embedded, "texts to embed", embedded * base),
    )


def _writing(section: AugmentSection, dataset: Dataset) -> tuple[int, float]:
    """Return how many questions are asked for and the seconds that takes, each generator within its budget."""
    answers = len(dataset.labelled_ids) if section.only_labelled else len(dataset.documents)
    wanted = answers * min(section.per_answer, max(1, section.most // max(1, answers)))
    seconds = 0.0
    for spec, share in zip(section.generators, section.shares, strict=True):
        each = SECONDS_PER_QUESTION.get(_known_name(spec), _weight(spec) * 0.01)
        seconds += min(wanted * share / sum(section.shares) * each, section.budget_seconds)
    return wanted, seconds


def _training(config: Config, questions: int, base: float) -> tuple[int, str, float]:
    """Return questions seen, what to call them, and seconds: tuning to choose, choosing, and tuning again on all."""
    section, choice = config.train, config.select
    runs = 2 if choice.refit else 1
    seen = section.steps * section.batch_size * runs
    scale = base / SECONDS_PER_TEXT["all-minilm-l6-v2"] * (FULL_MODE if section.mode == "full" else 1.0)
    probe = data.load_probe()
    looked_at = len(choice.factors) * (choice.validation * questions + len(probe.queries)) + len(probe.documents)
    return seen, f"questions in {section.steps * runs} steps", seen * SECONDS_PER_EXAMPLE * scale + looked_at * base


def _known_name(spec: PluginSpec) -> str:
    entry = models.find(spec.model) if spec.model else None
    return entry.name if entry is not None else spec.model or spec.use


def _weight(spec: PluginSpec) -> float:
    """Return the megabytes of a model: from the catalogue, the folder, or a guess of 400."""
    if not spec.model:
        return 0.0
    entry = models.find(spec.model)
    if entry is not None:
        return float(entry.megabytes)
    path = Path(spec.model).expanduser()
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*.safetensors")) / 1e6
    return path.stat().st_size / 1e6 if path.is_file() else 400.0


def _seconds_per_text(spec: PluginSpec) -> float:
    return SECONDS_PER_TEXT.get(_known_name(spec), _weight(spec) * SECONDS_PER_MEGABYTE)
