"""What speaks against the labels: ranks by hand, the base on its own panel, signs in the verdict."""

from dataclasses import replace

import numpy as np
import pytest

from expertune.evaluate.verdict import verdict
from expertune.label.diagnostics import best_ranks, panel_evidence
from expertune.records import (
    Dataset,
    Document,
    ExpertQuality,
    PanelDiagnostics,
    Provenance,
    Question,
    Questions,
    Scores,
    SoftLabels,
)
from expertune.score.agreement import agreement

DOCUMENTS = tuple(Document(f"d{i}", f"answer {i}") for i in range(20))
KNOWN = (Question("one", ("d0",)), Question("two", ("d1",)))
SOUND = PanelDiagnostics(agreement=0.4, base=0.7, best=0.9, best_expert="strong", untraced=0.05, top=10)


def evidence(values, generated, *, base="base", panel=(("base", 0.6), ("strong", 0.8))):
    questions = Questions((*KNOWN, *generated))
    scores = Scores(tuple(name for name, _ in panel), values)
    quality = tuple(ExpertQuality(name, value, 0.5) for name, value in panel)
    labels = SoftLabels("hard", np.zeros(values.shape[:2], np.float32), np.ones(20, bool), True, quality)
    vectors = np.zeros((2, 20), np.float32)
    vectors[0, 0], vectors[1, 5], vectors[1, 1] = 1.0, 1.0, 0.5
    data = Dataset("hand", DOCUMENTS, KNOWN)
    return panel_evidence(
        data,
        questions,
        scores,
        labels,
        agreement(scores),
        base=base,
        base_vectors=(vectors, np.eye(20, dtype=np.float32)),
    )


def signs(panel):
    return verdict((), (), (), tolerance=0.01, panel=panel).diagnostics


def test_best_ranks_by_hand():
    values = np.array([[[0.1, 0.9], [0.5, 0.2], [0.4, 0.1]], [[np.nan, np.nan], [0.5, 0.2], [0.4, 0.1]]], np.float32)
    right = np.array([[True, False, False], [True, False, False]])
    assert best_ranks(values, right).tolist() == [1, 4]


def test_evidence_by_hand():
    values = np.tile(np.arange(20, 0, -1, dtype=np.float32)[None, :, None], (5, 1, 2))  # d0 first, d19 last
    generated = tuple(
        Question(f"g{i}", (document,), Provenance.SYNTHETIC, "small") for i, document in enumerate(("d0", "d1", "d19"))
    )
    found = evidence(values, generated)
    assert found.top == 2, "a tenth of twenty documents"
    assert found.untraced == pytest.approx(1 / 3)
    assert found.agreement == pytest.approx(1.0)
    assert found.base == pytest.approx((1 + 1 / np.log2(3)) / 2)
    assert (found.best_expert, found.best) == ("strong", 0.8)


def test_the_bases_quality_is_the_same_whatever_fits_into_memory(monkeypatch):
    values = np.zeros((2, 20, 2), np.float32)
    whole = evidence(values, ())
    monkeypatch.setattr("expertune.label.diagnostics._BLOCK_BYTES", 1)
    assert evidence(values, ()).base == pytest.approx(whole.base)


def test_the_base_on_the_panel_cannot_teach_itself():
    values = np.zeros((2, 20, 2), np.float32)
    found = evidence(values, (), panel=(("base", 0.9), ("strong", 0.7)))
    assert (found.best_expert, found.best) == ("strong", 0.7)
    assert np.isnan(found.untraced)
    alone = evidence(values[:, :, :1], (), panel=(("base", 0.9),))
    assert np.isnan(alone.best)
    assert not any("better" in sign for sign in signs(alone))


def test_a_sound_panel_gives_no_sign_and_an_unknown_one_neither():
    nothing = float("nan")
    assert signs(SOUND) == ()
    assert signs(None) == ()
    assert signs(PanelDiagnostics(nothing, nothing, nothing, "", nothing, 10)) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"agreement": 0.02}, "The experts disagree"),
        ({"base": 0.95}, "strong: 90.0"),
        ({"untraced": 0.4}, "40% of the synthetic questions"),
    ],
)
def test_each_poor_label_has_its_sign(change, said):
    (sign,) = signs(replace(SOUND, **change))
    assert said in sign
