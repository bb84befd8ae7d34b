"""Measures of classes, beside numbers computed by hand."""

import numpy as np
import pytest

from zoo.metrics import classification

LABELS = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 2, 2])


def test_by_hand():
    assert classification.accuracy(LABELS, PREDICTED) == pytest.approx(4 / 6)
    # F1: 2*2/(3+2), 2*1/(2+2), 2*1/(1+2)
    wanted = (4 / 5 + 1 / 2 + 2 / 3) / 3
    assert classification.macro_f1(LABELS, PREDICTED) == pytest.approx(wanted)
    table = classification.confusion(LABELS, PREDICTED, 4)
    assert table.tolist() == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0] * 4]


def test_matthews_of_two_classes():
    # TP 3, TN 2, FP 1, FN 1
    labels, predicted = [1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0, 1]
    wanted = (3 * 2 - 1 * 1) / np.sqrt(4 * 4 * 3 * 3)
    found = classification.matthews(np.array(labels), np.array(predicted))
    assert found == pytest.approx(wanted)


def test_one_class_alone():
    zeros = np.zeros(3, int)
    assert classification.matthews(zeros, zeros) == 0
    assert classification.macro_f1(zeros, zeros) == 1
    assert classification.confusion(zeros, zeros, 1).tolist() == [[3]]


def test_calibration_by_hand():
    labels = np.array([0, 0, 1, 1])
    sure = np.array([0.95, 0.95, 0.55, 0.65])
    probabilities = np.stack([sure, 1 - sure], 1)
    # bins of a tenth: both of 0.95 are right, those of 0.55 and 0.65 wrong
    wanted = (abs(2 - 1.9) + 0.55 + 0.65) / 4
    found = classification.expected_calibration_error(labels, probabilities, bins=10)
    assert found == pytest.approx(wanted)


def test_calibration_at_the_edges():
    perfect = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert classification.expected_calibration_error(np.array([0, 1]), perfect) == 0
    assert classification.expected_calibration_error(np.array([1, 0]), perfect) == 1
    # half of the answers are right with a probability of a half
    even = np.full((2, 2), 0.5)
    assert classification.expected_calibration_error(np.array([0, 1]), even) == 0
    # one bin: errors of both signs cancel, which two bins would see
    mixed = np.array([[0.4, 0.6], [0.0, 1.0]])
    labels = np.array([1, 0])
    one = classification.expected_calibration_error(labels, mixed, bins=1)
    two = classification.expected_calibration_error(labels, mixed, bins=10)
    assert one == pytest.approx(0.3) and two == pytest.approx(0.7)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: classification.accuracy(LABELS, PREDICTED[:2]), "answers: 2"),
        (lambda: classification.macro_f1(LABELS[:0], PREDICTED[:0]), "answers: none"),
        (lambda: classification.confusion(LABELS, PREDICTED, 2), "0 to 1 allowed"),
        (
            lambda: classification.expected_calibration_error(
                np.array([0]), np.array([[3.0, -1.0]])
            ),
            "probabilities: 0 to 1",
        ),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
