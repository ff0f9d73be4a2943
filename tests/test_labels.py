"""Label strategies against hand-computed values, and properties that must hold for any panel."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from expertune.config import LabelSection
from expertune.labels import calibrate, label, share_equal_texts, weigh
from expertune.records import Dataset, Document, Question, Questions, Scores


def make(values, *, questions=None, documents=None):
    values = np.asarray(values, dtype=np.float32)
    rows, columns, experts = values.shape
    documents = documents or tuple(Document(f"d{i}", f"answer {i}") for i in range(columns))
    questions = questions or tuple(Question(f"q{i}", (documents[i % columns].id,)) for i in range(rows))
    dataset = Dataset("hand", tuple(documents), questions)
    return dataset, Questions(questions), Scores(tuple(f"e{k}" for k in range(experts)), values)


def section(**changes):
    return LabelSection(**{"form": "similarity", "strategy": "soft-1", **changes})


VALUES = [[[0.9, 0.5], [0.1, 0.3]], [[0.2, 0.6], [0.8, 0.4]]]  # [Q=2, D=2, K=2], hard labels on the diagonal


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("hard", [[1.0, 0.0], [0.0, 1.0]]),
        ("soft-1", [[0.7, 0.2], [0.4, 0.6]]),
        ("soft-2", [[0.85, 0.1], [0.2, 0.8]]),
        ("soft-3", [[0.9, 0.1], [0.2, 0.8]]),
        ("median", [[0.7, 0.2], [0.4, 0.6]]),
    ],
)
def test_similarity_strategies_by_hand(strategy, expected):
    result = label(*make(VALUES), section(strategy=strategy))
    np.testing.assert_allclose(result.targets, expected, atol=1e-6)
    assert not result.listwise


def test_trimmed_mean_drops_the_extremes():
    values = np.array([[[0.0, 0.4, 0.5, 1.0], [0.1, 0.1, 0.1, 0.1]], [[0.2] * 4, [0.3] * 4]])
    result = label(*make(values), section(strategy="trimmed"))
    assert result.targets[0, 0] == pytest.approx(0.45)


def test_soft_two_mix_is_used():
    low = label(*make(VALUES), section(strategy="soft-2", soft2_mix=0.0)).targets
    np.testing.assert_allclose(low, label(*make(VALUES), section(strategy="soft-1")).targets, atol=1e-6)


def test_distribution_of_a_similarity_is_a_softmax_at_the_temperature():
    result = label(*make(VALUES), section(strategy="soft-1", form="distribution", temperature=0.1))
    expected = np.exp(np.array([7.0, 2.0])) / np.exp(np.array([7.0, 2.0])).sum()
    np.testing.assert_allclose(result.targets[0], expected, rtol=1e-5)


def test_anchored_is_a_mix_of_weighted_and_hard():
    given_ = make(VALUES)
    soft = label(*given_, section(strategy="weighted", form="distribution")).targets
    mixed = label(*given_, section(strategy="anchored", form="distribution", known_mix=0.25)).targets
    np.testing.assert_allclose(mixed, 0.75 * soft + 0.25 * np.eye(2), atol=1e-6)


def test_known_answers_are_surer_than_guessed_ones():
    dataset, questions, scores = make(np.random.default_rng(0).random((2, 2, 2)))
    first, second = questions.items
    questions = Questions((first, replace(second, source="somebody")))
    soft = label(dataset, questions, scores, section(strategy="weighted", form="distribution")).targets
    mixed = label(dataset, questions, scores, section(strategy="anchored", form="distribution", hard_mix=0.25)).targets
    np.testing.assert_allclose(mixed[0], [1.0, 0.0])
    np.testing.assert_allclose(mixed[1], 0.75 * soft[1] + 0.25 * np.array([0.0, 1.0]), atol=1e-6)


def test_sharpness_sharpens():
    soft = label(*make(VALUES), section(strategy="weighted", form="distribution")).targets
    sharp = label(*make(VALUES), section(strategy="weighted", form="distribution", sharpness=3.0)).targets
    assert sharp.max(axis=1).min() > soft.max(axis=1).min()


def test_documents_without_a_question_are_inactive_and_get_no_mass():
    values = np.random.default_rng(0).random((2, 3, 2))
    dataset, questions, scores = make(values, documents=tuple(Document(f"d{i}", f"a{i}") for i in range(3)))
    result = label(dataset, questions, scores, section(strategy="anchored", form="distribution"))
    assert result.active.tolist() == [True, True, False]
    assert result.targets[:, 2].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(result.targets.sum(axis=1), 1.0, rtol=1e-5)


def test_equal_answers_share_the_hard_label():
    documents = (Document("a", "same text"), Document("b", "other"), Document("c", "same text"))
    dataset = Dataset("twins", documents, (Question("q", ("a",)),))
    hard = share_equal_texts(Questions(dataset.questions).hard_labels(documents), dataset)
    assert hard.tolist() == [[1.0, 0.0, 1.0]]


def test_a_missing_score_is_left_out_and_said():
    values = np.array(VALUES)
    values[0, 0, 1] = np.nan
    result = label(*make(values), section(strategy="soft-1"))
    assert result.targets[0, 0] == pytest.approx(0.9)
    assert any("e1" in note and "25.0%" in note for note in result.warnings)


def panel(*, seed=0, questions=60, documents=20, strong=2.0, extra=()):
    """Scores of one informative expert, and of `extra` ones made from its scores and noise."""
    generator = np.random.default_rng(seed)
    truth = np.eye(documents)[generator.integers(documents, size=questions)]
    good = strong * truth + generator.normal(size=truth.shape)
    values = np.stack([good, *[make_one(good, truth, generator) for make_one in extra]], axis=2).astype(np.float32)
    return truth.astype(np.float32), values


def noise(good, truth, generator):
    return generator.normal(size=good.shape)


def adversary(good, truth, generator):
    return -2.0 * truth + generator.normal(size=good.shape)


def copy(good, truth, generator):
    return good + 0.01 * generator.normal(size=good.shape)


def weights_of(truth, values):
    known = np.ones(len(truth), bool)
    calibrated = calibrate(values, truth, known, method="zscore")
    experts, sharpness = weigh(tuple("abcdef"[: values.shape[2]]), calibrated, truth, shrinkage=0.1)
    return [expert.weight for expert in experts], sharpness


def test_noise_and_an_adversary_get_almost_no_weight():
    truth, values = panel(extra=(noise, noise, adversary))
    weights, _ = weights_of(truth, values)
    assert weights[0] > 0.7
    assert weights[3] < 0.02


def test_near_duplicates_share_one_weight():
    truth, values = panel(extra=(copy, copy, lambda g, t, r: 2.0 * t + r.normal(size=g.shape)))
    weights, _ = weights_of(truth, values)
    assert sum(weights[:3]) == pytest.approx(weights[3], abs=0.25)


def test_a_weak_expert_does_not_make_the_labels_worse():
    truth, values = panel(questions=200, extra=(noise, noise, noise, adversary))
    known = np.ones(len(truth), bool)
    known[100:] = False

    def held_out_loss(kept):
        calibrated = calibrate(kept, truth, known, method="zscore")
        experts, sharpness = weigh(tuple("abcde"[: kept.shape[2]]), calibrated[known], truth[known], shrinkage=0.1)
        merged = (calibrated[~known] * np.array([e.weight for e in experts])).sum(axis=2) * sharpness
        log_p = merged - np.log(np.exp(merged).sum(axis=1, keepdims=True))
        return -(truth[~known] * log_p).sum(axis=1).mean()

    assert held_out_loss(values) < held_out_loss(values[:, :, :1]) + 0.1


def test_a_weak_expert_does_not_make_the_targets_worse():
    """The target's mass on right answers that the labels were not told, over many panels.

    The pull towards equal weights is what gives a weak expert any say: with little of it, none is left.
    """

    def quality(values, truth):
        documents = tuple(Document(f"d{i}", f"a{i}") for i in range(truth.shape[1]))
        # The first half is the user's own; what the others were written for is a random answer, so only the panel can
        # tell the right one.
        written = np.random.default_rng(1).integers(truth.shape[1], size=len(truth))
        asked = tuple(
            Question(f"q{row}", (f"d{truth[row].argmax()}",))
            if row < len(truth) // 2
            else Question(f"q{row}", (f"d{written[row]}",), source="llm", kind="question")
            for row in range(len(truth))
        )
        names = tuple("abcdef"[: values.shape[2]])
        given_ = Dataset("panel", documents, asked), Questions(asked), Scores(names, values)
        made = label(*given_, section(strategy="weighted", form="distribution", shrinkage=0.01))
        return float((made.targets * truth)[len(truth) // 2 :].sum(axis=1).mean())

    gains = []
    for seed in range(20):
        truth, values = panel(seed=seed, questions=120, extra=(noise, adversary, noise))
        gains.append(quality(values, truth) - quality(values[:, :, :1], truth))
    assert np.mean(gains) > -0.005
    assert min(gains) > -0.05
    truth, values = panel(seed=0, questions=120, extra=(noise, adversary, noise))
    plain = values.mean(axis=2, keepdims=True)
    assert quality(values, truth) > quality(plain, truth) + 0.05


def base_and_other(*, better):
    truth, values = panel(
        questions=60, extra=(lambda good, truth, r: (4.0 if better else 0.2) * truth + noise(good, truth, r),)
    )
    documents = tuple(Document(f"d{i}", f"a{i}") for i in range(truth.shape[1]))
    asked = tuple(Question(f"q{row}", (f"d{truth[row].argmax()}",)) for row in range(len(truth)))
    return Dataset("panel", documents, asked), Questions(asked), Scores(("base", "other"), values)


def test_a_base_that_no_expert_beats_is_said_and_halves_the_panel_s_share():
    given_, chosen = base_and_other(better=False), section(strategy="anchored", form="distribution", hard_mix=0.5)
    told, plain = label(*given_, chosen, base="base"), label(*given_, chosen)
    assert any("no expert ranks your own questions better than the base base" in note for note in told.warnings)
    assert not plain.warnings
    hard = given_[1].hard_labels(given_[0].documents)
    np.testing.assert_allclose(told.targets, (plain.targets + hard) / 2, atol=1e-6)


def test_a_base_that_is_beaten_or_not_on_the_panel_changes_nothing():
    chosen = section(strategy="anchored", form="distribution")
    for given_, base in ((base_and_other(better=True), "base"), (base_and_other(better=False), "elsewhere")):
        told = label(*given_, chosen, base=base)
        assert not told.warnings
        np.testing.assert_array_equal(told.targets, label(*given_, chosen).targets)


def test_equal_answers_get_equal_targets():
    documents = (Document("a", "same text"), Document("b", "other"), Document("c", "same text"))
    values = np.array([[[0.9], [0.1], [0.9]], [[0.2], [0.8], [0.2]]], np.float32)
    questions = (Question("q", ("a",)), Question("r", ("b",)))
    made = label(
        *make(values, questions=questions, documents=documents), section(strategy="anchored", form="distribution")
    )
    np.testing.assert_array_equal(made.targets[:, 0], made.targets[:, 2])
    assert made.active.all()


def test_one_pair_gets_a_target():
    made = label(*make([[[0.4, 0.6]]]), section(strategy="anchored", form="distribution"))
    np.testing.assert_allclose(made.targets, [[1.0]])


def test_without_known_questions_experts_weigh_the_same():
    values = np.zeros((0, 4, 3), np.float32)
    experts, _ = weigh(("a", "b", "c"), values, np.zeros((0, 4), np.float32), shrinkage=0.1)
    assert [expert.weight for expert in experts] == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("method", ["zscore", "rank", "percentile", "isotonic"])
def test_calibration_keeps_each_question_s_order_and_ignores_scale(method):
    truth, values = panel(extra=(noise,))
    known = np.ones(len(truth), bool)
    plain = calibrate(values, truth, known, method=method)
    scaled = calibrate(values * 7 + 3, truth, known, method=method)
    np.testing.assert_allclose(plain, scaled, atol=2e-3)
    order = np.argsort(values[0, :, 0])
    assert (np.diff(plain[0, order, 0]) >= -1e-5).all()


def test_an_expert_without_an_opinion_counts_as_nothing():
    values = np.full((3, 4, 1), 0.5, np.float32)
    assert not calibrate(values, np.eye(3, 4, dtype=np.float32), np.ones(3, bool), method="zscore").any()


scores = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=5),
    elements=st.floats(0, 1, width=32),
)


@settings(max_examples=50, deadline=None)
@given(scores)
def test_soft_one_lies_between_the_lowest_and_the_highest_expert(values):
    targets = label(*make(values), section(strategy="soft-1")).targets
    assert (targets >= values.min(axis=2) - 1e-6).all()
    assert (targets <= values.max(axis=2) + 1e-6).all()


@settings(max_examples=50, deadline=None)
@given(scores, st.permutations(range(3)))
def test_the_order_of_experts_does_not_matter(values, order):
    values = np.stack([values[:, :, k % values.shape[2]] for k in range(3)], axis=2)
    chosen = section(strategy="anchored", form="distribution")
    first, second = label(*make(values), chosen), label(*make(values[:, :, list(order)]), chosen)
    np.testing.assert_allclose(first.targets, second.targets, atol=5e-3)
