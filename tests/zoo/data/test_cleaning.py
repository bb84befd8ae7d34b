"""Cleaning: each step does one thing."""

import pytest

from zoo.data import cleaning, sources


@pytest.mark.parametrize(
    "step, before, after",
    [
        ("newlines", "a\r\nb\rc\n\r\nd", "a\nb\nc\n\nd"),
        ("control", "\ufeffa\x00\tb\x7f\x85c\n\x1b[0m", "a\tbc\n[0m"),
        ("trim", "\n \n  a  b \t\n\n\n c\u00a0\n \n", "  a  b\n\n\n c"),
        ("trim", " \n\t\n", ""),
        ("nfc", "e\u0301 \ufb01", "\u00e9 \ufb01"),
    ],
)
def test_steps(step, before, after):
    assert cleaning.clean(before, [step]) == after
    assert cleaning.clean(after, [step]) == after  # once is enough


def test_steps_compose_in_order():
    assert cleaning.clean(" \r\n\x00a\r\n") == "a"
    assert cleaning.clean("a\r\n", ["control", "newlines"]) == "a\n"
    assert cleaning.clean("e\u0301") == "e\u0301"  # nfc is not a default
    assert cleaning.clean(" a \r\n", []) == " a \r\n"


def test_clean_text_stays_as_it_is():
    for book in sources.documents("kjv", "test"):
        assert cleaning.clean(book) == book


def test_unknown_step():
    with pytest.raises(ValueError, match="'nfd'. Did you mean nfc"):
        cleaning.clean("a", ["trim", "nfd"])
