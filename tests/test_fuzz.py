"""A few thousand mutated inputs for every reader, and whatever hypothesis thinks of; `make fuzz` goes on for longer."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expertune import config
from expertune.errors import ConfigError, ExpertuneError
from fuzz import TARGETS, fuzz

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def test_mutated_files_give_errors_of_ours_or_none():
    tried, faults = fuzz(seconds=60, seed=0, most=4000)
    assert faults == []
    assert set(tried) == set(TARGETS)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(set(TARGETS) - {"parquet"})), st.binary() | st.text().map(str.encode))
def test_any_bytes_give_an_error_of_ours_or_none(target, data):
    with suppress(ExpertuneError):
        TARGETS[target](data)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(config.known_keys()), values)
def test_any_value_of_any_key_is_taken_or_named(key, value):
    with suppress(ConfigError):
        config.from_mapping(config.overlaid({}, [(key, value)]))


@pytest.mark.parametrize("key", config.known_keys())
def test_nothing_fits_every_key(key):
    """An object of a foreign kind is refused under every key, by its name."""
    with pytest.raises(ConfigError, match=key.partition(".")[0]):
        config.from_mapping(config.overlaid({}, [(key, object())]))
