"""Arguments and exit codes. No logic: what a command does is in pipeline, checking, starter and models.

Heavy modules are imported inside commands, so that `expertune --help` answers at once.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from expertune.commands import terminal
from expertune.errors import ExpertuneError, ModelUnavailableError

if TYPE_CHECKING:
    from expertune.config import Config
    from expertune.models import CatalogEntry
    from expertune.pipeline.preflight import Findings
    from expertune.records import Evaluation

BAD_INPUT = 2
INTERRUPTED = 130
ISSUES = "https://github.com/expertune/expertune/issues"

Command = TypeVar("Command", bound=Callable[..., None])

app = typer.Typer(
    help="Tune a text-embedding model to a small question-answer set, and prove whether it got better.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models_app = typer.Typer(help="Known models: which are installed, and where to get the others.", rich_markup_mode=None)
app.add_typer(models_app, name="models", invoke_without_command=True)

ConfigFile = Annotated[
    Path | None, typer.Argument(metavar="CONFIG.toml", show_default=False, help="Settings; `init` writes some.")
]
Data = Annotated[
    str | None,
    typer.Option("--data", metavar="FOLDER", help="Questions and answers: a folder, a file or a hub id."),
]
General = Annotated[
    list[str] | None,
    typer.Option("--general", metavar="FOLDER", help="BEIR set that watches general ability; may be repeated."),
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where report, results and model go.")]
StoreFolder = Annotated[
    Path | None, typer.Option("--store", metavar="DIR", help="Where finished work is kept; default: OUT/store.")
]
Mteb = Annotated[
    list[str] | None,
    typer.Option("--mteb", metavar="NAME", help="BEIR folder, or official task or benchmark, for mteb; repeatable."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any key of the config, such as train.steps=50; may be repeated."),
]
Offline = Annotated[
    bool,
    typer.Option("--offline", help="Open no connection, whatever the config says (the default where it says nothing)."),
]


def main() -> None:
    """Run the command line; the entry point of the `expertune` script."""
    app()


def _guarded(command: Command) -> Command:
    """Turn what a command raises into one message and an exit code: 2 bad input, 130 interrupted, 1 a fault of ours."""

    @functools.wraps(command)
    def guarded(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except ExpertuneError as error:
            _complain(f"error: {error}")
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt:
            _complain("stopped; everything finished is kept: run the same command to go on")
            raise typer.Exit(INTERRUPTED) from None
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise
        except Exception:
            _complain(traceback.format_exc())
            _complain(f"This is a fault in expertune, not in your input. Please report the lines above: {ISSUES}")
            raise typer.Exit(1) from None

    return guarded  # type: ignore[return-value]


def _complain(message: str) -> None:
    """Write to stderr; what a terminal would obey (texts of users are quoted in messages) is made visible."""
    typer.echo("".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in message), err=True)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"expertune {installed('expertune')}")
        raise typer.Exit


# --- run and its stages --------------------------------------------------------------------------------------------

STAGES = {
    "load": "Read and check the data, then stop.",
    "augment": "Go up to the training questions, then stop.",
    "score": "Go up to the experts' scores, then stop.",
    "label": "Go up to the soft labels, then stop.",
    "train": "Go up to the tuned model, then stop.",
    "evaluate": "Go up to the evaluation, then stop.",
    "run": "Do everything: from questions and answers to a tuned model and a report.",
}


def _stage_command(stage: str) -> Callable[..., None]:
    @_guarded
    def command(
        config: ConfigFile = None,
        data: Data = None,
        general: General = None,
        out: Out = None,
        store: StoreFolder = None,
        mteb: Mteb = None,
        assignments: Set = None,
        offline: Offline = False,
    ) -> None:
        from expertune.config import from_mapping

        if offline:
            assignments = [*(assignments or ()), "run.offline=true"]
        values, place = _values(config, data, general, out, store, assignments, mteb=mteb)
        _execute(from_mapping(values, place=place), "report" if stage == "run" else stage)

    return command


for _name, _help in STAGES.items():
    app.command(_name, help=_help)(_stage_command(_name))


def _values(
    file: Path | None,
    data: str | None,
    general: Sequence[str] | None,
    out: Path | None,
    store: Path | None,
    assignments: Sequence[str] | None,
    *,
    mteb: Sequence[str] | None = None,
) -> tuple[dict[str, Any], str]:
    """Return the config's values with the options laid over them, and what to call it in messages."""
    from expertune import config

    named = {"data.path": data, "data.general": general or None, "run.out": out, "run.store": store}
    named["evaluate.mteb"] = mteb or None
    changes = [config.assignment(text) for text in assignments or ()]
    changes += [(path, value) for path, value in named.items() if value is not None]
    values = config.read_values(file) if file else {}
    return config.overlaid(values, changes), str(file) if file else "options"


def _execute(config: Config, stage: str) -> None:
    from expertune.train import distributed

    if not distributed.leads():
        from expertune.pipeline.run import follow

        follow(config)
        return
    with terminal.watching() as report:
        from expertune.pipeline.run import Run, Stage

        result = Run(config, report).execute(until=Stage(stage))
    distributed.dismiss()
    if result.evaluation:
        _show_evaluation(result.evaluation)
    if stage == "report":
        typer.echo(f"report: {result.folder / 'report.html'}\nmodel:  {result.folder / 'model'}")


def _show_evaluation(evaluation: Evaluation) -> None:
    from expertune.report.formats import interval, points, signed

    typer.echo(evaluation.verdict.why)
    table = terminal.table(
        "set", "role", ">questions", ">base", ">tuned", ">difference", ">interval", title="nDCG@10 x 100"
    )
    for row in evaluation.comparisons:
        if row.metric == "ndcg@10":
            values = (points(row.base), points(row.tuned), signed(row.difference), interval(row.low, row.high))
            table.add_row(f"{row.dataset}/{row.split}", str(row.role), str(row.queries), *values)
    terminal.console().print(table)
    if evaluation.indexing:
        _show_index(evaluation)
    for similarity in evaluation.similarities:
        change = f"{signed(similarity.difference)}, {signed(similarity.low)} to {signed(similarity.high)}"
        spearman = f"{points(similarity.base)} to {points(similarity.tuned)} ({change})"
        typer.echo(f"{similarity.dataset}: Spearman x 100 on {similarity.pairs} sentence pairs {spearman}")
    if evaluation.benchmarks:
        scores = terminal.table("mteb task", "model", ">main score", ">nDCG@10", ">mAP@10")
        for score in evaluation.benchmarks:
            figures = (points(score.main), points(score.ndcg), points(score.map))
            scores.add_row(f"{score.task}/{score.split}", score.model, *figures)
        terminal.console().print(scores)


def _show_index(evaluation: Evaluation) -> None:
    """Show what comes from indexing questions + answer, and what from tuning."""
    from expertune.report.formats import interval, points, signed
    from expertune.report.rows import index_rows

    columns = (">base, plain index", ">base", ">tuned", ">by the index", ">by tuning", ">in all", ">interval")
    table = terminal.table("set", *columns, title="nDCG@10 x 100 by index")
    for row in index_rows(evaluation, "ndcg@10"):
        levels = (row.indexing.base, row.indexing.tuned, row.tuning.tuned)
        changes = (row.indexing.difference, row.tuning.difference, row.overall.difference)
        last = interval(row.overall.low, row.overall.high)
        table.add_row(f"{row.indexing.dataset}/{row.indexing.split}", *map(points, levels), *map(signed, changes), last)
    terminal.console().print(table)


# --- studies -------------------------------------------------------------------------------------------------------


@app.command()
@_guarded
def study(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="agreement, experts, sizes, balance, geometry, labels or generators."),
    ],
    config: ConfigFile = None,
    data: Data = None,
    general: General = None,
    out: Out = None,
    store: StoreFolder = None,
    seeds: Annotated[int, typer.Option("--seeds", min=0, help="Repeats of a tuning; 0: the study's own.")] = 0,
    assignments: Set = None,
) -> None:
    """Answer one open question about the method on your data, with figures; may take long and goes on where it was."""
    from expertune.commands import study as studies
    from expertune.config import from_mapping

    values, place = _values(config, data, general, out, store, assignments)
    with terminal.watching() as report:
        found, path = studies.run(name, from_mapping(values, place=place), seeds=seeds, report=report)
    table = terminal.table(*(f">{column}" if index else column for index, column in enumerate(found.columns)))
    for row in found.rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    terminal.console().print(table)
    typer.echo("\n".join([found.question, *found.answers, f"figures: {path}"]))


# --- looking before running ----------------------------------------------------------------------------------------


@app.command()
@_guarded
def check(
    config: ConfigFile = None,
    data: Data = None,
    general: General = None,
    out: Out = None,
    store: StoreFolder = None,
    assignments: Set = None,
) -> None:
    """Look at config, data and models and estimate the cost; does no work."""
    from expertune.pipeline import preflight

    values, place = _values(config, data, general, out, store, assignments)
    findings = preflight.check(values, place=place)
    _show_findings(findings)
    for problem in findings.problems:
        _complain(f"error: {problem}")
    if findings.problems:
        raise typer.Exit(BAD_INPUT)


def _show_findings(findings: Findings) -> None:
    from expertune.report.formats import duration

    if findings.dataset:
        size = f"{len(findings.dataset.documents)} answers, {len(findings.dataset.questions)} training questions"
        typer.echo(f"{findings.dataset.name}: {size}")
    if findings.judged:
        sets = terminal.table("held-out set", "role", ">questions", ">documents")
        for judged in findings.judged:
            sets.add_row(judged.name, str(judged.role), str(len(judged.queries)), str(len(judged.documents)))
        terminal.console().print(sets)
    parts = terminal.table("role", "model or plug-in", "found")
    for part in findings.parts:
        parts.add_row(part.role, part.name, part.source if part.found else "missing")
    terminal.console().print(parts)
    if findings.costs:
        costs = terminal.table("stage", ">work", "", ">roughly")
        for cost in findings.costs:
            costs.add_row(cost.stage, f"{cost.items:,}", cost.unit, duration(cost.seconds))
        terminal.console().print(costs)
        typer.echo(f"in all roughly {duration(findings.seconds)} on two processor cores, if nothing can be reused")


@app.command()
@_guarded
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder with your questions and answers.")],
) -> None:
    """Write a commented config for the data in a folder."""
    from expertune.commands import init

    written = init.write(folder)
    typer.echo(f"wrote {written}\nnext:  expertune check {written}")


@app.command()
@_guarded
def panel(
    config: ConfigFile = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, help="What scoring the whole run may take on this machine.")
    ] = 120.0,
    data: Data = None,
    assignments: Set = None,
) -> None:
    """Try every expert in reach on your own questions and recommend a panel for a time."""
    from expertune import data as reading
    from expertune.commands import panel as panels
    from expertune.config import from_mapping
    from expertune.report.formats import decimals, duration, points

    values, place = _values(config, data, None, None, None, assignments)
    wanted = from_mapping(values, place=place)
    dataset = reading.load(wanted.data, offline=wanted.run.offline)
    with terminal.watching() as report:
        found = panels.recommend(wanted, dataset, most_seconds=seconds, report=report)
    table = terminal.table("expert", ">nDCG@10 x 100", ">time in a run", "most like", ">Spearman", "")
    for item in found.tried:
        numbers = (points(item.ndcg), duration(item.seconds), item.nearest, decimals(item.likeness))
        table.add_row(item.name, *numbers, item.verdict)
    typer.echo(f"{dataset.name}: {found.pairs} known pairs, {len(dataset.documents)} answers")
    terminal.console().print(table)
    if found.out_of_reach:
        typer.echo(f"out of reach: {', '.join(name for name, _ in found.out_of_reach)}  (see: expertune models)")
    typer.echo(f"\n{found.toml}", nl=False)


# --- using the model ----------------------------------------------------------------------------------------------


@app.command("try")
@_guarded
def try_model(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The tuned model, such as runs/shop/model.")],
    corpus: Annotated[
        Path,
        typer.Option("--corpus", metavar="FILE", help="The answers: a Q&A file, a corpus.jsonl or a folder of these."),
    ],
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="NAME", help="What to set beside it; default: the base it was tuned from."),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on this machine; 0: any.")] = 8420,
) -> None:
    """Open a local page to type a question and see the first answers of base and tuned model side by side."""
    from expertune.commands import trying
    from expertune.commands.trying.server import PageServer

    with terminal.watching():
        server = PageServer(trying.side_by_side(model, corpus, base=base), port)
        typer.echo(f"open {server.url} in a browser; stop with Ctrl-C")
        server.run()


@app.command()
@_guarded
def export(
    subject: Annotated[Path, typer.Argument(metavar="RUN_OR_MODEL", help="A run's folder, or a tuned model's.")],
    form: Annotated[str, typer.Option("--to", metavar="FORM", help="query-encoder, adapter, onnx, int8 or openvino.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder for it.")],
    data: Annotated[
        str, typer.Option("--data", metavar="FOLDER", help="Held-out questions to check it on; default: the run's.")
    ] = "",
    rank: Annotated[int, typer.Option("--rank", min=1, help="Of the adapter's differences.")] = 32,
) -> None:
    """Write the model in another form, and say how far that form ranks as the model does."""
    from expertune.commands import export as exporting
    from expertune.report.formats import decimals, points

    with terminal.watching() as report:
        made = exporting.export(subject, exporting.form(form), out, held_out=data, rank=rank, report=report)
    columns = (">questions", ">same first", ">same ten", ">Kendall tau", ">nDCG@10 before", ">after")
    table = terminal.table("held-out set", *columns, title="agreement with the model, in %")
    for row in made.agreements:
        shares = (points(row.top1), points(row.top10), decimals(row.tau), points(row.before), points(row.after))
        table.add_row(row.name, str(row.questions), *shares)
    terminal.console().print(table)
    typer.echo(f"{made.form}: {made.folder} ({made.megabytes:.1f} MB); how to use it stands in its README.md")


@app.command()
@_guarded
def push(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A tuned model's folder, such as runs/shop/model.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Where to; made if it is not there.")],
    public: Annotated[bool, typer.Option("--public", help="Everybody may read a repository made now.")] = False,
) -> None:
    """Upload a tuned model and its card to a model hub; the token comes from HF_TOKEN."""
    from expertune.commands import push as push_model

    typer.echo(f"model: {push_model.push(model, repository, public=public)}")


# --- models --------------------------------------------------------------------------------------------------------


@models_app.callback(invoke_without_command=True)
@_guarded
def _list_models(context: typer.Context) -> None:
    """List the known models: which are installed, and where to get the others."""
    if context.invoked_subcommand:
        return
    from expertune import models

    table = terminal.table("name", "where", "kind", ">MB", "languages", "licence")
    for entry in models.catalog():
        source = "installed" if models.installed(entry) else "package" if entry.packages else "hub"
        kind = ", ".join(
            word for word, plug_in in (("expert", entry.expert), ("generator", entry.generator)) if plug_in
        )
        table.add_row(entry.name, source, kind, str(entry.megabytes), entry.languages, entry.licence)
    terminal.console().print(table)
    typer.echo("package: expertune models install NAME    hub: fetched on first use with run.offline = false")


@models_app.command()
@_guarded
def install(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names from `expertune models`.")],
) -> None:
    """Install the packages that carry models, with pip."""
    from expertune import models

    commands = [models.install_command(_entry(name)) for name in names]
    for command in commands:
        code = subprocess.run([sys.executable, *command], check=False).returncode
        if code:
            message = f"pip ended with code {code}; what it says stands above"
            raise ModelUnavailableError(message, place=" ".join(command), hint="Check the connection and the disk.")


def _entry(name: str) -> CatalogEntry:
    from expertune import models

    entry = models.find(name)
    if entry is None:
        known = ", ".join(item.name for item in models.catalog() if item.packages)
        raise ModelUnavailableError(f"no known model is called '{name}'", hint=f"Packages carry: {known}.")
    if not entry.packages:
        hint = "Set run.offline = false: it is then fetched on first use."
        raise ModelUnavailableError(f"no package carries '{entry.name}', only the hub has {entry.hub}", hint=hint)
    return entry
