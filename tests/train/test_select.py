"""Selection by hand-made measurements: what is chosen, and when the base is kept."""

from dataclasses import replace

import numpy as np
import pytest

from expertune.evaluate.statistics import standard_error
from expertune.records import Document, Measurement, Provenance, Question, Questions, Role
from expertune.train import select
from expertune.train.select import Trial, fold


def choose(trials, *, preferred=0.75, tolerance=0.01, left_out=100):
    return select.choose(trials, left_out=left_out, preferred_weight=preferred, general_tolerance=tolerance)


def measurement(values, role=Role.DOMAIN):
    values = np.asarray(values, dtype=np.float64)
    names = tuple(f"q{i}" for i in range(len(values)))
    return Measurement(
        "hand",
        "validation",
        role,
        "m",
        names,
        names,
        {"ndcg@10": values},
        (1,) * len(values),
        ((),) * len(values),
    )


def trial(factor, gain, general=0.0, noise=0.02, count=100):
    generator = np.random.default_rng(int(factor * 100))
    base = np.random.default_rng(7).uniform(0.2, 0.6, count)
    jitter = generator.normal(size=count) * noise
    jitter = jitter - jitter.mean() if factor else 0.0
    return Trial(factor, measurement(base + gain + jitter), measurement(np.full(20, 0.8) + general, Role.GENERAL))


def test_a_clear_gain_is_taken_to_its_end():
    chosen = choose([trial(0.0, 0.0), trial(0.5, 0.05), trial(1.0, 0.10)])
    assert chosen.interpolation_weight == 1.0
    assert [item.chosen for item in chosen.candidates] == [False, False, True]


@pytest.mark.parametrize(("preferred", "weight"), [(0.0, 0.25), (0.5, 0.5), (0.6, 0.5), (0.8, 0.75), (1.0, 0.75)])
def test_what_is_as_good_as_the_best_and_nearest_to_the_preferred_is_kept(preferred, weight):
    gains = {0.0: 0.0, 0.25: 0.0999, 0.5: 0.0998, 0.75: 0.10, 1.0: 0.05}
    chosen = choose([trial(*pair) for pair in gains.items()], preferred=preferred)
    assert chosen.interpolation_weight == weight


def test_less_than_two_standard_errors_behind_the_best_is_as_good_and_more_is_not():
    base = np.full(100, 0.3)
    spread = np.tile([-0.1, 0.1], 50)  # a standard error of 0.01 beside the best, which gains the same everywhere

    def chosen(behind):
        half = measurement(base + 0.1 - behind + spread)
        trials = [
            Trial(0.0, measurement(base), measurement([0.5] * 4)),
            Trial(0.5, half, measurement([0.5] * 4)),
            Trial(1.0, measurement(base + 0.1), measurement([0.5] * 4)),
        ]
        return choose(trials, preferred=0.5).interpolation_weight

    assert [chosen(behind) for behind in (0.0, 0.015, 0.03)] == [0.5, 0.5, 1.0]


def test_of_two_as_near_to_the_preferred_the_smaller_move_is_kept():
    chosen = choose([trial(0.0, 0.0), trial(0.25, 0.0999), trial(0.75, 0.10)], preferred=0.5)
    assert chosen.interpolation_weight == 0.25


def test_no_gain_keeps_the_base_only_where_it_is_preferred_and_says_why():
    trials = [trial(0.0, 0.0), trial(1.0, 0.001, noise=0.2)]
    chosen = choose(trials, preferred=0.0)
    assert chosen.interpolation_weight == 0.0
    assert chosen.why.startswith("keep the base")
    assert choose([trials[0], trial(0.5, -0.001, noise=0.2), trials[1]]).interpolation_weight == 0.5


def test_a_loss_beyond_two_standard_errors_keeps_the_base_whatever_is_preferred():
    trials = [trial(0.0, 0.0), trial(0.5, -0.05), trial(1.0, -0.10)]
    assert choose(trials, preferred=1.0).interpolation_weight == 0.0


def test_a_loss_of_two_standard_errors_is_not_outvoted_by_the_preferred_weight_and_noise_is():
    general, base = measurement([0.8] * 4, Role.GENERAL), np.full(4, 0.5)
    # So uncertain a gain that the loss beside it counts as equally good.
    half = Trial(0.5, measurement(base + np.array([0.5, -0.4, 0.3, -0.2])), general)

    def chosen(change):
        preferred = Trial(0.75, measurement(base + np.array(change)), general)
        return choose([Trial(0.0, measurement(base), general), half, preferred], preferred=0.75).interpolation_weight

    assert chosen([-0.10, -0.12, -0.10, -0.12]) == 0.5  # 19 standard errors
    assert chosen([-0.4, 0.0, 0.0, 0.0]) == 0.75  # one question of four: as large as its standard error


def test_what_is_gained_on_questions_that_were_tuned_on_moves_nothing():
    trials = [trial(0.0, 0.0), trial(0.75, 0.05), trial(1.0, 0.10)]
    assert choose(trials).interpolation_weight == 1.0
    chosen = choose(trials, left_out=0)
    assert (chosen.interpolation_weight, chosen.left_out) == (0.75, 0)
    assert "fewer than 20 could be left out" in chosen.why
    costly = [trial(0.0, 0.0), trial(0.5, 0.03), trial(0.75, 0.05, general=-0.02)]
    assert choose(costly, left_out=0).interpolation_weight == 0.5
    lost = [trial(0.0, 0.0), trial(0.75, -0.05)]
    assert choose(lost, left_out=0).interpolation_weight == 0.0


def test_questions_of_one_answer_tell_nothing():
    values, general = np.linspace(0.2, 0.4, 4), measurement([0.5] * 4)
    same_answer = [replace(measurement(values + weight), clusters=("a",) * 4) for weight in (0.0, 0.5)]
    trials = [Trial(0.0, same_answer[0], general), Trial(0.5, same_answer[1], general)]
    assert choose(trials).interpolation_weight == 0.0


def test_a_loss_on_the_general_dev_set_forbids_only_by_more_than_its_standard_error():
    """Of twenty questions, one falls by 0.4: a loss of 0.02 with a standard error of 0.02."""
    fallen = np.zeros(20)
    fallen[0] = -0.4
    trials = [trial(0.0, 0.0), trial(1.0, 0.10, general=fallen)]
    assert choose(trials, tolerance=0.0).interpolation_weight == 1.0
    worse = [trial(0.0, 0.0), trial(1.0, 0.10, general=fallen - 0.001)]
    assert choose(worse, tolerance=0.0).interpolation_weight == 0.0


def test_what_costs_general_ability_too_much_is_not_allowed():
    trials = [trial(0.0, 0.0), trial(0.5, 0.05, general=-0.005), trial(1.0, 0.10, general=-0.02)]
    assert choose(trials, tolerance=0.01).interpolation_weight == 0.5
    assert choose(trials, tolerance=0.05).interpolation_weight == 1.0


def questions(known=10, generated=90):
    items = [Question(f"own {i}", (f"d{i % 5}",)) for i in range(known)]
    items += [
        Question(f"written {i}", (f"d{i % 5}",), Provenance.SYNTHETIC, "llm", "question") for i in range(generated)
    ]
    return Questions(tuple(items))


def test_a_fold_takes_its_share_of_own_and_of_generated_questions():
    given = questions()
    split = fold(given, fewest=20)
    assert not set(split.train) & set(split.validation)
    assert sorted([*split.train, *split.validation]) == list(range(100))
    assert sum(given.items[row].labelled for row in split.validation) == 2
    assert len(split.validation) == 20 == select.left_out(10, 90)
    assert not split.learned


def test_folds_differ_by_seed_and_repeat_by_seed():
    given = questions()
    assert fold(given, fewest=2, seed=1).validation.tolist() == fold(given, fewest=2, seed=1).validation.tolist()
    assert fold(given, fewest=2, seed=1).validation.tolist() != fold(given, fewest=2, seed=2).validation.tolist()


def test_a_set_too_small_to_split_is_validated_on_itself():
    split = fold(questions(), fewest=21)
    assert split.learned
    assert split.train.tolist() == split.validation.tolist() == list(range(100))
    spans = tuple(Question(f"span {i}", ("d0",), Provenance.SPAN) for i in range(50))
    among = fold(Questions((*spans, *questions(known=3, generated=0).items)), fewest=20)
    assert among.train.tolist() == list(range(53))
    assert among.validation.tolist() == [50, 51, 52]


def test_a_validation_set_merges_equal_questions():
    documents = tuple(Document(f"d{i}", f"a{i}") for i in range(3))
    items = (Question("same", ("d0",)), Question("same", ("d1",)), Question("other", ("d2",)))
    judged = select.validation_set("hand", documents, items)
    assert [query.text for query in judged.queries] == ["same", "other"]
    assert judged.qrels[judged.queries[0].id] == {"d0": 1, "d1": 1}
    assert judged.role is Role.DOMAIN


def test_the_base_must_be_among_the_trials():
    with pytest.raises(StopIteration):
        choose([trial(1.0, 0.1)])


def test_candidates_hold_what_was_measured_and_the_choice_says_so():
    trials = [trial(0.0, 0.0), trial(0.5, 0.05, general=-0.004), trial(1.0, 0.10, general=-0.008)]
    chosen = choose(trials)
    (base, half, whole) = chosen.candidates
    assert [item.interpolation_weight for item in chosen.candidates] == [0.0, 0.5, 1.0]
    assert (base.domain_difference, base.domain_standard_error, base.general_difference) == (0, 0, 0)
    assert half.domain == trials[1].domain.mean("ndcg@10")
    assert half.general == trials[1].general.mean("ndcg@10") == pytest.approx(0.796)
    assert half.general_difference == pytest.approx(-0.004)
    assert half.general_standard_error == pytest.approx(0.0, abs=1e-9)
    gains = trials[2].domain.values["ndcg@10"] - trials[0].domain.values["ndcg@10"]
    assert whole.domain_difference == pytest.approx(gains.mean())
    assert whole.domain_standard_error == pytest.approx(gains.std(ddof=1) / 10, rel=0.02)
    assert chosen.why == (
        f"interpolation weight 1, the nearest to 0.75 that is as good as the best within two standard errors, gains "
        f"{100 * gains.mean():+.1f} points of nDCG@10 on validation questions "
        f"(standard error {100 * whole.domain_standard_error:.1f}) and -0.8 on the general dev set"
    )


def test_own_questions_have_half_a_say_in_the_choice():
    documents = (Document("d0", "an answer"), Document("d1", "another"))
    own = Question("own", ("d0",))
    written = tuple(Question(f"written {n}", ("d1",), Provenance.SYNTHETIC, "somebody", "question") for n in range(6))
    judged = select.validation_set("faq", documents, (own, *written))
    assert [query.text for query in judged.queries].count("own") == 6
    assert len({query.id for query in judged.queries}) == len(judged.queries) == 12
    assert all(judged.qrels[query.id] == {"d0": 1} for query in judged.queries if query.text == "own")
    assert len(select.validation_set("faq", documents, written).queries) == 6
    assert len(select.validation_set("faq", documents, (own,)).queries) == 1


def test_the_base_that_is_kept_says_what_was_not_enough():
    chosen = choose([trial(0.0, 0.0), trial(1.0, 0.001, noise=0.2)], preferred=0.0)
    assert chosen.why.startswith("keep the base: the best candidate gains +0.1 points of nDCG@10 on validation")
    assert [item.chosen for item in chosen.candidates] == [True, False]
    costly = choose([trial(0.0, 0.0), trial(1.0, 0.1, general=-0.05)])
    assert costly.why.startswith("keep the base: nothing else gains, or it loses too much on the general dev set")


def test_a_loss_of_exactly_the_tolerance_is_allowed():
    quarter = [
        Trial(factor, measurement(np.linspace(0.2, 0.4, 50) + factor / 4), measurement([0.75 - factor / 4] * 4))
        for factor in (0.0, 1.0)
    ]
    assert choose(quarter, tolerance=0.25).interpolation_weight == 1.0
    assert choose(quarter, tolerance=0.2499).interpolation_weight == 0.0


def test_questions_about_one_answer_are_one_observation():
    base, tuned = np.full(40, 0.5), 0.5 + np.random.default_rng(5).normal(0.02, 0.1, 40)
    names = tuple(f"q{row}" for row in range(40))
    answers = tuple(f"a{row % 4}" for row in range(40))

    def measured(values):
        return Measurement("hand", "v", Role.DOMAIN, "m", names, answers, {"ndcg@10": values}, (1,) * 40, ((),) * 40)

    general = measurement([0.5] * 4)
    chosen = choose([Trial(0.0, measured(base), general), Trial(1.0, measured(tuned), general)])
    assert chosen.candidates[1].domain_standard_error == pytest.approx(standard_error(tuned - base, answers))
    assert chosen.candidates[1].domain_standard_error != pytest.approx(standard_error(tuned - base, names))


def test_two_questions_are_enough_to_choose_by():
    split = fold(questions(known=10, generated=0), fewest=2)
    assert len(split.validation) == 2
    assert len(split.train) == 8
    assert split.validation.dtype == split.train.dtype == np.int64


def test_a_validation_set_is_a_domain_set_over_every_document():
    documents = tuple(Document(f"d{i}", f"a{i}") for i in range(3))
    items = (Question("one", ("d0",)), Question("two", ("d1", "d2")))
    judged = select.validation_set("hand", documents, items[1:])
    assert (judged.dataset, judged.split, judged.documents) == ("hand", "validation", documents)
    assert [(query.id, query.text) for query in judged.queries] == [("v0", "two")]
    assert judged.qrels == {"v0": {"d1": 1, "d2": 1}}


def test_questions_of_a_log_validate_nothing():
    asked = tuple(Question(f"asked {number}", (), Provenance.LOG) for number in range(50))
    given = questions(known=10, generated=20)
    split = fold(Questions((*given.items, *asked)), fewest=2)
    assert split.validation.tolist() == fold(given, fewest=2).validation.tolist()
    assert set(range(30, 80)) <= set(split.train.tolist())
