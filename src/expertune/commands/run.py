"""`expertune run` and its stages: from questions and answers to a tuned model and a report."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from expertune.commands import machine, options, terminal

if TYPE_CHECKING:
    from expertune.config import Config
    from expertune.records import Evaluation, Unanswered

STAGES = {
    "load": "Read and check the data, then stop.",
    "augment": "Go up to the training questions, then stop.",
    "score": "Go up to the experts' scores, then stop.",
    "label": "Go up to the soft labels, then stop.",
    "train": "Go up to the tuned model, then stop.",
    "evaluate": "Go up to the evaluation, then stop.",
    "run": "Tune a model to your questions and answers, and report whether it got better.",
}


def stage_command(stage: str) -> Callable[..., None]:
    """Return the command that goes up to a stage; "run" goes up to the report."""

    def command(
        config: options.ConfigFile = None,
        data: options.Data = None,
        log: options.Log = None,
        base: options.Base = None,
        general: options.General = None,
        out: options.Out = None,
        store: options.StoreFolder = None,
        mteb: options.Mteb = None,
        assignments: options.Set = None,
        offline: options.Offline = False,
    ) -> None:
        settings = options.read_config(
            config,
            assignments,
            data=data,
            log=log,
            base=base,
            general=general,
            out=out,
            store=store,
            mteb=mteb,
            offline=offline,
        )
        _execute(settings, "report" if stage == "run" else stage)

    command.__doc__ = STAGES[stage]
    return command


def _execute(config: Config, stage: str) -> None:
    from expertune.train import distributed

    machine.prepare_machine(config)
    if not distributed.leads():
        from expertune.train.trainer import follow

        follow()
        return
    with terminal.watching() as report:
        from expertune.pipeline.run import Run, Stage

        result = Run(config, report).execute(until=Stage(stage))
    distributed.dismiss()
    if result.evaluation:
        show_evaluation(result.evaluation)
    if result.unanswered and result.unanswered.groups:
        show_unanswered(result.unanswered)
    if stage == "report":
        typer.echo(f"report: {result.folder / 'report.html'}\nmodel:  {result.folder / 'model'}")
        typer.echo(f"next:   expertune try {result.folder}")
        typer.echo(f"        expertune export {result.folder} --to query-encoder --out {result.folder}-encoder")


def show_evaluation(evaluation: Evaluation) -> None:
    """Print the verdict and its figures: held-out sets, index, sentence pairs, mteb."""
    from expertune.report.alternatives import sentence, to_do
    from expertune.report.formats import around, points, signed
    from expertune.report.rows import set_rows

    said = evaluation.verdict
    typer.echo(f"{said.decision}. {said.headline}")
    if said.certainty:
        typer.echo(said.certainty)
    cases = to_do(said, evaluation.alternatives)
    typer.echo("What to do:" + "".join(f"\n- {case}" for case in cases) if cases[1:] else f"What to do: {cases[0]}")
    for sign in said.diagnostics:
        typer.echo(f"Look at this first: {sign}")
    heads = ("set", ">asked", ">first", ">in first 3", ">nDCG@10", ">change within")
    rows = [
        (
            row.change.name + (" (general)" if row.change.role == "general" else ""),
            str(row.hits.questions),
            "{} → {}".format(*row.hits.first),
            "{} → {}".format(*row.hits.three),
            f"{points(row.change.base)} → {points(row.change.tuned)}",
            around(row.change),
        )
        for row in set_rows(evaluation)
    ]
    if rows:
        terminal.show_table(heads, rows, tight=True)
    if evaluation.alternatives:
        typer.echo(sentence(evaluation.alternatives))
    typer.echo(f"How sure is this? Measured on: {said.basis}. {said.why}")
    if evaluation.indexing:
        _show_index(evaluation)
    for similarity in evaluation.similarities:
        change = f"{signed(similarity.difference)}, {signed(similarity.low)} to {signed(similarity.high)}"
        spearman = f"{points(similarity.base)} to {points(similarity.tuned)} ({change})"
        typer.echo(f"{similarity.dataset}: Spearman x 100 on {similarity.pairs} sentence pairs {spearman}")
    if evaluation.benchmarks:
        scores = [
            (f"{score.task}/{score.split}", score.model, *map(points, (score.main, score.ndcg, score.map)))
            for score in evaluation.benchmarks
        ]
        terminal.show_table(("mteb task", "model", ">main score", ">nDCG@10", ">mAP@10"), scores)


def show_unanswered(found: Unanswered) -> None:
    """Print how many questions of the log no answer fits, and the largest groups of them."""
    first = ", ".join(f"'{group.questions[0]}' ({group.count})" for group in found.groups[:3])
    count = f"{found.questions} of {found.looked_at} questions, in {len(found.groups)} groups"
    typer.echo(f"asked in the log and not answered: {count}; most asked: {first}")


def _show_index(evaluation: Evaluation) -> None:
    """Print what comes from indexing questions + answer, and what from tuning."""
    from expertune.report.formats import around, points, signed
    from expertune.report.rows import index_rows

    heads = ("set", ">base, plain index", ">base", ">tuned", ">by the index", ">by tuning", ">in all", ">interval")
    rows = []
    for row in index_rows(evaluation):
        levels = (row.indexing.base, row.indexing.tuned, row.tuning.tuned)
        changes = (row.indexing.difference, row.tuning.difference, row.overall.difference)
        last = around(row.overall)
        rows.append((f"{row.indexing.dataset}/{row.indexing.split}", *map(points, levels), *map(signed, changes), last))
    terminal.show_table(heads, rows, title="nDCG@10 x 100 by index")
