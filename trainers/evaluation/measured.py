"""Results of an evaluation: numbers that keep what they need of each example.

So every number has an interval, and two models have a paired difference.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo.metrics import bootstrap, classification


class Measured(NamedTuple):
    """One number over examples.

    Attributes:
      rows_N: [N, ...], what the number needs of each example.
      measure: makes the number of any choice of rows.
      signature: how it was computed, to publish with it; may be empty.
    """

    rows_N: np.ndarray
    measure: bootstrap.Measure = bootstrap.mean
    signature: str = ""

    @property
    def value(self) -> float:
        """The number over all examples."""
        return self.measure(self.rows_N)


class Evaluated(NamedTuple):
    """What an evaluation found.

    Attributes:
      about: one line for people: what the model was evaluated on.
      facts: the same for programs, JSON-able.
      measures: the numbers by name.
      confusion_CC: int64 [C, C], the answers to examples of each class; None where
        there are no classes.
      labels: the names of the classes.
      numbers: the number of the example of each row, where rows are examples of which
        some may be left out; empty where all are rows.
    """

    about: str
    facts: dict[str, Any]
    measures: dict[str, Measured]
    confusion_CC: np.ndarray | None = None
    labels: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()


def of_losses(sums_R2: np.ndarray, bytes_R: np.ndarray | None) -> dict[str, Measured]:
    """The numbers of a language model.

    Args:
      sums_R2: of each row the loss in nats and the weight, as `row_sums` gives them.
      bytes_R: the UTF-8 bytes of what the row predicts.

    Returns:
      `loss` a token in nats, `perplexity` a token and, with bytes, `bits_per_byte`.
    """
    found = {
        "loss": Measured(sums_R2, bootstrap.ratio),
        "perplexity": Measured(sums_R2, _perplexity),
    }
    if bytes_R is not None:
        bits_R2 = np.stack([sums_R2[:, 0] / math.log(2), bytes_R], 1)
        found["bits_per_byte"] = Measured(bits_R2, bootstrap.ratio)
    return found


def of_classes(
    about: str,
    labels_N: np.ndarray,
    probabilities_NC: np.ndarray,
    names: Sequence[str],
) -> Evaluated:
    """The numbers of a classifier.

    Args:
      about: as in `Evaluated`.
      labels_N: the right classes.
      probabilities_NC: of each class, 0 to 1.
      names: of the classes; may be empty.

    Raises:
      ValueError: there is no example.
    """
    labels_N = np.asarray(labels_N, np.int64)
    probabilities_NC = np.asarray(probabilities_NC, np.float64)
    answers_N = probabilities_NC.argmax(1)
    classes = probabilities_NC.shape[1]
    confusion_CC = classification.confusion(labels_N, answers_N, classes)
    hit_N = probabilities_NC[np.arange(len(labels_N)), labels_N]
    pairs_N2 = np.stack([labels_N, answers_N], 1)
    sure_NC = np.concatenate([labels_N[:, None], probabilities_NC], 1)
    measures = {
        "loss": Measured(-np.log(np.maximum(hit_N, np.finfo(np.float64).tiny))),
        "accuracy": Measured(labels_N == answers_N),
        "macro_f1": Measured(pairs_N2, _of_pairs(classification.macro_f1)),
        "matthews": Measured(pairs_N2, _of_pairs(classification.matthews)),
        "ece": Measured(sure_NC, _calibration),
    }
    names = tuple(names) or tuple(map(str, range(classes)))
    facts = {"examples": len(labels_N)}
    return Evaluated(about, facts, measures, confusion_CC, names)


def of_values(about: str, labels_N: np.ndarray, answers_N: np.ndarray) -> Evaluated:
    """The numbers of a regression.

    Args:
      about: as in `Evaluated`.
      labels_N: the right values.
      answers_N: the values that were answered.

    Returns:
      `loss`, the mean squared error, and `absolute_error`, the mean absolute error.
    """
    errors_N = np.asarray(answers_N, np.float64) - np.asarray(labels_N, np.float64)
    measures = {
        "loss": Measured(errors_N**2),
        "absolute_error": Measured(np.abs(errors_N)),
    }
    return Evaluated(about, {"examples": len(errors_N)}, measures)


def _perplexity(rows_R2: np.ndarray) -> float:
    """e to the loss, finite for a hopeless model too."""
    return math.exp(min(bootstrap.ratio(rows_R2), 700.0))


def _of_pairs(measure) -> bootstrap.Measure:
    """A measure of labels and answers as one of rows with both."""
    return functools.partial(_apply_to_pairs, measure)


def _apply_to_pairs(measure, rows_N2: np.ndarray) -> float:
    """The measure of the two columns."""
    return measure(rows_N2[:, 0], rows_N2[:, 1])


def _calibration(rows_NC: np.ndarray) -> float:
    """The calibration error of rows of a label and probabilities."""
    return classification.expected_calibration_error(rows_NC[:, 0], rows_NC[:, 1:])
