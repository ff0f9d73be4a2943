"""Write a tuned model in the form another program wants, and check that it still ranks the same.

Every form is judged by the rankings it gives on held-out questions, never by the cosine of its vectors with the
original's: what a user sees is an order. An exact form that ranks otherwise is refused. Knows no training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from expertune import config, data
from expertune.commands.export import adapter, graphs
from expertune.commands.export.agreement import RankAgreement, agreement
from expertune.commands.export.classic import use_classic_names
from expertune.commands.export.notes import write_notes
from expertune.commands.export.sides import TunedSides
from expertune.data import expansion
from expertune.errors import ConfigError, ExportError
from expertune.models import trust
from expertune.models.cache import MemoryCache
from expertune.models.encoder import CachedEncoder, sentence_encoder
from expertune.models.folders import config_beside, model_folder, new_folder
from expertune.models.plugins import EmbeddingExpert
from expertune.records import JudgedSet, Report, Role, ignore_progress
from expertune.report.results import EXPANDED


class Form(StrEnum):
    """What a model can be exported to."""

    QUERY_ENCODER = "query-encoder"
    ADAPTER = "adapter"
    ONNX = "onnx"
    INT8 = "int8"
    OPENVINO = "openvino"


@dataclass(frozen=True, slots=True)
class Exported:
    """A written export and how far it ranks as the original does, one row a held-out set."""

    folder: Path
    form: Form
    agreements: tuple[RankAgreement, ...]
    megabytes: float


LEAST_OVERLAP = 0.995
"""Mean overlap of the first ten answers below which an exact form is refused: rounding may swap a neighbour or two."""

_EXACT = frozenset({Form.QUERY_ENCODER, Form.ONNX, Form.OPENVINO})
_WRITERS: dict[Form, Callable[[TunedSides, Path, int], EmbeddingExpert]] = {
    Form.QUERY_ENCODER: lambda sides, folder, _: _write_query_encoder(sides, folder),
    Form.ADAPTER: adapter.write,
    Form.ONNX: lambda sides, folder, _: graphs.write_onnx(sides, folder),
    Form.INT8: lambda sides, folder, _: graphs.write_int8(sides, folder),
    Form.OPENVINO: lambda sides, folder, _: graphs.write_openvino(sides, folder),
}


def form(name: str) -> Form:
    """Return the form with this name.

    Raises:
        ConfigError: there is none.
    """
    try:
        return Form(name)
    except ValueError:
        raise ConfigError([f"there is no form '{name}'"], place="--to", hint=f"Forms: {', '.join(Form)}.") from None


def export(
    subject: Path,
    form: Form,
    out: Path,
    *,
    held_out: str = "",
    rank: int = 32,
    offline: bool = True,
    report: Report = ignore_progress,
) -> Exported:
    """Write the question side of a tuned model in another form and compare its rankings with the original's.

    Args:
        subject: A run's folder, or a model's.
        form: What to write.
        out: Where to; the folder must not exist, and does not if this fails.
        held_out: Data to check on; default: that of the run, else the built-in general dev set.
        rank: Of the adapter's low-rank differences; other forms have none.
        offline: Whether hub ids are out of reach.
        report: Told of the encoding.

    Raises:
        ExportError: the form cannot be written, or an exact form ranks otherwise than the original.
        DataError: there is no such folder, or the held-out data cannot be read.
        ConfigError: a library is missing, or `out` exists.
    """
    model = model_folder(subject)
    made_by = config_beside(model)
    run = config.read(made_by) if made_by else None
    judged = _judged(config.DataSection(path=held_out) if held_out else run.data if run else None, offline=offline)
    if run and run.data.expand and not held_out:
        indexed = data.load_corpus(model.parent / EXPANDED)
        judged = tuple(expansion.with_texts_of(indexed, item) for item in judged)
    if out.exists():
        raise ConfigError(["there is something at that path already"], place=str(out), hint="Name a new folder.")
    trust.check(model)
    sides = TunedSides(model, run.train.base if run else "", offline=offline)
    with new_folder(out) as scratch:
        made = _WRITERS[form](sides, scratch, rank)
        agreements = _compare(model, made, judged, sides, report)
        if form in _EXACT:
            _refuse_changed(form, agreements)
        size = sum(file.stat().st_size for file in scratch.rglob("*") if file.is_file()) / 1e6
    return Exported(out, form, agreements, size)


def _write_query_encoder(sides: TunedSides, folder: Path) -> EmbeddingExpert:
    """Write the question side as a plain model and return what embeds with it."""
    sides.queries.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)
    use_classic_names(folder, sides.queries.max_seq_length or 512)
    write_notes(folder, Form.QUERY_ENCODER, sides)
    return sentence_encoder(str(folder))


def _judged(section: config.DataSection | None, *, offline: bool) -> tuple[JudgedSet, ...]:
    if section is None:
        return (data.load_general_dev_set(),)
    sets = data.Files(section, offline=offline).judged
    return tuple(judged for judged in sets if judged.role is Role.DOMAIN) or sets


def _compare(
    model: Path, made: EmbeddingExpert, judged: tuple[JudgedSet, ...], sides: TunedSides, report: Report
) -> tuple[RankAgreement, ...]:
    original, cache = sentence_encoder(str(model)), MemoryCache()
    documents = original if sides.separate else made
    before = CachedEncoder("original", original, cache=cache, report=report)
    after = CachedEncoder("exported", made, documents, cache=cache, report=report)
    return tuple(agreement(before, after, item) for item in judged)


def _refuse_changed(form: Form, agreements: tuple[RankAgreement, ...]) -> None:
    for found in agreements:
        if found.top10 < LEAST_OVERLAP:
            raise ExportError(
                f"the export ranks otherwise than the model: of the first ten answers on {found.name} only "
                f"{found.top10:.1%} are the same",
                place=form,
                hint="Nothing was written. Please report this with the model's name: it is a fault of the conversion.",
            )
