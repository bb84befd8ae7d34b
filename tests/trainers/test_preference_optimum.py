"""Training on preferences ends at the optimum that the mathematics names.

The problems, and their optima, are those of `preference_optima`.
"""

import math

import numpy as np
import pytest
from preference_optima import (
    ANSWERS,
    BETA,
    STRENGTHS,
    counts_of,
    distance,
    entropy,
    gibbs,
    least_squares,
    lengths,
    logprobs,
    reference,
    reward_model,
    rewards,
    trained,
    trained_on,
    with_margin,
)
from tabular_lm import tabular_lm  # noqa: F401

from trainers.losses import bradley_terry, preference
from trainers.objectives import DPO, Reward

pytestmark = pytest.mark.usefixtures("tabular_lm", "float32")


def test_sigmoid_gives_the_gibbs_distribution(tmp_path):
    counts = counts_of(STRENGTHS)
    result, model = trained(DPO(beta=BETA), counts, tmp_path)
    assert distance(logprobs(model), gibbs()) < 1e-3
    assert distance(logprobs(model), reference()) > 0.2
    assert result.metrics["loss"] == pytest.approx(entropy(counts), abs=1e-5)
    right = sum(n for (i, j), n in counts.items() if i > j) / sum(counts.values())
    assert result.metrics["accuracy"] == pytest.approx(right, abs=1e-6)


@pytest.mark.parametrize("kind", ["ipo", "ipo_norm"])
def test_ipo_gives_the_least_squares(kind, tmp_path):
    counts = counts_of(STRENGTHS)
    _, model = trained(DPO(kind=kind, beta=BETA), counts, tmp_path)
    scores = logprobs(model) - reference()
    if kind == "ipo_norm":
        scores /= lengths()
    wanted = least_squares(counts, 1 / (2 * BETA))
    np.testing.assert_allclose(scores - scores.mean(), wanted, atol=2e-3)


def test_sigmoid_norm_gives_rewards_per_token(tmp_path):
    _, model = trained(
        DPO(kind="sigmoid_norm", beta=2.0), counts_of(STRENGTHS), tmp_path
    )
    scores = 2.0 * (logprobs(model) - reference()) / lengths()
    rewards = np.log(STRENGTHS)
    np.testing.assert_allclose(
        scores - scores.mean(), rewards - rewards.mean(), atol=2e-3
    )


@pytest.mark.long
def test_robust_ignores_flipped_labels_and_sigmoid_does_not(tmp_path):
    counts = counts_of(STRENGTHS, flips=1)
    robust = DPO(kind="robust", beta=BETA, label_smoothing=0.25)
    _, model = trained(robust, counts, tmp_path / "robust", steps=400)
    assert distance(logprobs(model), gibbs()) < 1e-3
    _, model = trained(DPO(beta=BETA), counts, tmp_path / "sigmoid")
    assert distance(logprobs(model), gibbs()) > 0.05


def test_conservative_shrinks_the_gap(tmp_path):
    objective = DPO(kind="conservative", beta=0.3, label_smoothing=0.1)
    _, model = trained(objective, {(0, 1): 4, (1, 0): 1}, tmp_path)
    scores = logprobs(model, 2) - reference(2)
    assert scores[0] - scores[1] == pytest.approx(3.4865618509, abs=2e-3)


def test_simpo_has_a_margin_and_no_reference(tmp_path):
    objective = DPO(kind="simpo", beta=2.0, gamma=0.7, reference="")
    _, model = trained(objective, {(0, 1): 4, (1, 0): 1}, tmp_path)
    scores = logprobs(model, 2) / lengths(2)
    assert 2.0 * (scores[0] - scores[1]) == pytest.approx(1.8936182849, abs=2e-3)
    assert with_margin(0.8, 0.7) == pytest.approx(1.8936182849, abs=1e-9)


# ---- reward models ----


def test_a_reward_model_finds_the_rewards(tmp_path):
    counts = counts_of(STRENGTHS)
    result, model = trained(Reward(), counts, tmp_path, reward_model(), lr=0.04)
    assert result.metrics["loss"] == pytest.approx(entropy(counts), abs=1e-4)
    # those of the kept model have mean 0 and deviation 1 over the answers of the data
    share = np.zeros(len(STRENGTHS))
    for pair, n in counts.items():
        share[list(pair)] += n
    share /= share.sum()
    wanted = np.log(STRENGTHS)
    wanted = wanted - share @ wanted
    wanted /= math.sqrt(share @ wanted**2)
    np.testing.assert_allclose(rewards(model), wanted, atol=5e-3)


def test_a_margin_widens_the_gap(tmp_path):
    result, _ = trained(
        Reward(), {(0, 1): 4, (1, 0): 1}, tmp_path, reward_model(), lr=0.04, margin=0.7
    )
    gap = result.metrics["margin"] / 0.6  # of both orders, 0.8 and 0.2
    assert gap == pytest.approx(1.8936182849, abs=2e-3)


def test_centered_rewards_have_the_sum_0(tmp_path):
    result, _ = trained(
        Reward(center=0.3), {(0, 1): 4, (1, 0): 1}, tmp_path, reward_model(), lr=0.04
    )
    metrics = result.metrics
    assert metrics["margin"] / 0.6 == pytest.approx(math.log(4), abs=2e-3)
    assert metrics["chosen_reward"] + metrics["rejected_reward"] == pytest.approx(
        0, abs=1e-3
    )


def test_the_best_of_several_is_learnt_by_its_share(tmp_path):
    """Answer i is best with the probability w_i / (sum of w): rewards are log w."""
    strengths = STRENGTHS[:4]
    rows = []
    for i, count in enumerate(strengths):
        others = [ANSWERS[j] for j in range(4) if j != i]
        rows += [{"prompt": "p", "chosen": ANSWERS[i], "rejected": others}] * int(count)
    result, model = trained_on(rows, Reward(), tmp_path, reward_model(), lr=0.04)
    share = strengths / strengths.sum()
    assert result.metrics["loss"] == pytest.approx(-share @ np.log(share), abs=1e-4)
    found = rewards(model, 4)
    wanted = np.log(strengths)
    np.testing.assert_allclose(
        found, (wanted - wanted.mean()) / wanted.std(), atol=5e-3
    )


# ---- known mistakes do not pass ----


def no_reference(kind, sums_B2, lengths_B2, reference_B2=None):
    del kind, lengths_B2, reference_B2
    return sums_B2


def averaged(kind, sums_B2, lengths_B2, reference_B2=None):
    del kind
    return (sums_B2 - reference_B2) / lengths_B2


@pytest.mark.parametrize(
    "scores", [no_reference, pytest.param(averaged, marks=pytest.mark.long)]
)
def test_wrong_scores_miss_the_optimum(scores, tmp_path, monkeypatch):
    monkeypatch.setattr(preference, "scores", scores)
    _, model = trained(DPO(beta=BETA), counts_of(STRENGTHS), tmp_path)
    assert distance(logprobs(model), gibbs()) > 0.05


def test_a_wrong_target_misses_the_optimum(tmp_path, monkeypatch):
    def losses(kind, scores_B2, beta, *_):
        return (scores_B2[:, 0] - scores_B2[:, 1] - 1 / beta) ** 2

    monkeypatch.setattr(preference, "losses", losses)
    counts = counts_of(STRENGTHS)
    _, model = trained(DPO(kind="ipo", beta=BETA), counts, tmp_path)
    scores = logprobs(model) - reference()
    wanted = least_squares(counts, 1 / (2 * BETA))
    assert np.abs(scores - scores.mean() - wanted).max() > 0.05


@pytest.mark.long
def test_a_margin_on_the_wrong_side_misses_the_optimum(tmp_path, monkeypatch):
    pairs = bradley_terry.pairs
    monkeypatch.setattr(
        bradley_terry, "pairs", lambda r, margin, center: pairs(r, -margin, center)
    )
    result, _ = trained(
        Reward(), {(0, 1): 4, (1, 0): 1}, tmp_path, reward_model(), lr=0.04, margin=0.7
    )
    assert abs(result.metrics["margin"] / 0.6 - 1.8936182849) > 0.1
