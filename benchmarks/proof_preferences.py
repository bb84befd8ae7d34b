"""The rows of `benchmarks.align_proof` of what learns from preferences."""

import contextlib
import io
import math
import pathlib
import sys
import tempfile
from unittest import mock

import numpy as np
from scipy.special import softmax

from trainers.losses import bradley_terry, preference
from trainers.objectives import DPO, Reward

sys.path.append(str(pathlib.Path(__file__).parents[1] / "tests/helpers"))
import preference_optima as pairs  # noqa: E402

MISSED = 0.05  # the least distance of a known mistake
TWO = {(0, 1): 4, (1, 0): 1}  # one answer is preferred by four people of five


def trained(objective, counts, *args, **fields):
    """The result of a run on pairs, and its kept model."""
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        place = pathlib.Path(folder) / "pairs"
        return pairs.trained(objective, counts, place, *args, **fields)


def preferences(table):
    """The optima of the DPO family on the whole population."""
    table.head("preferences")
    even = pairs.counts_of(pairs.STRENGTHS)
    flipped = pairs.counts_of(pairs.STRENGTHS, flips=1)

    def population(name, objective, counts, bound, miss=False, **fields):
        result, model = trained(objective, counts, **fields)
        best, found = pairs.gibbs(), pairs.logprobs(model)
        strongest = (float(softmax(x)[-1]) for x in (best, found))
        apart = pairs.distance(found, best)
        table.row(name, "Gibbs", *strongest, apart, bound, miss)
        return result.metrics["loss"]

    def scores(name, objective, wanted, scale, miss=False):
        _, model = trained(objective, even)
        found = scale(pairs.logprobs(model) - pairs.reference())
        found, wanted = found - found.mean(), wanted - wanted.mean()
        apart = np.abs(found - wanted).max()
        row = (wanted[-1], found[-1], apart, MISSED if miss else 2e-3)
        table.row(name, "scores", *row, miss)

    def gap(name, objective, wanted, score):
        _, model = trained(objective, TWO)
        found = score(model)
        found = found[0] - found[1]
        table.row(name, "gap", wanted, found, abs(found - wanted), 2e-3)

    squares = pairs.least_squares(even, 1 / (2 * pairs.BETA))
    beta, sizes = pairs.BETA, pairs.lengths()
    loss, least = population("sigmoid", DPO(beta=beta), even, 1e-3), pairs.entropy(even)
    table.row("sigmoid", "least loss", least, loss, abs(loss - least), 1e-5)
    robust = DPO(kind="robust", beta=beta, label_smoothing=0.25)
    population("robust, 1/4 swapped", robust, flipped, 1e-3, steps=400)
    population("sigmoid, swapped (mistake)", DPO(beta=beta), flipped, MISSED, miss=True)
    ipo = DPO(kind="ipo", beta=beta)
    scores("ipo", ipo, squares, lambda h: h)
    scores("ipo_norm", DPO(kind="ipo_norm", beta=beta), squares, lambda h: h / sizes)
    norm = DPO(kind="sigmoid_norm", beta=2.0)
    scores("sigmoid_norm", norm, np.log(pairs.STRENGTHS), lambda h: 2 * h / sizes)
    conservative = DPO(kind="conservative", beta=0.3, label_smoothing=0.1)
    share = 0.8 * 0.9 + 0.2 * 0.1
    wanted = math.log(share / (1 - share)) / 0.3
    own, two = pairs.reference(2), pairs.lengths(2)
    gap("conservative", conservative, wanted, lambda m: pairs.logprobs(m, 2) - own)
    simpo = DPO(kind="simpo", beta=2.0, gamma=0.7, reference="")
    wanted = pairs.with_margin(0.8, 0.7)
    gap("simpo", simpo, wanted, lambda m: 2 * pairs.logprobs(m, 2) / two)

    def alone(kind, sums_B2, lengths_B2, reference_B2=None):
        return sums_B2

    def twice(kind, scores_B2, beta, *_):
        return (scores_B2[:, 0] - scores_B2[:, 1] - 1 / beta) ** 2

    with mock.patch.object(preference, "scores", alone):
        name = "no reference (mistake)"
        population(name, DPO(beta=beta), even, MISSED, miss=True)
    with mock.patch.object(preference, "losses", twice):
        scores("ipo, 1 / beta (mistake)", ipo, squares, lambda h: h, miss=True)


def rewards(table):
    """Reward models."""
    table.head("reward model")
    model = pairs.reward_model()

    def gap(name, objective, wanted, bound=2e-3, miss=False, **columns):
        result, _ = trained(objective, TWO, model, lr=0.04, **columns)
        found = result.metrics["margin"] / 0.6  # of both orders, 0.8 and 0.2
        table.row(name, "gap", wanted, found, abs(found - wanted), bound, miss)
        return result.metrics

    counts = pairs.counts_of(pairs.STRENGTHS)
    result, _ = trained(Reward(), counts, model, lr=0.04)
    least, found = pairs.entropy(counts), result.metrics["loss"]
    table.row("Bradley-Terry", "least loss", least, found, abs(found - least), 1e-4)
    wanted = pairs.with_margin(0.8, 0.7)
    gap("margin 0.7", Reward(), wanted, margin=0.7)
    metrics = gap("centering", Reward(center=0.3), math.log(4))
    sum_ = metrics["chosen_reward"] + metrics["rejected_reward"]
    table.row("centering", "sum", 0.0, sum_, abs(sum_), 1e-3)
    right = bradley_terry.pairs
    with mock.patch.object(
        bradley_terry, "pairs", lambda r, margin, center: right(r, -margin, center)
    ):
        gap("-margin (mistake)", Reward(), wanted, 0.1, miss=True, margin=0.7)
