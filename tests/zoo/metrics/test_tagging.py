"""Entity F1, beside the examples of seqeval and the rules of conlleval."""

import pytest

from zoo.metrics import tagging


def test_the_readme_of_seqeval():
    labels = [
        ["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"],
        ["B-PER", "I-PER", "O"],
    ]
    predicted = [
        ["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"],
        ["B-PER", "I-PER", "O"],
    ]
    assert tagging.entity_f1(labels, predicted) == 0.5
    assert tagging.entity_counts(labels, predicted).tolist() == [[0, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize(
    "tags, wanted",
    [
        ("O O", set()),
        ("B-PER I-PER O B-LOC", {("PER", 0, 2), ("LOC", 3, 4)}),
        ("I-PER I-PER O", {("PER", 0, 2)}),  # IO
        ("I-PER I-LOC", {("PER", 0, 1), ("LOC", 1, 2)}),
        ("I-PER B-PER I-PER", {("PER", 0, 1), ("PER", 1, 3)}),  # IOB1
        ("B-PER B-PER", {("PER", 0, 1), ("PER", 1, 2)}),
        ("B-PER I-LOC O", {("PER", 0, 1), ("LOC", 1, 2)}),
        ("B-PER I-PER E-PER S-PER", {("PER", 0, 3), ("PER", 3, 4)}),  # BIOES
        ("E-PER I-PER", {("PER", 0, 1), ("PER", 1, 2)}),
        ("S-PER E-PER", {("PER", 0, 1), ("PER", 1, 2)}),
        ("E-PER E-PER", {("PER", 0, 1), ("PER", 1, 2)}),
        ("O E-PER", {("PER", 1, 2)}),
        ("B-NP-X I-NP-X", {("NP-X", 0, 2)}),
    ],
)
def test_entities(tags, wanted):
    assert tagging.entities(tags.split()) == wanted


def test_type_and_both_ends_must_be_right():
    labels = [["B-PER", "I-PER", "O"]]
    for wrong in (["B-LOC", "I-LOC", "O"], ["B-PER", "O", "O"], ["O", "B-PER", "O"]):
        assert tagging.entity_f1(labels, [wrong]) == 0
    # another scheme of the same entity
    assert tagging.entity_f1(labels, [["I-PER", "E-PER", "O"]]) == 1
    assert tagging.entity_f1([["O"]], [["O"]]) == 0


def test_all_sequences_count_together():
    labels = [["B-A"], ["B-A", "B-A", "B-A"]]
    predicted = [["O"], ["B-A", "B-A", "B-A"]]
    assert tagging.entity_f1(labels, predicted) == pytest.approx(2 * 3 / (3 + 4))


@pytest.mark.parametrize(
    "labels, predicted, words",
    [
        ([["O"]], [["O", "O"]], "sequence 0: 2 tags"),
        ([["O"]], [], "sequences: 0 answered"),
        ([["NN"]], [["O"]], "tag: 'NN', O or one of"),
        ([["B-"]], [["O"]], "tag: 'B-'"),
    ],
)
def test_what_is_refused(labels, predicted, words):
    with pytest.raises(ValueError, match=words):
        tagging.entity_f1(labels, predicted)
