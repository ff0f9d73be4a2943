"""The open questions, each as one command: `expertune study NAME CONFIG`. One file a study, all over one store.

A study asks one question, looks first at what costs seconds, tunes where that tells something, and answers with a
table, figures with intervals and plain sentences. It knows no other study; what they share is in `lab` and `result`.
"""

from __future__ import annotations

import importlib
import time
from pathlib import Path

from expertune.commands.study.result import Study, write
from expertune.config import Config
from expertune.errors import ConfigError
from expertune.records import Report, ignore_progress

STUDIES = ("agreement", "experts", "sizes", "balance", "geometry", "labels", "generators")


def run(name: str, config: Config, *, seeds: int = 0, report: Report = ignore_progress) -> tuple[Study, Path]:
    """Run one study and write `study-NAME.json` into the output folder; what was finished before is reused.

    Args:
        name: One of `STUDIES`.
        config: Of the run that is studied.
        seeds: How often each tuning is repeated; 0: as the study does by itself.
        report: Told of progress.

    Raises:
        ConfigError: there is no such study.
        ExpertuneError: whatever a run of the config would raise.
    """
    from expertune.commands.study.lab import Lab

    if name not in STUDIES:
        hint = f"Studies are: {', '.join(STUDIES)}."
        raise ConfigError([f"there is no study '{name}'"], place="expertune study", hint=hint)
    started = time.perf_counter()
    lab = Lab(config, report, seeds=seeds)
    found: Study = importlib.import_module(f"expertune.commands.study.{name}").study(lab)
    path = config.run.out / f"study-{name}.json"
    settings = {
        "label": config.label.model_dump(mode="json"),
        "train": config.train.model_dump(mode="json", exclude={"anchor_texts", "report_to"}),
        "questions": len(lab.questions.items),
        "documents": len(lab.dataset.documents),
    }
    write(
        found,
        path,
        dataset=lab.dataset.name,
        settings=settings,
        seconds=time.perf_counter() - started,
    )
    return found, path
