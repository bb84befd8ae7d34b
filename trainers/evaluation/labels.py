"""Evaluation of models that answer with labels: their answers, and measures of those.

    classify    accuracy, macro_f1, matthews, ece (calibration)
    tag         accuracy; entity_f1 if the names of the classes mark entities
    regress     mse, pearson, spearman

`loss` is the mean of the negative log-probabilities of the labels, or the squared
errors.
"""

import re
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy import stats

from zoo.metrics import bootstrap, classification, tagging

_ENTITY = re.compile("O|[BIES]-.+")


class Answers(NamedTuple):
    """What a model answered, in the order of the rows.

    Attributes:
      rows_N: int64, the row of each answer; a row of words has an answer a word.
      labels_N: int32 classes or float32 values, the right ones.
      answers_N: the answered ones.
      losses_N: float32: the negative log-probability of each label, or the squared
        error.
      probabilities_NC: float32, of each class of classify; else empty.
    """

    rows_N: np.ndarray
    labels_N: np.ndarray
    answers_N: np.ndarray
    losses_N: np.ndarray
    probabilities_NC: np.ndarray = np.zeros((0, 0), np.float32)


def make_answers():
    """Compiles `answers(model, dataset) -> Answers`.

    The function takes a model whose task is "classify", "tag" or "regress", and the
    batches of `zoo.data.batches.eval_labelled`. It raises ValueError where no label has
    a weight.
    """

    @tf.function(autograph=False)
    def traced(model, batch):
        label, there = batch["label"], batch["weights"] > 0
        row = batch["row"]
        y = model(batch["tokens"], batch["lengths"], training=False)
        if model.config.task == "tag":
            row = tf.broadcast_to(row[:, None], tf.shape(label))
        row, label, y = (tf.boolean_mask(x, there) for x in (row, label, y))
        if model.config.task == "regress":
            return row, label, y, tf.square(y - label)
        logp_NC = tf.nn.log_softmax(y)
        loss_N = -tf.gather(logp_NC, label, batch_dims=1)
        found = row, label, tf.argmax(y, -1, tf.int32), loss_N
        return (*found, tf.exp(logp_NC)) if model.config.task == "classify" else found

    def answers(model, dataset) -> Answers:
        answers_of = traced.get_concrete_function(model, dataset.element_spec)
        parts = [[x.numpy() for x in answers_of(model, batch)] for batch in dataset]
        joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
        if not joined or not len(joined[0]):
            raise ValueError("evaluation: no label has a weight above 0.")
        order = np.argsort(joined[0], kind="stable")
        return Answers(*(column[order] for column in joined))

    return answers


def metrics(answers: Answers, config) -> dict[str, float]:
    """The measures of the model's task.

    Args:
      answers: of the model.
      config: the Config of the model, with the names of its classes.
    """
    right, found = answers.labels_N, answers.answers_N
    values = {"loss": float(np.mean(answers.losses_N, dtype=np.float64))}
    if config.task == "regress":
        return {
            **values,
            "mse": values["loss"],
            "pearson": _correlation(stats.pearsonr, right, found),
            "spearman": _correlation(stats.spearmanr, right, found),
        }
    values["accuracy"] = classification.accuracy(right, found)
    if config.task == "classify":
        values["macro_f1"] = classification.macro_f1(right, found)
        values["matthews"] = classification.matthews(right, found)
        values["ece"] = classification.expected_calibration_error(
            right, answers.probabilities_NC
        )
    elif marks_entities(config.labels):
        values["entity_f1"] = tagging.f1_of_counts(_entity_counts(answers, config))
    return values


def main_metric(config) -> str:
    """The name of the measure that counts: accuracy, entity_f1 or mse."""
    if config.task == "tag" and marks_entities(config.labels):
        return "entity_f1"
    return "mse" if config.task == "regress" else "accuracy"


def interval(answers: Answers, config, seed: int = 0) -> bootstrap.Interval:
    """The 95 % bootstrap interval of the main measure; rows are drawn, not words."""
    rows, measure = sample_rows(answers, config)
    return bootstrap.interval(rows, measure, seed)


def sample_rows(answers: Answers, config):
    """What the bootstrap draws from: an array of rows, and the main measure of it.

    Two models that answered the same data give arrays in the same order, so
    `zoo.metrics.bootstrap.paired` compares them.
    """
    if main_metric(config) == "entity_f1":
        return _entity_counts(answers, config), tagging.f1_of_counts
    if config.task == "regress":
        return answers.losses_N, bootstrap.mean
    right_N = (answers.labels_N == answers.answers_N).astype(np.float64)
    _, row_N, count_R = np.unique(
        answers.rows_N, return_inverse=True, return_counts=True
    )
    return np.stack([np.bincount(row_N, right_N), count_R], 1), bootstrap.ratio


def marks_entities(names) -> bool:
    """Whether the names of classes are "O" and marks such as "B-PER"."""
    return "O" in names and all(map(_ENTITY.fullmatch, names))


def confusion(answers: Answers, config) -> np.ndarray:
    """How often each class got each answer, int64 [C, C]; a row is a right class."""
    return classification.confusion(answers.labels_N, answers.answers_N, config.classes)


def _entity_counts(answers, config):
    """The entities of each row: right ones, answered ones and given ones."""
    ends = np.flatnonzero(np.diff(answers.rows_N)) + 1
    names = np.array(config.labels)
    labels, found = (
        [part.tolist() for part in np.split(names[classes_N], ends)]
        for classes_N in (answers.labels_N, answers.answers_N)
    )
    return tagging.entity_counts(labels, found)


def _correlation(function, right, found) -> float:
    """A correlation; 0 where one side is constant, of which SciPy warns."""
    if len(right) < 2 or np.ptp(right) == 0 or np.ptp(found) == 0:
        return 0.0
    return float(function(right, found).statistic)
