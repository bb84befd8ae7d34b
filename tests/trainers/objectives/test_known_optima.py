"""What GRPO and PPO converge to, against optima that can be computed.

The parts of the trainers are at work: roles, decoding, advantages, losses, the Step.
Each known mistake, put in on purpose, misses the optimum.
"""

import numpy as np
import pytest
import tensorflow as tf
from known_optima import (
    Learner,
    bandit,
    distance,
    forward_optimum,
    gibbs,
    quick_uniforms,  # noqa: F401
    tree,
)
from tabular_lm import Config, tabular_lm  # noqa: F401

from trainers.losses import kl
from trainers.objectives import GRPO, PPO, ppo
from trainers.rollouts.rollouts import adapted_coefficient

BETA = 0.5
NEAR, FAR = 0.02, 0.15

pytestmark = pytest.mark.usefixtures("tabular_lm", "quick_uniforms")


# ---- a bandit: which divergence is really optimised ----


def arms():
    return bandit(Config(vocab_size=8, context=1), np.linspace(-1, 1, 8))


def learnt(objective, problem=None, answers=512, rollouts=200):
    """The policy that an objective reaches, and both optima."""
    learner = Learner(objective, problem or arms(), answers, rollouts)
    policy = learner.learn()
    start, problem = learner.reference, learner.problem
    reverse, value = gibbs(start, problem, BETA)
    return policy, reverse, forward_optimum(start, problem, BETA), (learner, value)


def grpo_of(**fields):
    fields = {"samples": 16, "scale": "none", "kl_coefficient": BETA, **fields}
    return GRPO(max_new_tokens=1, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"kl_place": "loss"},
        {"aggregation": "rloo"},
        {"aggregation": "gspo", "epochs": 2, "minibatches": 2},
        {"temperature": 0.7},
    ],
    ids=str,
)
def test_reverse(fields):
    policy, reverse, forward, _ = learnt(grpo_of(**fields))
    assert distance(policy, reverse) < NEAR
    assert distance(policy, forward) > FAR


def test_forward():
    policy, reverse, forward, _ = learnt(grpo_of(kl="forward"))
    assert distance(policy, forward) < NEAR
    assert distance(policy, reverse) > FAR


@pytest.mark.parametrize(
    "value_weight",
    [
        pytest.param(0.1, id="critic"),
        pytest.param(0.0, id="frozen critic", marks=pytest.mark.long),
    ],
)
def test_ppo_of_one_token(value_weight):
    fields = {"clip_value": 0.0, "value_weight": value_weight}
    objective = PPO(max_new_tokens=1, kl_coefficient=BETA, **fields)
    policy, reverse, _, _ = learnt(objective, rollouts=80)
    assert distance(policy, reverse) < NEAR


@pytest.mark.parametrize("place", ["reward", "loss"])
def test_the_deviation_of_a_group_moves_the_optimum(place):
    policy, reverse, _, _ = learnt(grpo_of(scale="group", kl_place=place))
    assert distance(policy, reverse) > FAR


def test_mistake_k3_taken_for_reverse(monkeypatch):
    monkeypatch.setattr(kl, "in_loss", lambda name, own, ref, old: kl.k3(own, ref))
    policy, reverse, forward, _ = learnt(grpo_of(kl_place="loss"))
    assert distance(policy, reverse) > FAR
    assert distance(policy, forward) < NEAR


def test_mistake_k1_in_the_loss_holds_nothing(monkeypatch):
    monkeypatch.setattr(kl, "in_loss", lambda name, own, ref, old: kl.k1(own, ref))
    policy, reverse, _, _ = learnt(grpo_of(kl_place="loss"))
    assert distance(policy, reverse) > FAR and max(policy.values()) > 0.8


def test_mistake_k3_in_the_reward(monkeypatch):
    monkeypatch.setattr(kl, "k1", kl.k3)
    policy, reverse, _, _ = learnt(grpo_of())
    assert distance(policy, reverse) > FAR


# ---- a tree of tokens: the divergence of whole answers, and the critic ----


def branches(end=()):
    return tree(Config(vocab_size=3, context=3), 3, end)


def ppo_of(**fields):
    fields = {"clip_value": 0.0, "whiten_advantages": False, **fields}
    fields = {"max_new_tokens": 3, "kl_coefficient": BETA, "value_weight": 1.0} | fields
    return PPO(**fields)


def root_value(learner):
    batch = {"tokens": tf.constant([[0]])}
    return float(learner.objective.values(learner.roles, batch, False)[0, 0])


@pytest.mark.parametrize(
    "end",
    [
        pytest.param((), id="full", marks=pytest.mark.long),
        pytest.param((2,), id="ends"),
    ],
)
def test_soft_values(end):
    policy, best, _, (learner, value) = learnt(ppo_of(), branches(end), 512, 150)
    assert distance(policy, best) < 0.01
    assert abs(root_value(learner) - value) < 0.02


def test_whole_answers_need_the_reward():
    """GRPO with the divergence in the reward reaches the optimum of the tree."""
    objective = grpo_of(aggregation="dr_grpo")
    policy, best, _, _ = learnt(objective, branches((2,)), 512, 200)
    assert distance(policy, best) < NEAR


@pytest.mark.long
def test_mistake_score_on_the_pad(monkeypatch):
    def behind(mask_NT):
        """The first token behind an answer, or the last of a row that is full."""
        last_NT = mask_NT * (1 - tf.pad(mask_NT[:, 1:], ((0, 0), (0, 1))))
        full_N1 = mask_NT[:, -1:]
        moved_NT = tf.pad(last_NT[:, :-1], ((0, 0), (1, 0)))
        return tf.where(full_N1 > 0, last_NT, moved_NT)

    monkeypatch.setattr(ppo, "last_tokens", behind)
    policy, best, _, _ = learnt(ppo_of(), branches((2,)), 512, 80)
    assert distance(policy, best) > 0.05


@pytest.mark.long
def test_mistake_labels_shifted(monkeypatch):
    whole = ppo.sampled_logprobs

    def shifted(model, x_ND, targets_BT, options):
        return whole(model, x_ND, tf.roll(targets_BT, 1, -1), options)

    monkeypatch.setattr(ppo, "sampled_logprobs", shifted)
    policy, best, _, _ = learnt(ppo_of(), branches(), 512, 80)
    assert distance(policy, best) > 0.05


# ---- the adaptive coefficient ----


def divergence(start, problem, beta):
    """KL(best policy, start) in nats, which falls with beta."""
    best, _ = gibbs(start, problem, beta)
    return sum(p * np.log(p / start[answer]) for answer, p in best.items())


@pytest.mark.parametrize("first", [0.02, 20.0])
@pytest.mark.parametrize("target", [0.05, 0.5])
def test_the_coefficient_settles_where_the_divergence_is_its_target(first, target):
    """With a policy that is always the best one under the coefficient."""
    problem = arms()
    weights = np.random.default_rng(0).dirichlet(np.full(8, 2.0))
    start = dict(zip(problem.rewards, weights.tolist(), strict=True))
    low, high = 1e-3, 1e3
    for _ in range(60):
        wanted = (low * high) ** 0.5
        above = divergence(start, problem, wanted) > target
        low, high = (wanted, high) if above else (low, wanted)
    found = first
    for _ in range(1500):
        measured = divergence(start, problem, found)
        found = adapted_coefficient(found, measured, target, 0.05)
    assert found == pytest.approx(wanted, rel=1e-3)
    assert measured == pytest.approx(target, rel=1e-3)
