"""Measures of answers out of a fixed list of classes."""

import numpy as np
from sklearn import metrics


def accuracy(labels_N: np.ndarray, predicted_N: np.ndarray) -> float:
    """The share of right answers, 0 to 1.

    Args:
      labels_N: the right classes, integers.
      predicted_N: the classes that were answered.

    Raises:
      ValueError: there is no answer, or the lengths differ.
    """
    _check(labels_N, predicted_N)
    return float(metrics.accuracy_score(labels_N, predicted_N))


def macro_f1(labels_N: np.ndarray, predicted_N: np.ndarray) -> float:
    """The mean of the F1 of each class, 0 to 1.

    The mean is over the classes that are right or answered at least once. A class
    without a right answer has F1 0. Arguments and errors are those of `accuracy`.
    """
    _check(labels_N, predicted_N)
    return float(metrics.f1_score(labels_N, predicted_N, average="macro"))


def matthews(labels_N: np.ndarray, predicted_N: np.ndarray) -> float:
    """Matthews' correlation coefficient of any number of classes, -1 to 1.

    It is 0 where one class is always right or always answered. Arguments and errors
    are those of `accuracy`. Source: Gorodkin 2004
    (doi:10.1016/j.compbiolchem.2004.09.006).
    """
    _check(labels_N, predicted_N)
    if len(np.unique(labels_N)) == 1 or len(np.unique(predicted_N)) == 1:
        return 0.0  # of which scikit-learn warns
    return float(metrics.matthews_corrcoef(labels_N, predicted_N))


def confusion(
    labels_N: np.ndarray, predicted_N: np.ndarray, classes: int
) -> np.ndarray:
    """How often each class got each answer.

    Args:
      labels_N: the right classes, in [0, classes).
      predicted_N: the classes that were answered, in [0, classes).
      classes: C.

    Returns:
      int64 [C, C]: row i counts the answers to examples of class i.

    Raises:
      ValueError: as `accuracy`, or a class is outside of [0, classes).
    """
    _check(labels_N, predicted_N)
    for values_N in (labels_N, predicted_N):
        low, high = int(np.min(values_N)), int(np.max(values_N))
        if low < 0 or high >= classes:
            raise ValueError(f"classes: {low} to {high}, 0 to {classes - 1} allowed.")
    pairs_N = np.asarray(labels_N) * classes + np.asarray(predicted_N)
    return np.bincount(pairs_N, minlength=classes**2).reshape(classes, classes)


def expected_calibration_error(
    labels_N: np.ndarray, probabilities_NC: np.ndarray, bins: int = 15
) -> float:
    """How far the probability of an answer is from its share of right answers, 0 to 1.

    The likeliest class is the answer, and its probability chooses one of `bins` bins
    of equal width. The result is the mean of |accuracy - mean probability| over the
    bins, weighted by their answers. Source: Guo et al. 2017 (arXiv:1706.04599).

    Args:
      labels_N: the right classes.
      probabilities_NC: of each class, 0 to 1.
      bins: how many.

    Raises:
      ValueError: as `accuracy`, or a probability is outside of [0, 1].
    """
    probabilities_NC = np.asarray(probabilities_NC, np.float64)
    predicted_N = probabilities_NC.argmax(1)
    _check(labels_N, predicted_N)
    sure_N = probabilities_NC.max(1)
    if not (probabilities_NC.min() >= 0 and sure_N.max() <= 1 + 1e-5):
        raise ValueError("probabilities: 0 to 1 allowed.")
    right_N = predicted_N == np.asarray(labels_N)
    # a bin holds its upper edge, as in the paper
    bin_N = np.clip(np.ceil(sure_N * bins) - 1, 0, bins - 1).astype(int)
    gap_K = np.bincount(bin_N, right_N - sure_N, minlength=bins)
    return float(np.abs(gap_K).sum() / len(sure_N))


def _check(labels_N, predicted_N):
    """Refuses no answers, and another number of answers than of labels."""
    if len(labels_N) != len(predicted_N):
        raise ValueError(
            f"answers: {len(predicted_N)}, as many as the {len(labels_N)} labels "
            "allowed."
        )
    if not len(labels_N):
        raise ValueError("answers: none, at least 1 allowed.")
