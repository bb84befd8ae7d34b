"""Labels of words as spans, against seqeval's reading of them."""

import random

import pytest
import tensorflow as tf

from zoo.saved_model.spans import Spans

IOB = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
IOBES = (*IOB, "E-PER", "S-PER", "E-LOC", "S-LOC")


def spans(labels, rows, words=None):
    """The spans of rows of labels; word i has the bytes 10 i to 10 i + 3."""
    classes = [[-1 if x is None else labels.index(x) for x in row] for row in rows]
    starts = [[10 * i for i in range(len(row))] for row in rows]
    ends = [[10 * i + 3 for i in range(len(row))] for row in rows]
    shares = words or [[0.5] * len(row) for row in rows]
    ragged = [
        tf.ragged.constant(x, dtype, ragged_rank=1)
        for x, dtype in (
            (classes, tf.int32),
            (shares, tf.float32),
            (starts, tf.int32),
            (ends, tf.int32),
        )
    ]
    out = {key: value.numpy().tolist() for key, value in Spans(labels)(*ragged).items()}
    found = []
    for row, count in enumerate(out["num_spans"]):
        keys = "labels", "starts", "ends", "probabilities"
        for key in keys:
            assert not any(out[key][row][count:])
        columns = (out[key][row][:count] for key in keys)
        found.append(
            [(a.decode(), b, c, d) for a, b, c, d in zip(*columns, strict=True)]
        )
    return found


def entities(row):
    """As seqeval's `get_entities`: type, first word, last word."""
    found, begin, before, kind = [], 0, "O", ""
    for i, label in enumerate([*row, "O"]):
        mark, _, type_ = (label or "O").partition("-")
        other = kind != type_
        if before != "O" and (before in "ES" or mark in "BSO" or other):
            found.append((kind, begin, i - 1))
        if mark != "O" and (mark in "BS" or before in "ESO" or other):
            begin = i
        before, kind = mark, type_
    return found


@pytest.mark.parametrize("labels", [IOB, IOBES], ids=["IOB", "IOBES"])
def test_entities_are_those_of_seqeval(labels):
    rng = random.Random(0)
    choices = [*labels, None]
    rows = [rng.choices(choices, k=rng.randint(0, 12)) for _ in range(60)]
    for row, found in zip(rows, spans(labels, rows), strict=True):
        wanted = [(kind, 10 * a, 10 * b + 3, 0.5) for kind, a, b in entities(row)]
        assert found == wanted, row


def test_a_span_is_as_certain_as_its_least_certain_word():
    row = ["B-PER", "I-PER", "I-PER", "O", "B-LOC"]
    found = spans(IOB, [row], [[0.5, 0.25, 0.75, 0.125, 1.0]])
    assert found == [[("PER", 0, 23, 0.25), ("LOC", 40, 43, 1.0)]]


def test_other_labels_are_spans_of_one_word():
    labels = ("at", "jj", "O", "nn")
    (found,) = spans(labels, [["at", "at", None, "O", "nn"]])
    names = [(label, start, end) for label, start, end, _ in found]
    assert names == [("at", 0, 3), ("at", 10, 13), ("O", 30, 33), ("nn", 40, 43)]
