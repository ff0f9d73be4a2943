"""Find out whether a run could start and what it would roughly cost. Loads no model and writes nothing.

Every problem of config, data and models is collected, so that a user sees them all at once.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expertune import data, models
from expertune.augment.stage import load_generators
from expertune.config import Config, PluginSpec, TrainSection, from_mapping
from expertune.data.inspection import DataFindings, inspect
from expertune.data.search_log import SearchLog, read_log
from expertune.data.texts import TextFindings
from expertune.errors import ConfigError, ExpertuneError, ModelUnavailableError
from expertune.evaluate import benchmarks
from expertune.models import registry, trust, tunable
from expertune.pipeline import prospect
from expertune.pipeline.costs import Cost, estimate
from expertune.pipeline.publish import require_own
from expertune.records import Dataset, JudgedSet
from expertune.score.stage import load_experts

logger = logging.getLogger(__name__)

_ON_HUB = "hub, fetched on first use"


@dataclass(frozen=True, slots=True)
class Part:
    """One model or plug-in that a run needs: what for, its name, whether it is there, and where it comes from.

    `note` says what to know of it, as that it brings no pooling.
    """

    role: str
    name: str
    found: bool
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong, and as far as it could be read, what would run; `prospect` tells what it could say."""

    problems: tuple[ExpertuneError, ...]
    config: Config | None = None
    dataset: Dataset | None = None
    judged: tuple[JudgedSet, ...] = ()
    notes: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    costs: tuple[Cost, ...] = ()
    texts: DataFindings = field(default_factory=DataFindings)
    prospect: str = ""

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
    files = data.Files(readable.data, readable.run.offline)
    dataset, judged, notes, cleaned = _data(files, problems)
    log = _log(files, dataset, problems)
    notes = (*notes, *(f"search log: {note}" for note in (log.notes if log else ())))
    parts = tuple(_parts(readable, problems))
    try:
        require_own(readable.run.out)
    except ConfigError as error:
        problems.append(error)
    texts = look_at(readable, dataset, cleaned) if dataset else DataFindings()
    costs = estimate(config, dataset, judged, log.texts if log else ()) if config and dataset else ()
    return Findings(tuple(problems), config, dataset, judged, notes, parts, costs, texts, prospect.of_files(files))


def look_at(config: Config, dataset: Dataset, cleaned: TextFindings) -> DataFindings:
    """Look at the answers as the base and the experts read them."""
    experts = [spec.model for spec in config.score.experts if spec.model]
    return inspect(dataset.documents, cleaned, config.train.base, experts)


def require_models(config: Config) -> None:
    """Make sure that every model and plug-in of a run is there, before the first one starts to work.

    Raises:
        ExpertuneError: the one problem, or one ModelUnavailableError with all of them.
    """
    problems: list[ExpertuneError] = []
    for part in _parts(config, problems, fetch=not config.run.offline):
        if part.role == "base" and part.note:
            logger.warning("the base %s: %s", part.name, part.note)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        lines = "".join(f"\n- {problem}" for problem in problems)
        raise ModelUnavailableError(f"{len(problems)} models or plug-ins cannot be used:{lines}", place="config")


def _readable(values: Mapping[str, Any]) -> Config:
    """Return a config with what is valid by itself, a section or else some of its keys, and defaults for the rest."""
    kept: dict[str, Any] = {}

    def keep(section: str, given: Any) -> bool:
        try:
            from_mapping({**kept, section: given})
        except ConfigError:
            return False
        kept[section] = given
        return True

    for name in Config.model_fields:
        given = values.get(name, {})
        if not keep(name, given) and isinstance(given, Mapping):
            for key, value in given.items():
                keep(name, {**kept.get(name, {}), key: value})
    return from_mapping(kept)


# --- data ----------------------------------------------------------------------------------------------------------


def _data(
    files: data.Files, problems: list[ExpertuneError]
) -> tuple[Dataset | None, tuple[JudgedSet, ...], tuple[str, ...], TextFindings]:
    """Return what can be read of either side, and how it was read; faults go to `problems`, each once."""
    faults: dict[str, ExpertuneError] = {}

    def readable(name: str) -> bool:
        try:
            getattr(files, name)
        except ExpertuneError as error:
            faults.setdefault(str(error), error)
            return False
        return True

    dataset = files.train if readable("train") else None
    judged = files.judged if readable("judged") else ()
    readable("held_out")
    notes = files.notes if readable("notes") else ()
    problems.extend(faults.values())
    return dataset, judged, notes, files.texts


def _log(files: data.Files, dataset: Dataset | None, problems: list[ExpertuneError]) -> SearchLog | None:
    """Return what is left of the search log, and what went, where there is one; faults go to `problems`."""
    if not files.section.log:
        return None
    answers = {document.id: document.text for document in dataset.documents} if dataset else {}
    same = files.side.corpus.same if dataset else {}
    try:
        return read_log([Path(path) for path in files.section.log], answers=answers, same=same)
    except ExpertuneError as error:
        problems.append(error)
        return None


# --- models --------------------------------------------------------------------------------------------------------


def _parts(config: Config, problems: list[ExpertuneError], *, fetch: bool = False) -> Iterator[Part]:
    """Yield every model and plug-in of a run; what is wrong with them goes to `problems`.

    With `fetch`, what only the hub has is downloaded and looked at; nothing of it was loaded before.
    """
    offline = config.run.offline
    generators = config.augment.generators if config.augment.per_answer else ()
    for group, specs in (("generators", generators), ("experts", config.score.experts)):
        for spec in specs:
            yield _part(group, spec, problems, offline=offline, fetch=fetch)
    yield _base(config.train, problems, offline=offline, fetch=fetch)
    for tracker in config.train.report_to:
        yield _tracker(tracker, problems)
    for role, names in (("sts", config.evaluate.sts), ("mteb", config.evaluate.mteb)):
        for name in names:
            yield _measured_on(role, name, problems, offline=offline)


def _measured_on(role: str, name: str, problems: list[ExpertuneError], *, offline: bool) -> Part:
    try:
        if role == "mteb":
            source = benchmarks.where(name, offline=offline)
        else:
            source = f"{len(data.read_scored_pairs(Path(name)).scores)} sentence pairs"
    except ExpertuneError as error:
        problems.append(error)
        return Part(role, name, found=False, source="")
    return Part(role, name, found=True, source=source)


def _tracker(name: str, problems: list[ExpertuneError]) -> Part:
    found = importlib.util.find_spec(name) is not None
    if not found:
        message = f"the tracker '{name}' is not installed"
        problems.append(ConfigError([message], place="train.report_to", hint=f"Install it with: pip install {name}"))
    return Part("tracker", name, found=found, source="installed" if found else "")


def _base(section: TrainSection, problems: list[ExpertuneError], *, offline: bool, fetch: bool) -> Part:
    """Return the base, and refuse what cannot be tuned."""
    name = PluginSpec(model=section.base).label
    try:
        entry = models.find(section.base)
        if entry is not None and not Path(section.base).expanduser().exists():
            tunable.check_entry(entry)  # first of all: nobody should fetch what is then refused
        source = _source(section.base, offline=offline, fetch=fetch)
        notes: tuple[str, ...] = ()
        if source in ("folder", "file", "hub cache"):
            folder = Path(models.resolve(section.base).location)
            notes = tunable.check(folder, mode=section.mode, lora=section.lora_rank > 0)
    except ExpertuneError as error:
        problems.append(error)
        return Part("base", name, found=False, source="")
    return Part("base", name, found=True, source=source, note="; ".join(notes))


def _part(group: str, spec: PluginSpec, problems: list[ExpertuneError], *, offline: bool, fetch: bool) -> Part:
    role = group.removesuffix("s")
    try:
        built_in = str(spec.options.get("base_url", "built in"))
        source = _source(spec.model, offline=offline, fetch=fetch) if spec.model else built_in
        _plug_in(group, spec, here=not source.startswith(_ON_HUB))
    except ExpertuneError as error:
        problems.append(error)
        return Part(role, spec.label, found=False, source="")
    return Part(role, spec.label, found=True, source=source)


def _plug_in(group: str, spec: PluginSpec, *, here: bool) -> None:
    """Make sure that the plug-in exists, takes its options and finds its libraries, and may be picked by the model."""
    entry = models.find(spec.model) if spec.model else None
    if spec.use:
        if spec.use not in registry.names(group):
            registry.factory(group, spec.use)
        if here:
            # A plug-in loads nothing before its first text; a missing key, option or library is told now.
            (load_experts if group == "experts" else load_generators)([spec], offline=True)
        return
    if entry is not None:
        registry.refuse_role(group, spec, able=bool(entry.expert if group == "experts" else entry.generator))


def _source(name: str, *, offline: bool, fetch: bool) -> str:
    """Say where a model comes from without reading its weights; with `fetch`, a hub's model is downloaded first.

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
        if offline or not models.HUB_ID.fullmatch(hub):
            raise
        if fetch:
            models.resolve(name, offline=False)
            return "hub cache"
        return f"{_ON_HUB}{f' ({entry.megabytes} MB)' if entry is not None else ''}"
    return "hub cache"
