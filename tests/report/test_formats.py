from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expertune.records import Comparison, Role
from expertune.report.formats import (
    around,
    cut,
    decimals,
    duration,
    interval,
    p_value,
    plain,
    points,
    remark,
    signed,
    significant,
)


@pytest.mark.parametrize(
    ("write", "value", "expected"),
    [
        (points, 0.744, "74.4"),
        (signed, 0.078, "+7.8"),
        (signed, -0.0213, "−2.1"),
        (signed, -0.0001, "0.0"),
        (plain, 0.14, "0.14"),
        (plain, 12345.6, "12346"),
        (significant, 0.058, "0.0580"),
        (significant, 188.0, "188"),
        (decimals, -0.5, "−0.50"),
        (p_value, 0.0004, "< 0.001"),
        (p_value, 0.04, "0.040"),
        (duration, 0.42, "0.4 s"),
        (duration, 9.97, "10 s"),
        (duration, 59.6, "1 min 0 s"),
        (duration, 200, "3 min 20 s"),
        (duration, 3900, "1 h 5 min"),
    ],
)
def test_numbers_read_as_people_write_them(write, value, expected):
    assert write(value) == expected


@pytest.mark.parametrize("write", [points, signed, plain, decimals, p_value, duration])
@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_what_is_missing_is_a_dash(write, value):
    assert write(value) == "–"


def test_an_interval_over_the_whole_range_says_nothing():
    assert interval(-0.004, 0.075) == "−0.4 to +7.5"
    assert interval(-1.0, 1.0) == "–"


def test_too_few_answers_have_no_interval():
    row = Comparison("shop", "test", Role.DOMAIN, "ndcg@10", 0.5, 0.6, 0.1, -0.004, 0.075, 0.1, 50, 0.1)
    written = [around(replace(row, answers=count)) for count in (9, 10, 0)]
    assert written == ["too few answers for an interval", "−0.4 to +7.5", "−0.4 to +7.5"]


@given(st.text(), st.integers(1, 80))
def test_a_cut_text_is_one_short_printable_line(text: str, most: int):
    line = cut(text, most)
    assert len(line) <= most
    assert line.splitlines() in ([], [line])
    assert cut(line, most) == line


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("nDCG@10 rises", "nDCG@10 rises."),
        ("factor 1 gains", "Factor 1 gains."),
        ("It did.", "It did."),
        (" why? ", "Why?"),
        ("a -1.0 to +2, e5-2", "A −1.0 to +2, e5-2."),
        ("", ""),
    ],
)
def test_a_remark_becomes_a_sentence(text, written):
    assert remark(text) == written
