"""What the verdict says about measurements whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from expertune.evaluate import statistics
from expertune.evaluate import verdict as module
from expertune.evaluate.stage import compare
from expertune.evaluate.statistics import detectable_from, stratified_interval
from expertune.evaluate.verdict import adjusted, read, verdict
from expertune.records import METRIC, Basis, Comparison, Hits, Measurement, PanelDiagnostics, PanelFit, Role, Separation

pytestmark = pytest.mark.usefixtures("few_resamples")


def pair(name, role, base, tuned, *, questions_per_answer=1):
    """Measure the same questions twice; every `questions_per_answer` of them share an answer."""
    count = len(base)
    ids = tuple(f"q{index}" for index in range(count))
    clusters = tuple(f"a{index // questions_per_answer}" for index in range(count))
    dataset, split = name.split("/")

    def measured(model, values):
        values = np.clip(np.asarray(values, dtype=np.float64), 0, 1)
        metrics = dict.fromkeys(("ndcg@10", "map@10", "mrr@10", "recall@10"), values)
        return Measurement(dataset, split, role, model, ids, clusters, metrics, (1,) * count, ((),) * count)

    return measured("base", base), measured("tuned", tuned)


def moved(name, role, difference, *, count=120, spread=0.05, seed=0, **options):
    """Make a pair whose mean difference is exactly `difference`."""
    generator = np.random.default_rng(seed)
    base = generator.uniform(0.4, 0.6, count)
    noise = generator.normal(0, spread, count)
    return pair(name, role, base, base + difference + noise - noise.mean(), **options)


def decide(*pairs, separations=(), tolerance=0.01):
    comparisons = [item for base, tuned in pairs for item in compare(base, tuned)]
    measurements = [item for both in pairs for item in both]
    return verdict(comparisons, measurements, separations, tolerance=tolerance)


def separated(auroc=0.9, ks=0.7, model="tuned"):
    return Separation("shop", "test", model, 0.5, 0.01, auroc, ks, 0.2, (0.0, 1.0), (1.0,), (1.0,))


def test_a_clear_gain_without_loss_ships_and_says_so_in_points():
    found = decide(moved("shop/test", Role.DOMAIN, 0.087), moved("med/test", Role.GENERAL, -0.002, seed=1, spread=0.03))
    assert (found.domain, found.general, found.ship) == ("better", "no difference shown", True)
    base = np.random.default_rng(0).uniform(0.4, 0.6, 120).mean() * 100
    assert found.why.startswith(
        f"nDCG@10 in the domain rises from {base:.1f} to {base + 8.7:.1f} points (+8.7, 95 % interval +7."
    )
    assert "120 questions); general ability falls by 0.2 points (-0." in found.why
    assert (found.decision, found.action, found.tone) == ("Better", "Use the tuned model.", "shown")
    assert found.diagnostics == ()


def test_no_evidence_names_the_smallest_visible_difference():
    found = decide(moved("shop/test", Role.DOMAIN, 0.004, count=50, spread=0.1))
    assert (found.domain, found.ship) == ("no difference shown", False)
    # 2.85 standard errors of about 0.1 / sqrt(50), in points.
    detectable = float(found.why.rsplit(" ", 2)[1])
    assert detectable == pytest.approx(285 * 0.1 / np.sqrt(50), rel=0.2)
    assert found.decision == "No difference shown"
    assert "general ability was not measured" in found.why


def test_general_sets_too_small_to_show_a_loss_are_not_sold_as_no_harm():
    domain = moved("shop/test", Role.DOMAIN, 0.087)
    few = decide(domain, moved("med/test", Role.GENERAL, -0.002, count=20, spread=0.1, seed=1))
    assert (few.general, few.ship) == ("no difference shown", True)
    assert "): no loss is shown, but the general questions are too few to exclude one of more than the 1.0" in few.why
    many = decide(domain, moved("med/test", Role.GENERAL, -0.002, count=400, spread=0.03, seed=1))
    assert (many.general, many.ship) == ("no difference shown", True)
    assert "too few" not in many.why


@pytest.mark.parametrize(
    ("difference", "low", "high", "expected"),
    [
        (0.05, 0.001, 0.1, "better"),
        (-0.05, -0.1, -0.001, "worse"),
        (0.032, -0.001, 0.081, "likely better"),
        (0.029, -0.001, 0.092, "likely better"),
        (0.03, -0.014, 0.08, "likely better"),
        (0.03, -0.015, 0.08, "no difference shown"),
        (-0.03, -0.08, 0.014, "likely worse"),
        (-0.03, -0.08, 0.015, "no difference shown"),
        (0.0, 0.0, 0.0, "no difference shown"),
        (0.3, -1.0, 1.0, "no difference shown"),
    ],
)
def test_the_rule_looks_at_the_gain_and_its_interval_alone(difference, low, high, expected):
    assert read(difference, low, high) == expected


@given(st.floats(-0.5, 0.5), st.floats(0, 0.4), st.floats(0, 0.4))
def test_the_rule_reads_a_loss_as_the_mirror_of_a_gain(difference, below, above):
    mirrored = {"better": "worse", "worse": "better", "likely better": "likely worse", "likely worse": "likely better"}
    found = read(difference, difference - below, difference + above)
    other = read(-difference, -difference - above, -difference + below)
    assert other == mirrored.get(found, found)


def test_a_likely_gain_ships_and_is_not_called_shown(monkeypatch):
    # 1.5 standard errors: p is about 0.14, between one in five and one in twenty.
    likely = moved("shop/test", Role.DOMAIN, 0.015, count=100, spread=0.1)
    found = decide(likely)
    assert (found.domain, found.ship, found.tone) == ("likely better", True, "likely")
    assert found.decision == "Likely better"
    assert found.action == "Use the tuned model, and be ready to go back: the gain is likely, but not shown."
    assert ". No difference is shown: the smallest one that these" in found.why
    assert "less than half of the gain beyond zero, which makes it likely." in found.why
    monkeypatch.setattr(module, "REACH", 0.0)
    strict = decide(likely)
    assert (strict.domain, strict.ship, strict.tone) == ("no difference shown", False, "likely")
    assert strict.why.endswith("points.")


def ranked(before, after):
    ids = tuple(f"q{index}" for index in range(len(before)))
    return [
        Measurement(
            "shop", "test", Role.DOMAIN, model, ids, ids, {METRIC: 1 / np.array(ranks)}, ranks, ((),) * len(ids)
        )
        for model, ranks in (("base", before), ("tuned", after))
    ]


def test_the_headline_counts_questions_that_find_their_answer_first():
    found = verdict((), ranked((1, 2, 4, 1, 9), (1, 1, 2, 3, 9)), (), tolerance=0.01)
    assert found.hits == Hits(5, first=(2, 2), three=(3, 4), gained=1, lost=1)
    assert found.headline == "Right answer first: 2 of 5 questions before tuning, 2 after."


def test_questions_of_the_users_own_decide_nothing():
    found = verdict((), ranked((2,) * 30, (1,) * 30), (), tolerance=0.01, basis=Basis.OWN)
    assert (found.domain, found.ship, found.basis, found.tone) == ("better", None, Basis.OWN, "likely")
    assert found.decision == "Better on your own questions"
    assert found.headline == "Right answer first: 0 of 30 of your own questions before tuning, 30 after."
    worse = verdict((), ranked((1,) * 30, (2,) * 30), (), tolerance=0.01, basis=Basis.OWN)
    assert (worse.decision, worse.ship, worse.tone) == ("Worse on your own questions", None, "worse")
    assert worse.action.startswith("Keep the model you tuned from (the base), and collect questions that users asked")


def test_a_likely_general_loss_forbids_shipping():
    lost = moved("med/test", Role.GENERAL, -0.015, count=100, spread=0.1, seed=1)
    found = decide(moved("shop/test", Role.DOMAIN, 0.08), lost)
    assert (found.domain, found.general, found.ship) == ("better", "likely worse", False)
    assert "more than the 1.0 allowed." in found.why
    assert found.decision == "Better here, worse elsewhere"
    assert found.tone == "worse"


def test_a_loss_does_not_ship():
    found = decide(moved("shop/test", Role.DOMAIN, -0.05), moved("med/test", Role.GENERAL, 0.03, seed=1))
    assert (found.domain, found.general, found.ship) == ("worse", "better", False)
    assert "falls from" in found.why
    assert any("while general sets rise by 3.0" in sentence for sentence in found.diagnostics)


def test_a_general_loss_above_the_tolerance_forbids_shipping():
    domain = moved("shop/test", Role.DOMAIN, 0.08)
    lost = moved("med/test", Role.GENERAL, -0.02, seed=1, spread=0.02)
    found = decide(domain, lost)
    assert (found.domain, found.general, found.ship) == ("better", "worse", False)
    assert "more than the 1.0 allowed." in found.why
    patient = decide(domain, lost, tolerance=0.03)
    assert (patient.general, patient.ship) == ("worse", True)


def test_a_significant_but_small_general_loss_still_ships():
    found = decide(moved("shop/test", Role.DOMAIN, 0.08), moved("med/test", Role.GENERAL, -0.005, seed=1, spread=0.01))
    assert (found.general, found.ship) == ("worse", True)


def test_one_collapsed_general_set_forbids_shipping_though_the_mean_is_fine():
    found = decide(
        moved("shop/test", Role.DOMAIN, 0.08),
        moved("med/test", Role.GENERAL, -0.05, seed=1, spread=0.02),
        moved("law/test", Role.GENERAL, 0.06, seed=2, spread=0.02),
    )
    assert (found.domain, found.ship) == ("better", False)
    assert "med/test falls by 5.0 points" in found.why
    assert any("between the general sets" in sentence for sentence in found.diagnostics)


def test_a_worse_split_is_named_and_forbids_shipping():
    found = decide(moved("shop/test_seen", Role.DOMAIN, 0.2), moved("shop/test_unseen", Role.DOMAIN, -0.05, seed=1))
    assert (found.domain, found.ship) == ("better", False)
    assert "shop/test_unseen falls by 5.0 points" in found.why


def test_splits_count_alike_whatever_their_size():
    found = decide(
        moved("shop/big", Role.DOMAIN, 0.10, count=2000), moved("shop/small", Role.DOMAIN, 0.02, count=50, seed=1)
    )
    assert "(+6.0," in found.why
    assert "2050 questions" in found.why


def test_questions_about_few_answers_are_few_observations():
    """120 questions that all rise look certain; about 6 answers with opposed luck they are not."""
    base = np.full(120, 0.4)
    by_answer = np.repeat([0.3, 0.3, 0.2, -0.1, -0.1, -0.05], 20)
    alone = decide(pair("shop/test", Role.DOMAIN, base, base + by_answer))
    together = decide(pair("shop/test", Role.DOMAIN, base, base + by_answer, questions_per_answer=20))
    assert (alone.domain, together.domain) == ("better", "no difference shown")


def test_one_answer_proves_nothing():
    found = decide(moved("shop/test", Role.DOMAIN, 0.3, count=30, questions_per_answer=30))
    assert (found.domain, found.ship) == ("no difference shown", False)
    assert "100.0 points" in found.why


def test_a_split_about_one_answer_does_not_void_the_others():
    found = decide(
        moved("shop/test", Role.DOMAIN, 0.08), moved("shop/tiny", Role.DOMAIN, 0.3, count=5, questions_per_answer=5)
    )
    assert found.domain == "better"


def test_identical_models():
    found = decide(*[moved(f"{name}/test", role, 0.0, spread=0.0) for name, role in zip("ab", Role, strict=True)])
    assert (found.domain, found.general, found.ship) == ("no difference shown", "no difference shown", False)
    assert found.diagnostics == ()
    assert "the two models rank alike" in found.why


def test_no_domain_set():
    found = decide(moved("med/test", Role.GENERAL, 0.1))
    assert (found.domain, found.general, found.ship) == ("not measured", "better", None)
    assert (found.decision, found.tone, found.basis, found.hits) == ("Not measured", "unknown", Basis.NONE, None)
    assert found.headline.startswith("Not measured: ")


@pytest.mark.parametrize(("auroc", "ks"), [(0.55, 0.5), (0.8, 0.1)])
def test_minimal_separation_of_the_tuned_model_is_a_signature(auroc, ks):
    domain = moved("shop/test", Role.DOMAIN, 0.08)
    assert decide(domain, separations=[separated(auroc, ks, model="base")]).diagnostics == ()
    (sentence,) = decide(domain, separations=[separated(auroc, ks)]).diagnostics
    assert "shop/test hardly lie apart" in sentence


def test_confidence_matters(monkeypatch):
    data = moved("shop/test", Role.DOMAIN, 0.012, count=120, spread=0.06)
    assert decide(data).domain == "better"
    for place in (module, statistics):
        monkeypatch.setattr(place, "CONFIDENCE", 0.999)
    strict = decide(data)
    assert strict.domain == "likely better"
    assert "99.9 % interval" in strict.why


def test_chance_ships_rarely():
    """Models that differ by noise alone: called better once in 40, shipped once in ten, give or take."""
    found = [
        decide(
            pair(
                "shop/test",
                Role.DOMAIN,
                np.full(60, 0.5),
                0.5 + np.random.default_rng(run).normal(0, 0.1, 60),
                questions_per_answer=3,
            ),
        )
        for run in range(200)
    ]
    assert sum(item.domain == "better" for item in found) <= 12
    assert sum(item.ship for item in found) <= 30


# --- many sets --------------------------------------------------------------------------------------------------------


def of_set(number: int, p: float, metric: str = METRIC, role: Role = Role.DOMAIN) -> Comparison:
    return Comparison("set", f"test{number}", role, metric, 0.5, 0.6, 0.1, 0.02, 0.18, p, 50, 0.1)


def test_p_is_adjusted_within_a_role_and_a_metric_as_scipy_does():
    domain, other = [0.04, 0.001, 0.03, 0.5], [0.02, 0.9]
    rows = [of_set(n, p) for n, p in enumerate(domain)] + [of_set(n, p, "map@10") for n, p in enumerate(other)]
    rows = [rows[0], of_set(0, 0.04, role=Role.GENERAL), *rows[1:]]
    found = adjusted(rows)
    assert [(item.split, item.metric, item.role) for item in found] == [
        (item.split, item.metric, item.role) for item in rows
    ]
    own = [item.adjusted for item in found if item.role is Role.DOMAIN and item.metric == METRIC]
    assert own == pytest.approx(stats.false_discovery_control(domain))
    assert [item.adjusted for item in found if item.metric == "map@10"] == pytest.approx([0.04, 0.9])
    assert [item.adjusted for item in found if item.role is Role.GENERAL] == pytest.approx([0.04])
    assert [item.level for item in found] == pytest.approx([0.05] * len(rows))


def test_p_is_adjusted_by_hand():
    # p * m / rank, then the running minimum from the largest: 0.01*4/1, 0.04*4/3, 0.03*4/2 -> 0.0533, 0.2*4/4.
    found = adjusted([of_set(n, p) for n, p in enumerate([0.01, 0.04, 0.03, 0.2])])
    assert [item.adjusted for item in found] == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.2])
    assert adjusted([]) == ()


def test_one_small_p_among_many_sets_is_no_evidence():
    alone = adjusted([of_set(0, 0.03)])
    among = adjusted([of_set(0, 0.03), *(of_set(n, 0.6) for n in range(1, 9))])
    assert alone[0].outcome == "better"
    assert among[0].outcome == "no difference shown"
    assert of_set(0, 0.03).outcome == "better"


# --- few answers ------------------------------------------------------------------------------------------------------


def test_with_fewer_than_ten_answers_the_exact_test_alone_decides_a_set():
    # Signs of nine answers: all alike in 2 of 512 flips; eight alike and the smallest not in 4.
    (few, *_) = compare(*moved("shop/test", Role.DOMAIN, 0.1, count=9))
    (enough, *_) = compare(*moved("shop/test", Role.DOMAIN, 0.1, count=10))
    assert (few.answers, few.too_few, few.p, few.outcome) == (9, True, 2 / 512, "better")
    assert (enough.answers, enough.too_few, enough.outcome) == (10, False, "better")
    (five, *_) = compare(*moved("shop/test", Role.DOMAIN, 0.1, count=5))
    assert five.low > 0, "the interval is a guess, and too sure"
    assert (five.p, five.outcome) == (2 / 32, "no difference shown")
    assert replace(five, p=0.01, difference=-0.1).outcome == "worse"
    assert replace(five, p=0.01, adjusted=0.06).outcome == "no difference shown"


def test_fewer_than_ten_answers_show_nothing_but_may_make_it_likely():
    found = decide(moved("shop/test", Role.DOMAIN, 0.1, count=9))
    assert (found.domain, found.ship) == ("likely better", True)
    assert "(+10.0, 9 questions, too few answers for an interval: 9)" in found.why
    assert "But these answers agree on the gain, which makes it likely." in found.why
    assert "95 % interval" not in found.why
    assert decide(moved("shop/test", Role.DOMAIN, 0.1, count=10)).domain == "better"
    lost = decide(moved("shop/test", Role.DOMAIN, -0.1, count=9))
    assert (lost.domain, lost.ship) == ("likely worse", False)


# --- every sentence, word by word -------------------------------------------------------------------------------------


def pooled(*pairs):
    """Return what the statistics say of some sets: means before and after, the interval, what would have been seen."""
    strata = [(tuned.values[METRIC] - base.values[METRIC], base.clusters) for base, tuned in pairs]
    interval = stratified_interval(strata)
    before, after = (np.mean([both[side].mean(METRIC) for both in pairs]) for side in (0, 1))
    freedom = interval.clusters - len(strata)
    seen = detectable_from(interval.standard_error, freedom)
    return 100 * before, 100 * after, 100 * interval.mean, 100 * interval.low, 100 * interval.high, 100 * seen


def domain_words(pairs, moves, questions):
    before, after, mean, low, high, _ = pooled(*pairs)
    return (
        f"nDCG@10 in the domain {moves} from {before:.1f} to {after:.1f} points ({mean:+.1f}, 95 % interval {low:+.1f} "
        f"to {high:+.1f}, {questions} questions)"
    )


def test_two_domain_sets_that_rise_and_two_general_ones_that_stay():
    domain = [moved("shop/a", Role.DOMAIN, 0.087), moved("shop/b", Role.DOMAIN, 0.06, count=60, seed=2)]
    general = [moved("med/test", Role.GENERAL, 0.004, seed=1), moved("law/test", Role.GENERAL, 0.003, seed=3)]
    _, _, mean, low, high, _ = pooled(*general)
    assert decide(*domain, *general).why == (
        f"{domain_words(domain, 'rises', 180)}; general ability rises by {mean:.1f} points ({low:+.1f} to {high:+.1f})."
    )


def test_a_fall_is_told_as_one():
    domain, general = moved("shop/test", Role.DOMAIN, -0.06), moved("med/test", Role.GENERAL, -0.05, seed=1)
    _, _, mean, low, high, _ = pooled(general)
    found = decide(domain, general)
    assert found.why == (
        f"{domain_words([domain], 'falls', 120)}; general ability falls by {-mean:.1f} points ({low:+.1f} to "
        f"{high:+.1f}), more than the 1.0 allowed. shop/test falls by 6.0 points and med/test falls by 5.0 points, "
        "each significantly on its own."
    )
    assert (found.domain, found.general, found.ship) == ("worse", "worse", False)


def test_no_difference_in_every_word():
    domain = moved("shop/test", Role.DOMAIN, 0.004, count=50, spread=0.1)
    *_, seen = pooled(domain)
    assert decide(domain).why == (
        f"{domain_words([domain], 'goes', 50)}; general ability was not measured. No difference is shown: the "
        f"smallest one that these questions would have shown is {seen:.1f} points."
    )
    alike = moved("shop/test", Role.DOMAIN, 0.0, spread=0.0)
    assert decide(alike).why == (
        f"{domain_words([alike], 'goes', 120)}; general ability was not measured. No difference is shown: the "
        "two models rank alike."
    )


def test_how_sure_the_change_is_in_every_word():
    def said(domain):
        before, after, mean, low, high, _ = pooled(domain)
        begins = f"The ranking score (nDCG@10, at best 100) went from {before:.1f} to {after:.1f}: {mean:+.1f}"
        return begins, f"{begins}, and with other questions like these probably {low:+.1f} to {high:+.1f}."

    shown = moved("shop/test", Role.DOMAIN, 0.087)
    assert decide(shown).certainty == said(shown)[1]
    unclear = moved("shop/test", Role.DOMAIN, 0.004, count=50, spread=0.1)
    assert decide(unclear).certainty == f"{said(unclear)[1]} No difference is shown."
    likely = moved("shop/test", Role.DOMAIN, -0.02, count=50, spread=0.08)
    assert decide(likely).domain == "likely worse"
    assert decide(likely).certainty == f"{said(likely)[1]} A loss is likely, but no difference is shown."
    few = moved("shop/test", Role.DOMAIN, 0.1, count=5)
    assert decide(few).certainty == (
        f"{said(few)[0]}. The questions are about 5 answers, too few to say how other questions would change that. "
        "A gain is likely, but no difference is shown."
    )
    assert decide(moved("med/test", Role.GENERAL, 0.1)).certainty == ""


def test_nothing_measured_in_every_word():
    found = decide(moved("med/test", Role.GENERAL, 0.1))
    assert found.why.startswith("Nothing of the domain was measured; general ability rises by 10.0 points (+")


def test_what_cannot_be_ruled_out_in_every_word():
    domain, general = (
        moved("shop/test", Role.DOMAIN, 0.087),
        moved("med/test", Role.GENERAL, -0.002, count=20, spread=0.1, seed=1),
    )
    _, _, mean, low, high, _ = pooled(general)
    assert decide(domain, general).why == (
        f"{domain_words([domain], 'rises', 120)}; general ability falls by {-mean:.1f} points ({low:+.1f} to "
        f"{high:+.1f}): no loss is shown, but the general questions are too few to exclude one of more than the 1.0 "
        "that the run allows. That matters only if you use the model for other texts too."
    )


def test_a_loss_that_the_run_allows_is_called_one():
    domain = moved("shop/test", Role.DOMAIN, 0.087)
    general = moved("med/test", Role.GENERAL, -0.008, count=60, spread=0.02, seed=1)
    _, _, mean, low, high, _ = pooled(general)
    assert low < -1 < mean
    assert high < 0
    assert "): a small loss, but the general questions" in decide(domain, general).why


def test_signs_of_a_failed_tuning_in_every_word():
    fall, rise = moved("shop/test", Role.DOMAIN, -0.06), moved("med/test", Role.GENERAL, 0.05, seed=1)
    assert decide(fall, rise).diagnostics == (
        "Held-out domain questions fall by 6.0 points while general sets rise by 5.0: the training questions are "
        "probably unlike real ones.",
    )
    wide = [moved("shop/a", Role.DOMAIN, 0.1), moved("shop/b", Role.DOMAIN, -0.06, seed=2)]
    spread = np.std([0.1, -0.06], ddof=1) * 100
    assert decide(*wide).diagnostics == (
        f"The change differs widely between the domain sets: its standard deviation is {spread:.1f} points, its mean "
        "+2.0.",
    )
    elsewhere = [moved("med/a", Role.GENERAL, 0.1), moved("med/b", Role.GENERAL, -0.06, seed=2)]
    assert decide(moved("shop/a", Role.DOMAIN, 0.1), *elsewhere).diagnostics == (
        f"The change differs widely between the general sets: its standard deviation is {spread:.1f} points, its mean "
        "+2.0.",
    )
    little = [moved("shop/a", Role.DOMAIN, 0.004), moved("shop/b", Role.DOMAIN, -0.004, seed=2)]
    assert decide(*little).diagnostics == ()
    steady = [moved("shop/a", Role.DOMAIN, 0.1), moved("shop/b", Role.DOMAIN, 0.05, seed=2)]
    assert decide(*steady).diagnostics == ()


def test_pairs_that_hardly_lie_apart_in_every_word():
    domain = moved("shop/test", Role.DOMAIN, 0.08)
    assert decide(domain, separations=[separated(0.55, 0.1)]).diagnostics == (
        "Relevant and irrelevant pairs of shop/test hardly lie apart: AUROC 0.55, Kolmogorov-Smirnov distance 0.10.",
    )
    assert decide(domain, separations=[separated(0.6, 0.2)]).diagnostics == ()


NOTHING_WRONG = PanelDiagnostics(agreement=0.15, base=0.5, best=0.5, best_expert="strong", untraced=0.25, top=10)


def signs(**changes):
    values = {name: getattr(NOTHING_WRONG, name) for name in PanelDiagnostics.__dataclass_fields__} | changes
    domain = moved("shop/test", Role.DOMAIN, 0.08)
    return verdict(compare(*domain), domain, (), tolerance=0.01, panel=PanelDiagnostics(**values)).diagnostics


def test_signs_of_poor_labels_in_every_word():
    assert signs() == ()
    unknown = float("nan")
    assert signs(agreement=unknown, base=unknown, best=unknown, untraced=unknown) == ()
    assert signs(agreement=0.149) == (
        "The experts disagree: two of them rank the answers to a question with a mean correlation of 0.15, so that "
        "their common opinion is mostly chance.",
    )
    assert signs(best=0.4, best_expert="weak") == (
        "The base ranks the labelled questions better (nDCG@10 50.0 points) than any other expert (weak: 40.0): the "
        "panel has little to teach it.",
    )
    mixed_up = (
        "Neither the base nor any expert finds the answers of the labelled questions (nDCG@10 24.0 points at most): "
        "look whether each stands beside its question.",
    )
    assert signs(base=0.24, best=0.2) == signs(base=0.2, best=0.24) == signs(base=0.24, best=unknown) == mixed_up
    assert signs(base=0.24, best=0.25) == signs(base=0.25, best=0.25) == ()
    fit = PanelFit(20, 0.5, 0.6, 3.0, sharpness=3.0, left_out_sharpness=2.0)
    assert signs(fit=fit) == ()
    assert signs(fit=replace(fit, left_out_sharpness=1.9)) == (
        "The panel is surer of its opinion than it should be: its sharpness is 3.0, where labelled questions that are "
        "left out bear out 1.9. More labelled questions or fewer experts help.",
    )
    assert signs(untraced=0.3) == (
        "No expert can trace 30% of the synthetic questions back to their answer (among its first 10): they may ask "
        "about something else.",
    )


def test_a_general_loss_that_may_be_chance_does_not_forbid_shipping():
    domain = moved("shop/test", Role.DOMAIN, 0.087)
    found = decide(domain, moved("med/test", Role.GENERAL, -0.02, count=20, spread=0.2, seed=1))
    assert (found.general, found.ship) == ("no difference shown", True)
    assert decide(domain).general == "not measured"
