"""Exact match, F1 and final numbers, by the rules of SQuAD and GSM8K."""

import json
import lzma
import pathlib

import pytest

from zoo.metrics import question_answering as qa

GSM8K = pathlib.Path(__file__).parents[3] / "../shared/data/gsm8k_test.jsonl.xz"


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("The  Norman's\tCastle!", "normans castle"),
        ("an apple and the pear", "apple and pear"),
        ("theory", "theory"),
        ("«Él»", "«él»"),  # the script removes ASCII punctuation only
        ("A.", ""),
    ],
)
def test_normalized(text, wanted):
    assert qa.normalized(text) == wanted


def test_exact_match():
    assert qa.exact_match("the Denver Broncos.", ["Carolina", "Denver Broncos"]) == 1
    assert qa.exact_match("Broncos", ["Denver Broncos"]) == 0


def test_f1():
    # `denver broncos` beside `broncos of denver city`: 2 of 2 and of 4 words
    assert qa.f1("Denver Broncos", ["Broncos of Denver City"]) == pytest.approx(
        2 * 2 / 6
    )
    # the best reference counts
    assert qa.f1("Denver Broncos", ["x", "The Denver Broncos", "y z"]) == 1
    # a word counts as often as both have it
    assert qa.f1("b b b", ["b b"]) == pytest.approx(2 * 2 / 5)
    assert qa.f1("", ["a b"]) == 0


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("She has 9 * 2 = 18.\n#### 18", 18),
        ("#### -1,234.50", -1234.5),
        ("#### 5\n#### 6", 5),
        ("#### 7.", 7),
        ("18", None),
        ("####18", None),
        ("#### 1.2.3", None),
        ("#### ,", None),
        ("#### $5", None),
    ],
)
def test_final_number(text, wanted):
    assert qa.final_number(text) == wanted


def test_all_solutions_of_gsm8k_have_a_number():
    if not GSM8K.exists():
        pytest.skip("GSM8K is not here")
    with lzma.open(GSM8K, "rt", encoding="utf-8") as file:
        answers = [json.loads(line)["answer"] for line in file]
    numbers = [qa.final_number(answer) for answer in answers]
    assert len(numbers) == 1319 and None not in numbers


@pytest.mark.parametrize("references", [[], "text"])
def test_what_is_refused(references):
    for measure in (qa.exact_match, qa.f1):
        with pytest.raises(ValueError, match="references: .*a list of texts allowed"):
            measure("text", references)
