"""Label strategies against hand-computed values, and properties that must hold for any panel."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import optimize, special, stats
from sklearn.isotonic import IsotonicRegression

from expertune.config import LabelSection
from expertune.label import stage, strategies, weights
from expertune.label.calibrate import calibrate
from expertune.label.hard_labels import led_to, share_equal_texts
from expertune.label.stage import Labeller
from expertune.label.weights import cross_entropy, folds_by_answer, left_out, ndcg, panel_fit, weigh
from expertune.records import Dataset, Document, Provenance, Question, Questions, Scores


def make(values, *, questions=None, documents=None):
    values = np.asarray(values, dtype=np.float32)
    rows, columns, experts = values.shape
    documents = documents or tuple(Document(f"d{i}", f"answer {i}") for i in range(columns))
    questions = questions or tuple(Question(f"q{i}", (documents[i % columns].id,)) for i in range(rows))
    dataset = Dataset("hand", tuple(documents), questions)
    return dataset, Questions(questions), Scores(tuple(f"e{k}" for k in range(experts)), values)


def section(form="similarity", strategy="soft-1", **changes):
    """Return what `label` takes: the section, and whether targets are distributions."""
    return LabelSection(strategy=strategy, **changes), form == "distribution"


def label(dataset, questions, scores, chosen, **options):
    return stage.label(dataset, questions, scores, chosen[0], listwise=chosen[1], **options)


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


def test_an_expert_whose_scores_leave_the_range_of_cosines_does_not_drown_the_others():
    words = [[14.0, 3.5], [7.0, 0.0]]  # between 0 and 14, as BM25's; brought to [0, 1]: 1, 0.25, 0.5, 0
    cosines = [[0.1, 0.6], [-0.2, 0.7]]
    values = np.stack([cosines, words], axis=2)
    result = label(*make(values), section())
    np.testing.assert_allclose(result.targets, [[0.55, 0.425], [0.15, 0.35]], atol=1e-6)


def test_a_panel_of_cosines_is_taken_as_it_is():
    values = np.array([[[0.9, -0.5], [0.1, 1.0004]]], dtype=np.float32)
    assert strategies.on_one_scale(values) is values


def test_an_expert_with_one_score_for_all_stays_finite():
    values = np.full((2, 2, 1), 7.0, dtype=np.float32)
    assert strategies.on_one_scale(values).tolist() == np.zeros((2, 2, 1)).tolist()


def test_trimmed_mean_drops_the_extremes():
    values = np.array([[[0.0, 0.4, 0.5, 1.0], [0.1, 0.1, 0.1, 0.1]], [[0.2] * 4, [0.3] * 4]])
    result = label(*make(values), section(strategy="trimmed"))
    assert result.targets[0, 0] == pytest.approx(0.45)


def test_the_hard_weight_of_soft_two_is_used(monkeypatch):
    monkeypatch.setattr(strategies, "SOFT_2_HARD_WEIGHT", 0.0)
    low = label(*make(VALUES), section(strategy="soft-2")).targets
    np.testing.assert_allclose(low, label(*make(VALUES), section(strategy="soft-1")).targets, atol=1e-6)


def test_distribution_of_a_similarity_is_a_softmax_at_the_temperature(monkeypatch):
    monkeypatch.setattr(strategies, "TEMPERATURE", 0.1)
    result = label(*make(VALUES), section(strategy="soft-1", form="distribution"))
    expected = np.exp(np.array([7.0, 2.0])) / np.exp(np.array([7.0, 2.0])).sum()
    np.testing.assert_allclose(result.targets[0], expected, rtol=1e-5)


def test_mixed_is_a_mix_of_weighted_and_hard(monkeypatch):
    monkeypatch.setattr(stage, "LABELLED_HARD_WEIGHT", 0.25)
    given_ = make(VALUES)
    soft = label(*given_, section(strategy="weighted", form="distribution")).targets
    mixed = label(*given_, section(strategy="mixed", form="distribution")).targets
    np.testing.assert_allclose(mixed, 0.75 * soft + 0.25 * np.eye(2), atol=1e-6)


def test_known_answers_are_surer_than_guessed_ones():
    dataset, questions, scores = make(np.random.default_rng(0).random((2, 2, 2)))
    first, second = questions.items
    questions = Questions((first, replace(second, provenance=Provenance.SYNTHETIC)))
    soft = label(dataset, questions, scores, section(strategy="weighted", form="distribution")).targets
    mixed = label(dataset, questions, scores, section(strategy="mixed", form="distribution", hard_weight=0.25)).targets
    np.testing.assert_allclose(mixed[0], [1.0, 0.0])
    np.testing.assert_allclose(mixed[1], 0.75 * soft[1] + 0.25 * np.array([0.0, 1.0]), atol=1e-6)


def test_documents_without_a_question_are_inactive_and_get_no_mass():
    values = np.random.default_rng(0).random((2, 3, 2))
    dataset, questions, scores = make(values, documents=tuple(Document(f"d{i}", f"a{i}") for i in range(3)))
    result = label(dataset, questions, scores, section(strategy="mixed", form="distribution"))
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
    experts, sharpness = weigh(tuple("abcdef"[: values.shape[2]]), calibrated, truth)
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
        experts, sharpness = weigh(tuple("abcde"[: kept.shape[2]]), calibrated[known], truth[known])
        merged = (calibrated[~known] * np.array([e.weight for e in experts])).sum(axis=2) * sharpness
        log_p = merged - np.log(np.exp(merged).sum(axis=1, keepdims=True))
        return -(truth[~known] * log_p).sum(axis=1).mean()

    assert held_out_loss(values) < held_out_loss(values[:, :, :1]) + 0.1


def test_a_weak_expert_does_not_make_the_targets_worse(monkeypatch):
    """The target's mass on right answers that the labels were not told, over many panels.

    The pull towards equal weights is what gives a weak expert any say: with little of it, none is left.
    """
    monkeypatch.setattr(weights, "SHRINKAGE", 0.01)

    def quality(values, truth):
        documents = tuple(Document(f"d{i}", f"a{i}") for i in range(truth.shape[1]))
        # The first half is the user's own; what the others were written for is a random answer, so only the panel can
        # tell the right one.
        written = np.random.default_rng(1).integers(truth.shape[1], size=len(truth))
        asked = tuple(
            Question(f"q{row}", (f"d{truth[row].argmax()}",))
            if row < len(truth) // 2
            else Question(f"q{row}", (f"d{written[row]}",), Provenance.SYNTHETIC, "llm", "question")
            for row in range(len(truth))
        )
        names = tuple("abcdef"[: values.shape[2]])
        given_ = Dataset("panel", documents, asked), Questions(asked), Scores(names, values)
        made = label(*given_, section(strategy="weighted", form="distribution"))
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
    given_, chosen = base_and_other(better=False), section(strategy="mixed", form="distribution", hard_weight=0.5)
    told, plain = label(*given_, chosen, base="base"), label(*given_, chosen)
    assert any("no expert ranks your labelled questions better than the base base" in note for note in told.warnings)
    assert not plain.warnings
    hard = given_[1].hard_labels(given_[0].documents)
    np.testing.assert_allclose(told.targets, (plain.targets + hard) / 2, atol=1e-6)


def test_a_base_that_is_beaten_or_not_on_the_panel_changes_nothing():
    chosen = section(strategy="mixed", form="distribution")
    for given_, base in ((base_and_other(better=True), "base"), (base_and_other(better=False), "elsewhere")):
        told = label(*given_, chosen, base=base)
        assert not told.warnings
        np.testing.assert_array_equal(told.targets, label(*given_, chosen).targets)


def test_equal_answers_get_equal_targets():
    documents = (Document("a", "same text"), Document("b", "other"), Document("c", "same text"))
    values = np.array([[[0.9], [0.1], [0.9]], [[0.2], [0.8], [0.2]]], np.float32)
    questions = (Question("q", ("a",)), Question("r", ("b",)))
    made = label(
        *make(values, questions=questions, documents=documents), section(strategy="mixed", form="distribution")
    )
    np.testing.assert_array_equal(made.targets[:, 0], made.targets[:, 2])
    assert made.active.all()


def test_one_pair_gets_a_target():
    made = label(*make([[[0.4, 0.6]]]), section(strategy="mixed", form="distribution"))
    np.testing.assert_allclose(made.targets, [[1.0]])


def test_without_known_questions_experts_weigh_the_same():
    values = np.zeros((0, 4, 3), np.float32)
    experts, _ = weigh(("a", "b", "c"), values, np.zeros((0, 4), np.float32))
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
    chosen = section(strategy="mixed", form="distribution")
    first, second = label(*make(values), chosen), label(*make(values[:, :, list(order)]), chosen)
    np.testing.assert_allclose(first.targets, second.targets, atol=5e-3)


# --- calibrations against independent ones ----------------------------------------------------------------------------

GAPS = np.array(
    [
        [0.9, np.nan, 0.1, 0.4, 0.4, 7.0],
        [0.2, 0.3, np.nan, np.nan, 0.8, 0.5],
        [0.7, 0.6, 0.5, 0.4, 0.3, -9.0],
        [0.1, 0.2, 0.8, 0.6, 0.65, 0.7],
    ],
    np.float32,
)
GAPS_HARD = np.array([[1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]], np.float32)
FIRST_THREE = np.array([True, True, True, False])


def calibrated(method, values=GAPS, hard=GAPS_HARD, known=FIRST_THREE):
    made = calibrate(values[:, :, None], hard, known, method=method)
    assert made.dtype == np.float32
    assert (np.isnan(made[:, :, 0]) == np.isnan(values)).all()
    return made[:, :, 0]


def z_scores(values):
    return np.where(np.isnan(values), np.nan, stats.zscore(values.astype(np.float64), axis=None, nan_policy="omit"))


def test_z_scores_are_scipys_of_the_scored_documents_of_each_question():
    for row, made in zip(GAPS, calibrated("zscore"), strict=True):
        scored = ~np.isnan(row)
        np.testing.assert_allclose(made[scored], stats.zscore(row[scored]), rtol=1e-4)


@pytest.mark.parametrize("method", ["zscore", "rank", "percentile", "isotonic"])
def test_an_expert_that_scores_every_document_alike_tells_nothing(method):
    # In float32 the mean of 77 times 0.3 is not 0.3.
    values, hard = np.full((2, 77), 0.3, np.float32), np.eye(2, 77, dtype=np.float32)
    np.testing.assert_array_equal(calibrated(method, values, hard, np.ones(2, bool)), 0.0)


def test_ranks_are_normal_scores_of_the_scored_documents_of_each_question():
    for row, made in zip(GAPS, calibrated("rank"), strict=True):
        scored = row[~np.isnan(row)]
        normal = stats.norm.ppf((stats.rankdata(scored) - 0.5) / len(scored))
        np.testing.assert_allclose(made[~np.isnan(row)], stats.zscore(normal), rtol=1e-4)


def test_one_scored_document_has_no_rank_to_speak_of():
    alone = np.array([[0.3, np.nan, np.nan], [0.1, 0.2, 0.3]], np.float32)
    assert calibrated("rank", alone, np.eye(2, 3, dtype=np.float32), np.ones(2, bool))[0, 0] == 0.0


def test_percentiles_cut_an_expert_s_outliers_off():
    values = np.concatenate([np.linspace(-1, 1, 398), [50.0, -70.0]]).astype(np.float32).reshape(20, 20)
    low, high = np.percentile(values, [1, 99])
    expected = stats.zscore(np.clip((values - low) / (high - low), 0, 1), axis=None)
    made = calibrated("percentile", values, np.eye(20, dtype=np.float32), np.ones(20, bool))
    np.testing.assert_allclose(made, expected, atol=1e-4)


def test_isotonic_is_the_log_odds_that_known_questions_teach():
    standard = calibrated("zscore").astype(np.float64)
    seen = ~np.isnan(standard[:3])
    x, y = standard[:3][seen], GAPS_HARD[:3][seen]
    floor = 0.5 / len(y)
    model = IsotonicRegression(y_min=floor, y_max=1 - floor, out_of_bounds="clip").fit(x, y)
    odds = np.full(GAPS.shape, np.nan)
    scored = ~np.isnan(standard)
    odds[scored] = special.logit(model.predict(standard[scored])) + 0.1 * standard[scored]
    np.testing.assert_allclose(calibrated("isotonic"), z_scores(odds), rtol=2e-3, atol=2e-3)


def test_isotonic_has_nothing_to_learn_where_no_answer_is_known():
    for hard in (np.zeros_like(GAPS_HARD), np.ones_like(GAPS_HARD)):
        np.testing.assert_array_equal(calibrated("isotonic", hard=hard), calibrated("zscore"))


# --- merging, bit by bit ----------------------------------------------------------------------------------------------


def test_the_calibrated_strategy_is_the_normal_share_of_the_mean():
    given_ = make(np.random.default_rng(3).normal(size=(4, 5, 3)))
    calibrated_ = calibrate(given_[2].values, np.eye(4, 5, dtype=np.float32), np.ones(4, bool), method="zscore")
    expected = stats.norm.cdf(calibrated_.mean(axis=2) - 2.0)
    made = label(*given_, section(strategy="calibrated")).targets
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("scores_of_a_pair", "expected"),
    [
        ([0.2, 0.9], 0.55),  # two: nobody is an outlier
        ([0.2, 0.3, 0.9], 0.3),  # three: the middle one
        ([0.0] * 2 + [0.4] * 12 + [0.9] * 2, 0.4),  # sixteen: an eighth on each side
        ([np.nan, 0.1, 0.5, 0.9], 0.5),
        ([np.nan, np.nan, np.nan], 0.0),
    ],
)
def test_trimmed_means_by_hand(scores_of_a_pair, expected):
    filler = np.full(len(scores_of_a_pair), 0.25)
    made = label(*make([[scores_of_a_pair, filler], [filler, filler]]), section(strategy="trimmed")).targets
    assert made[0, 0] == pytest.approx(expected)
    assert made[1, 1] == pytest.approx(0.25)


@pytest.mark.parametrize("strategy", ["soft-1", "soft-3", "median", "trimmed"])
def test_similarities_lie_in_range_and_are_float32(strategy):
    values = [[[3.0, 4.0, 5.0], [-3.0, -2.0, -1.0]], [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]]
    made = label(*make(values), section(strategy=strategy)).targets
    assert made.dtype == np.float32
    # Each expert leaves [-1, 1]: its lowest score counts as 0, its highest as 1.
    np.testing.assert_allclose(made[0], [1.0, 0.0])
    assert ((made[1] > 0.0) & (made[1] < 1.0)).all()


def test_labels_of_some_rows_are_learned_from_these_alone():
    given_ = base_and_other(better=False)
    rows = np.array([3, 1, 7, 20])
    part = tuple(given_[1].items[row] for row in rows)
    for chosen in (section(strategy="mixed", form="distribution"), section(strategy="calibrated")):
        expected = label(
            given_[0], Questions(part), Scores(("base", "other"), given_[2].values[rows]), chosen, base="base"
        )
        made = Labeller(*given_, chosen[0], base="base", listwise=chosen[1]).targets(rows)
        np.testing.assert_array_equal(made.targets, expected.targets)
        assert (made.warnings, made.strategy, made.panel) == (expected.warnings, chosen[0].strategy, expected.panel)


def test_only_known_questions_teach_the_weights():
    """Generated questions that praise the noise do not make it an expert."""
    truth, values = panel(extra=(noise,))
    documents = tuple(Document(f"d{i}", f"a{i}") for i in range(truth.shape[1]))
    own = tuple(Question(f"q{row}", (f"d{truth[row].argmax()}",)) for row in range(len(truth)))
    liked = tuple(
        Question(f"g{row}", (f"d{values[row, :, 1].argmax()}",), Provenance.SYNTHETIC, "llm", "short")
        for row in range(len(truth))
    )
    dataset = Dataset("panel", documents, own)
    chosen = section(strategy="weighted", form="distribution")
    alone = label(dataset, Questions(own), Scores(("good", "noise"), values), chosen)
    both = label(dataset, Questions((*own, *liked)), Scores(("good", "noise"), np.concatenate([values] * 2)), chosen)
    assert [expert.weight for expert in both.panel] == pytest.approx([expert.weight for expert in alone.panel])


def test_quality_is_scikit_learns_ndcg_with_what_is_unscored_last():
    values = np.array([[0.9, np.nan, 0.1], [0.1, 0.5, 0.7]], np.float32)
    hard = np.array([[0, 1, 0], [0, 1, 0]], np.float32)
    assert ndcg(values, hard) == pytest.approx((1 / np.log2(4) + 1 / np.log2(3)) / 2)
    assert np.isnan(ndcg(values, np.zeros_like(hard)))
    assert np.isnan(ndcg(values[:, :1], hard[:, :1]))
    assert 0 < ndcg(np.full_like(values, np.nan), hard) < 1


def test_who_did_not_score_a_pair_has_no_say_in_it():
    values = np.random.default_rng(8).normal(size=(6, 5, 3)).astype(np.float32)
    values[0, 1, 0] = values[2, 3, :2] = values[4, 2, :] = np.nan
    given_ = make(values)
    scaled = calibrate(given_[2].values, np.eye(6, 5, dtype=np.float32), np.ones(6, bool), method="zscore")
    expected = np.ma.masked_invalid(scaled).mean(axis=2).filled(0.0)
    made = label(*given_, section(strategy="calibrated")).targets
    np.testing.assert_allclose(made, stats.norm.cdf(expected - 2.0), atol=1e-6)
    told = label(*given_, section(strategy="weighted", form="distribution"))
    weights = np.array([expert.weight for expert in told.panel])
    merged = np.ma.average(np.ma.masked_invalid(scaled), axis=2, weights=np.broadcast_to(weights, scaled.shape))
    logits = np.log(np.asarray(told.targets, np.float64))
    # A softmax keeps differences: they are those of the merged scores, times one sharpness.
    ratio = (logits[:, 1:] - logits[:, :-1]) / np.diff(merged.filled(0.0), axis=1)
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-3)


# --- candidates in place of the whole matrix --------------------------------------------------------------------------

TWINS = tuple(Document(f"d{i}", text) for i, text in enumerate(["same", "b", "c", "same ", "e"]))
SOME = np.array([[0, 3, 1], [4, 2, 1]])  # of the first question its answer and its answer's twin, of the second its own


def test_candidates_share_equal_texts_and_are_active_where_some_question_leads_to_them():
    asked = (Question("q0", ("d0",)), Question("q1", ("d4",)))
    dataset = Dataset("twins", TWINS, asked)
    hard = share_equal_texts(Questions(asked).hard_labels(TWINS, SOME), dataset, SOME)
    assert hard.dtype == np.float32
    assert hard.tolist() == [[1, 1, 0], [1, 0, 0]]
    assert led_to(hard, dataset, SOME).tolist() == [True, False, False, True, True]


@pytest.mark.parametrize("strategy", ["soft-1", "hard", "weighted", "mixed"])
def test_targets_of_candidates_are_those_of_the_same_columns_alone(strategy):
    asked = (Question("q0", ("d0",)), Question("q1", ("d4",)))
    dataset, values = Dataset("twins", TWINS, asked), np.random.default_rng(2).random((2, 3, 2)).astype(np.float32)
    made = label(
        dataset,
        Questions(asked),
        Scores(("a", "b"), values, columns=SOME),
        section(strategy=strategy, form="distribution"),
    )
    assert made.columns is SOME
    assert made.listwise
    assert made.active.tolist() == [True, False, False, True, True]
    targets = np.asarray(made.targets)
    np.testing.assert_allclose(targets.sum(axis=1), 1.0, atol=1e-6)
    assert (targets[:, 2].tolist(), targets[1, 1:].tolist()) == ([0.0, 0.0], [0.0, 0.0])
    if strategy == "hard":
        assert targets.tolist() == [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]
    if strategy == "soft-1":
        expected = special.softmax(values[0, :2].mean(axis=1) / 0.05)
        np.testing.assert_allclose(targets[0, :2], expected, rtol=1e-4)


# --- weights and what is said of them ---------------------------------------------------------------------------------


def test_weights_minimise_the_stated_objective(monkeypatch):
    monkeypatch.setattr(weights, "SHRINKAGE", 0.5)
    truth, values = panel(questions=12, documents=6, strong=1.0, extra=(noise, copy))
    z = calibrate(values, truth, np.ones(len(truth), bool), method="zscore").astype(np.float64)

    def objective(w):
        fit = -(truth * special.log_softmax(z @ w, axis=1)).sum(axis=1).mean()
        return fit + 0.5 * 20 / 12 * ((w - w.mean()) ** 2).sum()

    best = optimize.minimize(objective, np.full(3, 0.5), method="Nelder-Mead", bounds=[(0, 10)] * 3, tol=1e-10).x
    experts, sharpness = weigh(("a", "b", "c"), z.astype(np.float32), truth)
    assert [expert.weight for expert in experts] == pytest.approx((best / best.sum()).tolist(), abs=2e-3)
    assert sharpness == pytest.approx(max(best.sum(), 1.0), abs=5e-3)


def test_questions_without_a_known_answer_among_the_columns_teach_nothing():
    truth, values = panel(questions=20, documents=6)
    more = np.concatenate([values, values[:5] * -1]), np.concatenate([truth, np.zeros((5, 6), np.float32)])
    alone, both = (weigh(("a",), v, t) for v, t in ((values, truth), more))
    assert both[1] == pytest.approx(alone[1])
    assert both[0][0].ndcg == pytest.approx(alone[0][0].ndcg)


def test_the_note_on_an_unbeaten_base_in_every_word():
    given_ = base_and_other(better=False)
    told = label(*given_, section(strategy="mixed", form="distribution"), base="base")
    base, other = (100 * expert.ndcg for expert in told.panel)
    assert told.warnings == (
        f"no expert ranks your labelled questions better than the base base (nDCG@10 {base:.1f}, best other "
        f"{other:.1f}): known answers count for more, the panel for less",
    )


def test_a_base_as_good_as_the_best_expert_is_not_beaten():
    truth, values = panel()
    documents = tuple(Document(f"d{i}", f"a{i}") for i in range(truth.shape[1]))
    asked = tuple(Question(f"q{row}", (f"d{truth[row].argmax()}",)) for row in range(len(truth)))
    scores_of_twins = Scores(("base", "twin"), np.concatenate([values, values], axis=2))
    told = label(
        Dataset("panel", documents, asked),
        Questions(asked),
        scores_of_twins,
        section(strategy="mixed", form="distribution"),
        base="base",
    )
    assert len(told.warnings) == 1


def test_a_question_of_a_log_is_labelled_by_the_panel_alone_and_teaches_no_weights():
    values = np.array([[[4.0, 1.0], [1.0, 2.0], [0.0, 0.0]], [[1.0, 0.5], [3.0, 2.0], [0.0, 0.1]]])
    asked = np.array([[[1.0, 0.0], [0.0, 0.0], [2.0, 1.0]]])
    known = (Question("q0", ("d0",)), Question("q1", ("d1",)))
    without = label(*make(values, questions=known), section("distribution", "mixed"))
    dataset, questions, scores = make(
        np.concatenate([values, asked]), questions=(*known, Question("what else", (), Provenance.LOG))
    )
    made = label(dataset, questions, scores, section("distribution", "mixed"))
    assert made.panel == without.panel
    np.testing.assert_array_equal(made.targets[:2], without.targets)
    # It makes no answer active, and its target is the panel's softmax over those that are.
    assert made.active.tolist() == [True, True, False]
    hard = np.eye(3, dtype=np.float32)
    calibrated = calibrate(scores.values, hard, questions.labelled, method="zscore")
    weights_ = np.array([expert.weight for expert in made.panel])
    _, sharpness = weigh(scores.experts, calibrated[:2], hard[:2])
    expected = special.softmax((calibrated[2] @ weights_ * sharpness)[:2])
    np.testing.assert_allclose(made.targets[2], [*expected, 0.0], rtol=1e-4)


# --- weights and the questions that teach them ------------------------------------------------------------------------


def test_questions_about_one_answer_are_left_out_together():
    hard = np.eye(6, dtype=np.float32)[[0, 1, 0, 2, 3, 1, 4, 5]]
    folds = folds_by_answer(hard)
    assert folds[0] == folds[2]
    assert folds[1] == folds[5]
    assert set(folds) == set(range(5))
    # Of candidates the column tells nothing: both questions are about document 7.
    columns = np.array([[3, 7], [7, 9]])
    found = folds_by_answer(np.array([[0, 1], [1, 0]], np.float32), columns)
    assert found[0] == found[1]


def test_cross_entropy_by_hand():
    merged = np.log(np.array([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6], [1.0, 1.0, 1.0]], np.float32))
    hard = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 0]], np.float32)
    expected = [np.log(2), -(np.log(0.2) + np.log(0.6)) / 2, 0.0]
    np.testing.assert_allclose(cross_entropy(merged, hard), expected, rtol=1e-6)


def test_no_question_teaches_the_weights_that_judge_it():
    truth, values = panel(questions=30, extra=(noise, adversary))
    calibrated = calibrate(values, truth, np.ones(30, bool), method="zscore")
    folds = folds_by_answer(truth)
    before = left_out(calibrated, truth, folds)
    held = folds == 0
    # Other right answers for the left-out fold change what the others are judged by, and never itself.
    moved = np.where(held[:, None], np.roll(truth, 1, axis=1), truth)
    after = left_out(calibrated, moved, folds)
    np.testing.assert_array_equal(before[held], after[held])
    assert not np.array_equal(before[~held], after[~held])


def test_the_two_cross_entropies_stand_side_by_side():
    truth, values = panel(questions=30, extra=(noise, adversary))
    calibrated = calibrate(values, truth, np.ones(30, bool), method="zscore")
    folds = folds_by_answer(truth)
    experts, sharpness = weigh(("a", "b", "c"), calibrated, truth)
    merged = calibrated @ np.array([expert.weight for expert in experts]) * sharpness
    found = panel_fit(calibrated, truth, folds)
    assert found.questions == 30
    assert found.sharpness == pytest.approx(sharpness)
    assert found.in_sample == pytest.approx(cross_entropy(merged.astype(np.float32), truth).mean(), rel=1e-5)
    losses = {
        scale: cross_entropy(np.float32(scale) * left_out(calibrated, truth, folds), truth).mean()
        for scale in (0.9, 1.0, 1.1, found.left_out_sharpness / sharpness)
    }
    assert found.left_out == pytest.approx(losses[1.0])
    assert min(losses, key=losses.__getitem__) == found.left_out_sharpness / sharpness
    assert found.in_sample < found.left_out < found.guessing == pytest.approx(np.log(20))


def test_a_panel_that_knows_nothing_is_surer_than_left_out_questions_bear_out():
    truth, values = panel(questions=20, strong=0.0, extra=(noise,) * 5)
    calibrated = calibrate(values, truth, np.ones(20, bool), method="zscore")
    found = panel_fit(calibrated, truth, folds_by_answer(truth))
    assert found.left_out_sharpness < found.sharpness / 2
    assert found.left_out > found.guessing


def test_few_questions_or_one_answer_tell_nothing_of_others():
    truth, values = panel(questions=7)
    calibrated = calibrate(values, truth, np.ones(7, bool), method="zscore")
    assert panel_fit(calibrated, truth, folds_by_answer(truth)) is None
    truth, values = panel(questions=20)
    truth = np.eye(20, dtype=np.float32)[[3] * 20]
    assert panel_fit(values, truth, folds_by_answer(truth)) is None
