"""Options laid over a config file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expertune.config import assignment, overlaid
from expertune.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("train.steps=50", "train.steps", 50),
        ("train.learning_rate = 1e-4", "train.learning_rate", 1e-4),
        ("run.offline=false", "run.offline", False),
        ('score.experts=["bm25", "ngrams"]', "score.experts", ["bm25", "ngrams"]),
        ("train.base=all-minilm-l6-v2", "train.base", "all-minilm-l6-v2"),
        ('train.base="7"', "train.base", "7"),
        ("data.path=a=b", "data.path", "a=b"),
        ("data.train_split=", "data.train_split", ""),
        ("train.base=1\nsteps = 2", "train.base", "1\nsteps = 2"),
    ],
)
def test_values_are_toml_or_else_text(text, path, value):
    assert assignment(text) == (path, value)
    assert type(assignment(text)[1]) is type(value)


@pytest.mark.parametrize("text", ["train.steps", "steps=5", "=5", ".steps=5", "train.=5", ""])
def test_what_is_no_assignment_is_refused_with_an_example(text):
    with pytest.raises(ConfigError, match=r"section\.key=value") as caught:
        assignment(text)
    assert caught.value.place == "--set"
    assert "train.steps=50" in caught.value.hint


def test_only_the_named_keys_change_and_the_given_values_stay_untouched():
    values = {"data": {"path": "a", "general": ["b"]}, "train": {"steps": 3}}
    changed = overlaid(values, [("data.general", ["c"]), ("label.strategy", "hard"), ("train.steps", 5)])
    assert changed == {
        "data": {"path": "a", "general": ["c"]},
        "train": {"steps": 5},
        "label": {"strategy": "hard"},
    }
    assert values == {"data": {"path": "a", "general": ["b"]}, "train": {"steps": 3}}


def test_a_section_that_is_no_table_is_left_for_validation():
    assert overlaid({"train": 5}, [("train.steps", 1)]) == {"train": 5}


@given(st.lists(st.tuples(st.sampled_from(["a.x", "a.y", "b.x"]), st.integers()), max_size=6))
def test_the_last_change_of_a_key_wins(changes):
    result = overlaid({}, changes)
    for path, value in dict(changes).items():
        section, key = path.split(".")
        assert result[section][key] == value
