"""What the trainers of alignment converge to, beside the optimum that can be computed.

    python -m benchmarks.align_proof [--quick]

Each policy is a table, so what a method should reach is known. A row has the method,
its optimum, a number of that optimum, the same number of what was reached, and the
distance of both. The numbers are:

    bandit, tree    the mean reward less beta times the divergence; the distance is the
                    total variation. A row "critic" has the value of the prompt.
    preferences     the probability of the strongest answer, with the total variation;
                    its score, with the largest difference of all scores; the gap
                    between two answers; or the loss
    gradients       a sum over logits, with the largest difference of all of them

The last column is the largest distance that a right method may have, or behind a > the
smallest one of what must miss: a known mistake, with "(mistake)" in its name, or a
method beside the optimum of the other divergence.

The command fails where a row does not hold. `hinge`, `kto` and `orpo` are not here:
their optimum is not finite, or has no closed form. The tests compare them with TRL.
"""

import pathlib
import sys
from unittest import mock

import numpy as np
import tensorflow as tf
from absl import flags

from zoo import command

with command.quiet_imports():
    from benchmarks import proof_preferences
    from benchmarks.proof_table import Table
    from trainers.losses import kl, policy_gradient
    from trainers.objectives import GRPO, PPO, ppo
    from trainers.objectives import grpo as grpo_module
    from trainers.objectives.logprobs import of_features
    from trainers.run_flags import run_app
    from zoo import registry

    sys.path.append(str(pathlib.Path(__file__).parents[1] / "tests/helpers"))
    import exact_gradients as exact
    import known_optima as known
    import tabular_lm

    from zoo.decode import sampling

_QUICK = flags.DEFINE_bool("quick", False, "Fewer answers and rollouts.")

BETA = 0.5
NEAR, FAR = 0.02, 0.15  # total variation of the bandit, and of GRPO on the tree
TREE, VALUE, MISSED = 0.01, 0.02, 0.05


def grpo(**fields):
    """GRPO of one token under a divergence."""
    usual = {"max_new_tokens": 1, "samples": 16, "scale": "none"}
    return GRPO(**{**usual, "kl_coefficient": BETA, **fields})


def ppo_of(**fields):
    """PPO whose critic learns as fast as the policy."""
    usual = {"clip_value": 0.0, "whiten_advantages": False, "value_weight": 1.0}
    return PPO(**{"max_new_tokens": 3, "kl_coefficient": BETA, **usual, **fields})


BANDIT = (
    ("dapo, k1 in the reward", "reverse", grpo()),
    ("dapo, w k3 in the loss", "reverse", grpo(kl_place="loss")),
    ("dapo, k3 in the loss", "forward", grpo(kl="forward")),
    ("bnpo", "reverse", grpo(aggregation="bnpo")),
    ("grpo", "reverse", grpo(aggregation="grpo")),
    ("dr_grpo", "reverse", grpo(aggregation="dr_grpo")),
    ("gspo", "reverse", grpo(aggregation="gspo")),
    ("rloo", "reverse", grpo(aggregation="rloo")),
    ("dapo, temperature 0.7", "reverse", grpo(temperature=0.7)),
    ("ppo", "reverse", ppo_of(max_new_tokens=1)),
    ("scale group (mistake)", "", grpo(scale="group", kl_place="loss")),
    ("scale batch (mistake)", "", grpo(scale="batch", kl_place="loss")),
)
TREES = (
    ("ppo", False, ppo_of()),
    ("ppo, whitening", False, ppo_of(whiten_advantages=True)),
    ("ppo, answers that end", True, ppo_of()),
    ("rloo, answers that end", True, grpo(aggregation="rloo", max_new_tokens=3)),
    ("dr_grpo, answers that end", True, grpo(aggregation="dr_grpo", max_new_tokens=3)),
)


def main(argv):
    del argv
    sampling.uniforms = known.uniforms_at_once
    registry._ENTRIES["tabular_lm"] = registry.Entry(
        "tabular_lm", tabular_lm.Config, {}, tabular_lm.TabularLM, "a table"
    )
    table = Table()
    for part in (bandit, trees, mistakes, gradients):
        part(table)
    proof_preferences.preferences(table)
    proof_preferences.rewards(table)
    if table.failed:
        raise ValueError(f"align_proof: {', '.join(table.failed)} failed.")


# ---- policies ----


def learnt(problem, objective):
    """The policy after all rollouts, and what made it."""
    answers, rollouts = (512, 200) if _QUICK.value else (1024, 400)
    learner = known.Learner(objective, problem, answers, rollouts)
    return learner.learn(), learner


def arms():
    """Eight answers of one token."""
    config = tabular_lm.Config(vocab_size=8, context=1)
    return known.bandit(config, np.linspace(-1, 1, 8))


def branches(ends):
    """Answers of up to three tokens."""
    config = tabular_lm.Config(vocab_size=4, context=3)
    return known.tree(config, 3, (3,) if ends else ())


def judged(table, name, kind, policy, learner, bound, miss=False):
    """The row of a policy beside the optimum of a divergence."""
    start, problem = learner.reference, learner.problem
    optima = {
        "reverse": lambda: known.gibbs(start, problem, BETA)[0],
        "forward": lambda: known.forward_optimum(start, problem, BETA),
    }
    best = optima[kind]()
    worth = (known.worth(p, start, problem, BETA, kind) for p in (best, policy))
    distance = known.distance(policy, best)
    table.row(name, f"{kind} KL", *worth, distance, bound, miss)


def bandit(table):
    """One token: which divergence is really optimised."""
    table.head("bandit")
    for name, wanted, objective in BANDIT:
        found = learnt(arms(), objective)
        for kind in ("reverse", "forward"):
            right = kind == wanted
            judged(table, name, kind, *found, NEAR, miss=not right)


def trees(table):
    """Whole answers, and the critic."""
    table.head("tree")
    for name, ends, objective in TREES:
        policy, learner = learnt(branches(ends), objective)
        critic = isinstance(objective, PPO)
        judged(table, name, "reverse", policy, learner, TREE if critic else NEAR)
        if critic:
            batch = {"tokens": tf.constant([[known.PROMPT]])}
            found = float(objective.values(learner.roles, batch, False)[0, 0])
            _, value = known.gibbs(learner.reference, learner.problem, BETA)
            row = ("beta log Z", value, found, abs(found - value), VALUE)
            table.row(f"{name}: critic", *row)


def mistakes(table):
    """Puts known mistakes into the objectives."""
    table.head("mistakes")

    def k3(name, own, reference, old):
        return kl.k3(own, reference)

    def k1(name, own, reference, old):
        return kl.k1(own, reference)

    last, whole = ppo.last_tokens, ppo.sampled_logprobs

    def on_the_pad(mask_NT):
        """The first place behind an answer; the last token of one without padding."""
        last_NT = last(mask_NT)
        behind_NT = tf.pad(last_NT[:, :-1], ((0, 0), (1, 0)))
        return tf.where(mask_NT[:, -1:] > 0, last_NT, behind_NT)

    def shifted(model, x_ND, targets_BT, options):
        return whole(model, x_ND, tf.roll(targets_BT, 1, -1), options)

    for name, module, part, wrong, problem, objective, bound in (
        ("k3 in the loss", kl, "in_loss", k3, arms(), grpo(kl_place="loss"), FAR),
        ("k1 in the loss", kl, "in_loss", k1, arms(), grpo(kl_place="loss"), FAR),
        ("k3 in the reward", kl, "k1", kl.k3, arms(), grpo(), FAR),
        ("score on the pad", ppo, "last_tokens", on_the_pad, branches(True), 0, MISSED),
        ("shift", ppo, "sampled_logprobs", shifted, branches(False), 0, MISSED),
    ):
        with mock.patch.object(module, part, wrong):
            found = learnt(problem, objective or ppo_of())
        judged(table, f"{name} (mistake)", "reverse", *found, bound, miss=True)


# ---- gradients ----


def gradients(table):
    """The bias by length, and the distribution that was sampled."""
    table.head("gradients")
    for name, weight in (
        ("grpo", lambda size: 1 / size),
        *((n, lambda size: 0.0) for n in ("dr_grpo", "dapo", "bnpo", "rloo")),
    ):
        for hazard in (0.2, 0.5):
            found, *_ = exact.length_gradient(hazard, -1.0, aggregation=name)
            wanted = exact.length_wanted(hazard, -1.0, weight)
            row = (wanted.sum(), found.sum(), np.abs(found - wanted).max(), 1e-6)
            table.row(f"{name}, hazard {hazard}", "length", *row)

    def each(losses_BT, mask_BT, *, aggregation, max_length):
        return policy_gradient.answer_means(losses_BT, mask_BT)

    with mock.patch.object(policy_gradient, "aggregate", each):
        found, *_ = exact.length_gradient(0.2, -1.0, aggregation="dr_grpo")
    row = ("length", 0.0, found.sum(), np.abs(found).max(), 0.01)
    table.row("dr_grpo, 1/|o| (mistake)", *row, miss=True)

    def unsampled(model, x_ND, targets_BT, options):
        return of_features(model, x_ND, targets_BT)

    rng = np.random.default_rng(0)
    logits, worth = rng.normal(size=8), rng.normal(size=8)
    for temperature, top_k in ((0.6, 0), (1.7, 3)):
        objective = GRPO(temperature=temperature, top_k=top_k)
        q, wanted = exact.sampled_wanted(logits, worth, temperature, top_k)
        for mistake in (False, True):
            part = unsampled if mistake else grpo_module.sampled_logprobs
            with mock.patch.object(grpo_module, "sampled_logprobs", part):
                found = exact.sampled_gradient(logits, worth, q, objective)
            name = "unsampled (mistake)" if mistake else "sampled distribution"
            sums = (np.abs(wanted).sum(), np.abs(found).sum())
            apart = np.abs(found - wanted).max()
            bound = 0.01 if mistake else 1e-6
            table.row(name, f"t {temperature}, k {top_k}", *sums, apart, bound, mistake)


if __name__ == "__main__":
    run_app(main)
