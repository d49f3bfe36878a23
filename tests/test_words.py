"""Names and numbers as people read them."""

from __future__ import annotations

import math

import pytest

from multiview.theory import paper_error, paper_gain, paper_line
from multiview.words import (
    NETWORK_KINDS,
    count,
    decimal,
    format_bytes,
    format_seconds,
    interval,
    name_of,
    parameter_value,
    self_distilled_name,
    significant,
)


def test_kinds_of_networks_have_names_in_the_singular_and_plural():
    assert [self_distilled_name(g) for g in range(3)] == ["self_distilled", "self_distilled_2", "self_distilled_3"]
    assert name_of("self_distilled_2") == "self-distilled student, generation 2"
    assert name_of("single", plural=True) == "single networks"
    assert name_of("ensemble", plural=True) == "ensemble"
    assert name_of("brand_new") == "brand_new"
    assert all(name_of(kind) == words for kind, words in NETWORK_KINDS.items())


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (decimal(0.25), "0.25"),
        (decimal(0.12345), "0.123"),
        (decimal(0.12345, 4), "0.1235"),
        (decimal(123.4), "123"),
        (decimal(math.nan), "–"),
        (interval((0.0, 0.001)), "0 … 0.001"),
        (interval((1.0, 1.0)), "1"),
        (significant(math.inf), "∞"),
        (significant(123456.7), "123457"),
        (significant(0.00012345), "0.0001234"),
        (parameter_value((1.0, 0.5)), "[1,0.5]"),
        (parameter_value(0.1 + 0.2), "0.3"),
        (parameter_value("limit"), "limit"),
        (format_bytes(999), "999 bytes"),
        (format_bytes(1.5e9), "1.5 GB"),
        (format_seconds(89), "89 s"),
        (format_seconds(600), "10 min"),
        (format_seconds(7200), "2.0 h"),
        (count(1, "class"), "1 class"),
        (count(3, "class"), "3 classes"),
        (count(0, "network"), "0 networks"),
    ],
)
def test_numbers_are_written_in_one_way(written, expected):
    assert written == expected


def test_the_papers_figures():
    assert paper_error("single", 2) == (0.49, 0.51)
    assert paper_error("self_distilled", 3) == pytest.approx((4 / 9, 4 / 9))
    assert paper_error("self_distilled_2", 2) == pytest.approx((1 / 8, 1 / 8))
    assert [paper_line(kind, 2) for kind in ("single", "ensemble", "self_distilled")] == [0.5, 0.001, 0.26]
    low, high = paper_gain(2)
    (single_low, single_high), (student_low, student_high) = (paper_error(n, 2) for n in ("single", "self_distilled"))
    assert (low, high) == pytest.approx((single_low - student_high, single_high - student_low))
