"""Selection by hand-made measurements: what is chosen, and when the base is kept."""

import numpy as np
import pytest

from expertune.config import SelectSection
from expertune.records import Dataset, Document, Measurement, Question, Questions, Role
from expertune.select import Trial, choose, fold, validation_set


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
    jitter = generator.normal(size=count) * noise if factor else 0.0
    return Trial(factor, 100, measurement(base + gain + jitter), measurement(np.full(20, 0.8) + general, Role.GENERAL))


def test_a_clear_gain_is_taken_to_its_end():
    chosen = choose([trial(0.0, 0.0), trial(0.5, 0.05), trial(1.0, 0.10)], SelectSection())
    assert chosen.factor == 1.0
    assert [item.chosen for item in chosen.candidates] == [False, False, True]


def test_a_point_within_one_standard_error_of_the_best_and_nearer_to_the_base_is_preferred():
    chosen = choose([trial(0.0, 0.0), trial(0.5, 0.0999), trial(1.0, 0.10)], SelectSection())
    assert chosen.factor == 0.5


def test_no_gain_keeps_the_base_and_says_why():
    chosen = choose([trial(0.0, 0.0), trial(1.0, 0.001, noise=0.2)], SelectSection())
    assert chosen.factor == 0.0
    assert chosen.why.startswith("keep the base")


def test_what_costs_the_general_probe_too_much_is_not_allowed():
    trials = [trial(0.0, 0.0), trial(0.5, 0.05, general=-0.005), trial(1.0, 0.10, general=-0.02)]
    assert choose(trials, SelectSection(general_tolerance=0.01)).factor == 0.5
    assert choose(trials, SelectSection(general_tolerance=0.05)).factor == 1.0


def questions(known=10, generated=90):
    items = [Question(f"own {i}", (f"d{i % 5}",)) for i in range(known)]
    items += [Question(f"written {i}", (f"d{i % 5}",), source="llm", kind="question") for i in range(generated)]
    return Questions(tuple(items))


def test_a_fold_takes_its_share_of_own_and_of_generated_questions():
    given = questions()
    split = fold(given, SelectSection(validation=0.2))
    assert not set(split.train) & set(split.validation)
    assert sorted([*split.train, *split.validation]) == list(range(100))
    assert sum(not given.items[row].generated for row in split.validation) == 2
    assert len(split.validation) == 20


def test_folds_differ_by_seed_and_repeat_by_seed():
    given, section = questions(), SelectSection()
    assert fold(given, section, seed=1).validation.tolist() == fold(given, section, seed=1).validation.tolist()
    assert fold(given, section, seed=1).validation.tolist() != fold(given, section, seed=2).validation.tolist()


def test_a_set_too_small_to_split_is_validated_on_itself():
    split = fold(questions(known=3, generated=0), SelectSection(validation=0.2))
    assert split.train.tolist() == split.validation.tolist() == [0, 1, 2]


def test_a_validation_set_merges_equal_questions():
    documents = tuple(Document(f"d{i}", f"a{i}") for i in range(3))
    items = (Question("same", ("d0",)), Question("same", ("d1",)), Question("other", ("d2",)))
    judged = validation_set(Dataset("hand", documents, items), Questions(items), np.array([0, 1, 2]))
    assert [query.text for query in judged.queries] == ["same", "other"]
    assert judged.qrels[judged.queries[0].id] == {"d0": 1, "d1": 1}
    assert judged.role is Role.DOMAIN


def test_the_base_must_be_among_the_trials():
    with pytest.raises(StopIteration):
        choose([trial(1.0, 0.1)], SelectSection())
