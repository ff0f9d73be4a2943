"""The frozen sections of one run, read from TOML. Secrets never live here; nothing here opens data or models.

Every stage receives exactly one of these sections; a section that a stage does not receive cannot change its result.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from expertune.errors import ConfigError

FILE_NAME = "expertune.toml"
"""What a config is called where `init` writes it and the other commands look for it."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Section(BaseModel):
    """A frozen table of the config; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false where they would silently count as 1 and 0."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation in (int, float):
            raise ValueError("Input should be a number, not true or false")
        return value


class PluginSpec(Section):
    """One expert or generator: which plug-in, which model, and the plug-in's own options."""

    use: str = Field(default="", description="plug-in name; empty: taken from the model's catalogue entry")
    model: str = Field(default="", description="catalogue name, folder or hub id; empty where the plug-in needs none")
    options: dict[str, Any] = Field(default_factory=dict, description="passed to the plug-in as keyword arguments")

    @property
    def label(self) -> str:
        """The name under which tables show it: that of the model, which a server's plug-in has among its options."""
        named = self.model or str(self.options.get("model", ""))
        return Path(named).name if named else self.use


class GeneratorSpec(PluginSpec):
    """A generator, and how much it writes."""

    share: Positive = Field(
        default=1.0, description="how much of the questions this generator writes, relative to the others"
    )


def _spec(value: Any) -> Any:
    """Read the shorthand: "bm25" is a plug-in without a model, "onnx:folder" both, anything else a model."""
    if not isinstance(value, str):
        return value
    use, colon, model = value.partition(":")
    if colon:
        return {"use": use, "model": model}
    return {"use": value} if value in MODEL_FREE else {"model": value}


MODEL_FREE = frozenset({"bm25", "ngrams", "latent", "template"})
Spec = Annotated[PluginSpec, BeforeValidator(_spec)]
SharedSpec = Annotated[GeneratorSpec, BeforeValidator(_spec)]


def _specs(*names: str) -> tuple[PluginSpec, ...]:
    return tuple(PluginSpec.model_validate(_spec(name)) for name in names)


class RunSection(Section):
    """Where results go and how the machine is used; only `seed` changes a result."""

    out: Path = Field(default=Path("runs/expertune"), description="folder for the report, the results and the model")
    store: Path | None = Field(default=None, description="folder of reusable artefacts; default: OUT/store")
    threads: int = Field(default=0, ge=0, description="processor threads; 0: the cores that are free, at least half")
    offline: bool = Field(default=True, description="never open a network connection to find a model or data set")
    seed: Seed = Field(default=0, description="seed of everything that is drawn at random")


class ClusterSection(Section):
    """Where generators and experts work; changes no result."""

    address: str = Field(
        default="",
        description='empty: in this process; "here": Ray on this machine; "auto" or an address: that Ray cluster',
    )
    gpus: float = Field(default=0.0, ge=0.0, description="GPUs of each process; a share, such as 0.5, is one for two")


class DataSection(Section):
    """Which questions and answers, and which held-out sets."""

    path: str = Field(
        default="",
        description="folder with one table of questions and answers (and a BEIR set), such a file, or a hub id",
    )
    general: tuple[str, ...] = Field(
        default=(), description="BEIR folders that watch general ability; default: the built-in general dev set"
    )
    test_splits: tuple[str, ...] = Field(
        default=(),
        description="qrels to test on; default: every split whose name begins with test, the finest ones",
    )
    train_split: str = Field(
        default="", description="qrels split with labelled user questions to train on too; empty: none"
    )
    log: tuple[str, ...] = Field(
        default=(), description="files of what users searched for, without labels: one a line, or a table with a column"
    )
    question_column: str = Field(default="question", description="column of the question in qa files")
    answer_column: str = Field(default="answer", description="column of the answer in qa files")
    id_column: str = Field(default="id", description="column of the answer's id; made from the answer where absent")
    split_column: str = Field(
        default="split",
        description="column that says which rows are held out; train, training or nothing: trained on",
    )
    expand: int = Field(
        default=0,
        ge=0,
        description="labelled questions that an answer is scored and indexed with, at most; 0: it alone",
    )


class AugmentSection(Section):
    """How training questions are written."""

    generators: tuple[SharedSpec, ...] = Field(
        default=(
            GeneratorSpec(model="smollm2-135m-instruct", share=5.0),
            GeneratorSpec(model="gemma-3-270m", share=1.0),
        ),
        description="who writes, in turn",
    )
    per_answer: int = Field(
        default=0, ge=0, description="questions asked for per answer, fewer on large corpora; 0: none"
    )
    spans: int = Field(
        default=24,
        ge=0,
        description="spans cut out of each answer that serve as questions too, fewer on large corpora",
    )
    questions: str = Field(
        default="",
        description="a run's questions.jsonl, edited: its synthetic questions and spans are taken, none are made",
    )
    budget_seconds: Positive = Field(default=1200.0, description="stop asking a generator after this many seconds")


class ScoreSection(Section):
    """Who judges every question against every answer."""

    experts: tuple[Spec, ...] = Field(
        default=_specs(
            "all-mpnet-base-v2",
            "all-minilm-l6-v2",
            "universal-sentence-encoder-multilingual",
            "paraphrase-minilm-l3-v2",
            "wordllama-256",
            "bm25",
            "ngrams",
            "latent",
        ),
        min_length=1,
        description="the panel",
    )
    privileged: bool = Field(
        default=True, description="experts read an answer together with its labelled questions; the index does not"
    )


Strategy = Literal["hard", "soft-1", "soft-2", "soft-3", "median", "trimmed", "calibrated", "weighted", "mixed"]


class LabelSection(Section):
    """How the panel's scores become targets."""

    strategy: Strategy = Field(default="mixed", description="see docs/design.md")
    calibration: Literal["zscore", "rank", "percentile", "isotonic"] = Field(
        default="zscore", description="how experts are brought to one scale"
    )
    hard_weight: Fraction = Field(
        default=0.3, description="weight of the hard label in the mixed target of a synthetic question"
    )
    round_trip: int = Field(
        default=0, ge=0, description="drop synthetic questions whose answer the panel ranks lower; 0: off"
    )

    @field_validator("strategy", mode="before")
    @classmethod
    def _called_mixed(cls, value: Any) -> Any:
        if value == "anchored":
            raise ValueError("'anchored' is called 'mixed' now")
        return value


Loss = Literal["listwise", "pairwise"]
Tracker = Literal["tensorboard", "mlflow", "wandb"]


Mode = Literal["query", "tied", "full"]
"""What is tuned, and what documents are encoded with afterwards.

query: questions are tuned against the base's vectors of the documents, which stay as they are; tied: the same tuning,
but the tuned encoder then serves both sides; full: documents are encoded, and move, in training as well.
"""


def keeps_documents(mode: str) -> bool:
    """Tell whether documents keep the base's vectors in this mode, so that an index made with the base stays valid."""
    return mode == "query"


class TrainSection(Section):
    """How the base model is tuned, and how far to go from the base to the tuned model."""

    base: str = Field(default="all-minilm-l6-v2", description="model to tune: catalogue name, folder or hub id")
    mode: Mode = Field(
        default="query",
        description="query: documents keep the base's vectors; tied: tuned alike, then one encoder; full: both tuned",
    )
    frozen_layers: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        default=0.5, description="share of the layers that stay the base's, from the embeddings up; 0: all are tuned"
    )
    lora_rank: int = Field(default=0, ge=0, description="rank of LoRA adapters; 0: weights are tuned themselves")
    loss: Loss = Field(
        default="listwise", description="listwise: a distribution over the answers; pairwise: single similarities"
    )
    steps: int = Field(
        default=0, ge=0, le=1_000_000_000, description="optimiser steps; 0: two passes over the questions, 50 to 200"
    )
    batch_size: Count = Field(default=64, description="questions a step")
    learning_rate: Positive = Field(default=4e-4, description="peak, with linear decay")
    reference_weight: float = Field(
        default=10.0, ge=0.0, description="pull of reference sentences to the base's vectors; 0: off"
    )
    reference_texts: Path | None = Field(
        default=None, description="file of reference sentences, about anything but your domain, one a line"
    )
    precision: Literal["auto", "bfloat16", "float32"] = Field(
        default="auto", description="what matrices are multiplied in; auto: bfloat16 where the processor or GPU has it"
    )
    preferred_weight: Fraction = Field(
        default=0.75,
        description="interpolation weight (0: the base, 1: the tuned model) that is kept unless validation questions "
        "show another one to be better by two standard errors",
    )
    report_to: tuple[Tracker, ...] = Field(default=(), description="told of every step; TensorBoard: OUT/tensorboard")

    @property
    def listwise(self) -> bool:
        """Whether targets are one distribution a question over the answers, not single similarities."""
        return self.loss == "listwise"


class EvaluateSection(Section):
    """How base and tuned are measured."""

    general_tolerance: Fraction = Field(
        default=0.01, description="mean nDCG@10 loss on general sets that forbids shipping"
    )
    sts: tuple[str, ...] = Field(
        default=(), description="files of sentence pairs with scores (.tsv, .jsonl): ability beyond retrieval"
    )
    mteb: tuple[str, ...] = Field(
        default=(), description="BEIR folders, or official tasks and benchmarks by name, to run through mteb itself"
    )


class Config(Section):
    """One whole run."""

    run: RunSection = RunSection()
    cluster: ClusterSection = ClusterSection()
    data: DataSection = DataSection()
    augment: AugmentSection = AugmentSection()
    score: ScoreSection = ScoreSection()
    label: LabelSection = LabelSection()
    train: TrainSection = TrainSection()
    evaluate: EvaluateSection = EvaluateSection()

    @model_validator(mode="after")
    def _fitting(self) -> Config:
        """Check combinations once, here at the edge."""
        if not self.train.listwise and self.label.strategy in ("weighted", "mixed"):
            raise ValueError(
                f"label.strategy = '{self.label.strategy}' gives distributions: it needs train.loss = 'listwise'"
            )
        return self


GONE: Mapping[str, str] = {
    "cluster.engine": "an empty cluster.address works in this process, 'here' starts Ray on this machine",
    "cluster.workers": "as many processes are started as there is room for",
    "data.companions": "answers that training judgements name only together always share their questions",
    "augment.shares": "set share on a generator: { model = 'gemma-3-270m', share = 1 }",
    "augment.kinds": "the kinds that were measured to help are always written",
    "augment.most": "at most 2,400 questions are asked for; per_answer shrinks on large corpora",
    "augment.fragments": "it is called augment.spans",
    "augment.only_labelled": "leave the other answers out of the data instead",
    "augment.near_duplicate": "questions more than 0.95 alike are always joined",
    "augment.seed": "one run.seed serves every stage",
    "score.full_matrix": "above 10,000 answers, questions are judged against 512 candidates each",
    "score.candidates": "above 10,000 answers, questions are judged against 512 candidates each",
    "label.hard_mix": "it is called label.hard_weight",
    "label.known_mix": "labelled questions are always learned from their own answers alone",
    "label.soft2_mix": "soft-2 is half hard label, half mean score",
    "label.form": "it follows from train.loss",
    "label.temperature": "it is 0.05, as measured",
    "label.sharpness": "it is learned from the labelled questions",
    "label.perplexity": "it is learned from the labelled questions",
    "label.shrinkage": "it is 0.1, as measured",
    "train.frozen": "it is called train.frozen_layers",
    "train.temperature": "it is 0.1, as measured",
    "train.logit_adjustment": "answers are always adjusted for how many questions lead to them",
    "train.known_share": "labelled questions are a quarter of all, as measured",
    "train.warmup": "a tenth of the steps warms up",
    "train.anchor_weight": "it is called train.reference_weight",
    "train.anchor_texts": "it is called train.reference_texts",
    "train.near_misses": "it gained nothing in any trial and is not there any more",
    "train.bf16": "it is called train.precision: 'auto', 'bfloat16' or 'float32'",
    "train.seed": "one run.seed serves every stage",
    "train.seeds": "one run.seed serves every stage; run several times to see the spread",
    "select.factors": "0, 0.25, 0.5, 0.75 and 1 are weighed; train.preferred_weight says which one is preferred",
    "select.prior": "it is called train.preferred_weight",
    "select.steps": "compare two runs instead",
    "select.strategies": "compare two runs instead",
    "select.modes": "compare two runs instead",
    "select.validation": "a fifth of the questions is kept for choosing where that is twenty or more",
    "select.general_tolerance": "evaluate.general_tolerance holds for choosing too",
    "select.refit": "the model that is kept is always tuned on everything",
    "evaluate.confidence": "intervals are 95 % intervals",
    "evaluate.ship_confidence": "one rule decides, from the gain and its 95 % interval",
    "evaluate.resamples": "10,000 resamples are drawn",
    "evaluate.seed": "one run.seed serves every stage",
}
"""Keys of earlier versions, and what to do instead."""


def known_keys(model: type[BaseModel] = Config, prefix: str = "") -> tuple[str, ...]:
    """Return every key a config may hold, as dotted paths."""
    keys: list[str] = []
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            keys.extend(known_keys(kind, f"{prefix}{name}."))
        else:
            keys.append(f"{prefix}{name}")
    return tuple(keys)


def from_mapping(values: dict[str, Any], *, place: str = "config") -> Config:
    """Validate a nested mapping.

    Raises:
        ConfigError: every unknown key and wrong value, each with its path.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = [problem for item in error.errors() for problem in _problems(item)]
        raise ConfigError(problems, place=place) from None


def _problems(item: Any) -> list[str]:
    """Return what to tell of one of pydantic's errors."""
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "too_short" and len(item["input"]):
        return []  # its items are wrong, each of which is told by itself
    if item["type"] == "extra_forbidden":
        whole = isinstance(item["input"], dict) and any(key.startswith(f"{path}.") for key in GONE)
        keys = [f"{path}.{key}" for key in item["input"]] if whole else [path]  # of a section that is gone as a whole
        return [f"'{key}' is gone: {GONE[key]}" if key in GONE else _unknown(key) for key in keys or [path]]
    if path:
        return [f"{path}: {item['msg']}, got {item['input']!r}"]
    return [item["msg"].removeprefix("Value error, ")]  # Of a combination the message says it all.


def _unknown(path: str) -> str:
    section = path.rpartition(".")[0]
    known = [key for key in known_keys() if key.rpartition(".")[0] == section]
    if not known:
        known = sorted(PluginSpec.model_fields if "." in section else Config.model_fields)
    return f"unknown key '{path}' (known here: {', '.join(known)})"


def read(path: Path) -> Config:
    """Read a TOML config; relative paths inside it are relative to its folder.

    Raises:
        ConfigError: the file is missing, not TOML, or has unknown keys or wrong values.
    """
    return from_mapping(read_values(path), place=str(path))


def read_values(path: Path) -> dict[str, Any]:
    """Read a TOML config without validating it; its relative paths become relative to the working folder.

    Raises:
        ConfigError: the file is missing or not TOML.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(["no such config file"], place=str(path), hint="Write one with: expertune init DIR") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        hint = "A folder with questions and answers is named with --data DIR." if path.is_dir() else ""
        raise ConfigError([f"not a readable TOML file ({error})"], place=str(path), hint=hint) from None
    return _resolve(values, path.parent)


def to_toml(config: Config) -> str:
    """Write a config as TOML with every value spelled out; `read` gives the same config back."""
    import tomli_w

    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def seen_from(config: Config, folder: Path) -> Config:
    """Return the config as it has to be written into `folder`, where `read` makes paths relative to that folder."""

    def moved(value: Any) -> Any:
        path = Path(value) if value else None
        return os.path.relpath(path, folder) if path and not path.is_absolute() and path.exists() else value

    def outward(value: Path | None) -> str | None:
        return None if value is None else str(value) if value.is_absolute() else os.path.relpath(value, folder)

    values = _each_path(config.model_dump(mode="json", exclude_none=True), moved)
    places = {"out": outward(config.run.out), "store": outward(config.run.store)}
    values["run"].update({key: value for key, value in places.items() if value is not None})
    return Config.model_validate(values)


def _resolve(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make the config's own relative paths relative to where it lies, where such a path exists there."""

    def local(value: Any) -> Any:
        if isinstance(value, str) and value and not Path(value).is_absolute() and (folder / value).exists():
            return os.path.normpath(folder / value)
        return value

    values = _each_path(values, local)
    run = values.get("run")
    if isinstance(run, dict):
        moved = {key: os.path.normpath(folder / run[key]) for key in ("out", "store") if isinstance(run.get(key), str)}
        values = {**values, "run": {**run, **moved}}
    return values


def _each_path(values: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """Apply `change` to every value that may name a file or folder to read; `values` need not be valid."""

    def spec(value: Any) -> Any:
        if isinstance(value, dict) and "model" in value:
            return {**value, "model": change(value["model"])}
        if isinstance(value, str) and value not in MODEL_FREE:
            use, colon, model = value.partition(":")
            return f"{use}:{change(model)}" if colon and not Path(value).is_absolute() else change(value)
        return value

    changes: dict[tuple[str, str], Callable[[Any], Any]] = {
        ("data", "path"): change,
        ("data", "general"): change,
        ("data", "log"): change,
        ("augment", "questions"): change,
        ("evaluate", "sts"): change,
        ("evaluate", "mteb"): change,
        ("train", "base"): change,
        ("train", "reference_texts"): change,
        ("augment", "generators"): spec,
        ("score", "experts"): spec,
    }
    result = {name: dict(table) if isinstance(table, dict) else table for name, table in values.items()}
    for (section, key), function in changes.items():
        table = result.get(section)
        if isinstance(table, dict) and key in table:
            value = table[key]
            table[key] = [function(item) for item in value] if isinstance(value, list) else function(value)
    return result


def assignment(text: str) -> tuple[str, Any]:
    """Split "section.key=value" into the dotted path and the value, read as TOML or else taken as text.

    Raises:
        ConfigError: there is no "=", or no section.
    """
    path, equals, written = text.partition("=")
    path = path.strip()
    if not equals or not all(path.split(".")) or "." not in path:
        raise ConfigError(
            [f"'{text}' is not of the form section.key=value"],
            place="--set",
            hint='For example: --set train.steps=50 --set \'score.experts=["bm25", "ngrams"]\'',
        )
    return path, _value(written)


def _value(written: str) -> Any:
    try:
        table = tomllib.loads(f"value = {written}")
    except tomllib.TOMLDecodeError:
        return written.strip()
    # A text with line breaks could bring further keys along; then it is a text.
    return table["value"] if len(table) == 1 else written


def overlaid(values: Mapping[str, Any], changes: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return nested `values` with each dotted path set; later changes win, everything else stays."""
    result = dict(values)
    for path, value in changes:
        head, _, rest = path.partition(".")
        inner = result.get(head, {})
        if not rest:
            result[head] = value
        elif isinstance(inner, Mapping):
            result[head] = overlaid(inner, [(rest, value)])
        # What should be a table and is not stays as it is: validation then names it.
    return result
