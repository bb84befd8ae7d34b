"""Evaluation on preferences: how often a model ranks the chosen answer highest."""

from typing import Any, cast

import numpy as np
import tensorflow as tf

from trainers.evaluation import request as requests
from trainers.evaluation.measured import Evaluated, Measured
from trainers.evaluation.request import Request
from trainers.objectives.dpo import answer_logprobs
from trainers.objectives.reward import rewards_of
from zoo.data import batches, formats
from zoo.directory import Loaded
from zoo.text.tokenizer import Tokenizer

_ROWS = 8  # groups of a batch


def make_groups(values_of):
    """Compiles `groups(model, rows, batch) -> float32 [E, G]`.

    Args:
      values_of: `values_of(model, batch)`: a value for each answer of a Batch, [B, G].

    Returns:
      The function. Its `rows` are `zoo.data.formats.Rows` of preferences, and `batch`
      is the number of groups at a time. It gives the values of the answers of each
      group, in the order of the rows; NaN where an answer is absent.
    """

    @tf.function(autograph=False)
    def traced(model, batch):
        return values_of(model, batch)

    def groups(model, rows, batch: int) -> np.ndarray:
        numbers_E = np.arange(len(rows.groups) - 1)
        dataset = batches.eval_preferences(
            rows.tokens,
            rows.weights,
            rows.starts,
            rows.groups,
            batch,
            {"number": numbers_E},
        )
        computed = traced.get_concrete_function(model, dataset.element_spec)
        size = int(np.diff(rows.groups).max())
        found_EG = np.full((len(numbers_E), size), np.nan, np.float32)
        for part in dataset:
            there_BG = part["lengths"].numpy() > 0
            there_B = there_BG[:, 0]
            values_BG = np.where(there_BG, computed(model, part).numpy(), np.nan)
            found_EG[part["number"].numpy()[there_B]] = values_BG[there_B]
        return found_EG

    return groups


def evaluate(loaded: Loaded, request: Request) -> Evaluated:
    """The numbers of a reward model, or of a language model without a reference.

    The score of an answer is the reward; or the log-probability, whose `accuracy` is
    that of the sums over tokens and whose `accuracy_per_token` is that of the means.
    `margin` is the mean score of the chosen answer minus the best other one's.

    Raises:
      ValueError: metrics of generated answers are asked for; a source or a row is
        broken, or too many are.
    """
    if request.metrics:
        raise ValueError(
            f"--metrics: {', '.join(request.metrics)}, but preferences generate no "
            "answers; leave it out."
        )
    model, tokenizer = loaded.model, cast(Tokenizer, loaded.tokenizer)
    length = request.length or request.default_length or model.config.context
    if model.limit and length > model.limit:
        raise ValueError(
            f"--length: {length}, at most the model's {model.limit} allowed."
        )
    try:
        rows = formats.rows.read(
            requests.examples(request),
            formats.BY_NAME["preference"],
            tokenizer,
            length + 1,
            request.fields,
            request.too_long,
            request.max_bad_rows,
        )
    except ValueError as error:  # whose fields are flags here
        raise ValueError(str(error).replace("config.data.", "--")) from None
    at_once = request.batch or _ROWS
    counts = ", ".join(f"{count} {what}" for what, count in rows.counts.items())
    examples = len(rows.groups) - 1
    about = f"{request.name}: {examples} preferences ({counts})"
    scored = rewards_of if model.config.task == "regress" else _logprobs
    scores_EG = make_groups(scored)(model, rows, at_once)
    measures: dict[str, Any] = of_scores(scores_EG)
    if scored is _logprobs:
        sizes_R = np.add.reduceat(rows.weights, rows.starts[:-1])
        means_EG = scores_EG / _of_groups(sizes_R, rows.groups)
        measures["accuracy_per_token"] = of_scores(means_EG)["accuracy"]
    numbers = tuple(rows.numbers[first] for first in rows.groups[:-1])
    facts = {**rows.counts, "examples": examples}
    return Evaluated(about, facts, measures, numbers=numbers)


def of_scores(scores_EG) -> dict[str, Measured]:
    """The numbers of scores [E, G], the chosen answer first and NaN if absent."""
    margins_E = scores_EG[:, 0] - np.nanmax(scores_EG[:, 1:], 1)
    accurate_E = (margins_E > 0).astype(np.float64)
    return {
        "accuracy": Measured(accurate_E),
        "margin": Measured(margins_E.astype(np.float64)),
    }


def _logprobs(model, batch):
    """The summed log-probability of each answer of a Batch."""
    return answer_logprobs(model, batch, False)


def _of_groups(values_R, groups):
    """The values of rows by group, [E, G]; 1 where an answer is absent."""
    found_EG = np.ones((len(groups) - 1, int(np.diff(groups).max())), np.float32)
    for i, (first, last) in enumerate(zip(groups[:-1], groups[1:], strict=True)):
        found_EG[i, : last - first] = values_R[first:last]
    return found_EG
