"""What the trainers of alignment converge to, beside the optimum that can be computed.

    python -m benchmarks.align_proof [--quick]

The policy is a table, so the best policy under a divergence from its start is known.
The rows are: the problem, the method, the optimum that it should reach, the total
variation from it, and that from the optimum of the other divergence. PPO on the tree
also gives the value of the prompt beside beta log Z. The lines below the table are
known mistakes, which must miss. The command fails where one of them does not.
"""

import pathlib
import sys

import numpy as np
import tensorflow as tf
from absl import flags

from zoo import command

with command.quiet_imports():
    from trainers.losses import kl
    from trainers.objectives import GRPO, PPO
    from trainers.run_flags import run_app
    from zoo import registry

    sys.path.append(str(pathlib.Path(__file__).parents[1] / "tests/helpers"))
    import known_optima as known
    import tabular_lm

    from zoo.decode import sampling

_QUICK = flags.DEFINE_bool("quick", False, "Fewer answers and rollouts.")

BETA = 0.5
NEAR, FAR = 0.02, 0.15
TREE, VALUE = 0.01, 0.02


def grpo(**fields):
    """GRPO of one token under a divergence."""
    return GRPO(
        **{
            "max_new_tokens": 1,
            "samples": 16,
            "scale": "none",
            "kl_coefficient": BETA,
            **fields,
        }
    )


def ppo(**fields):
    """PPO whose critic learns as fast as the policy."""
    usual = {"clip_value": 0.0, "whiten_advantages": False, "value_weight": 1.0}
    return PPO(**{"max_new_tokens": 3, "kl_coefficient": BETA, **usual, **fields})


BANDIT = (
    ("grpo, k1 in the reward", "reverse", grpo()),
    ("grpo, w k3 in the loss", "reverse", grpo(kl_place="loss")),
    ("grpo, k3 in the loss", "forward", grpo(kl="forward")),
    ("grpo, mean over answers", "reverse", grpo(aggregation="grpo")),
    ("dr_grpo", "reverse", grpo(aggregation="dr_grpo")),
    ("gspo", "reverse", grpo(aggregation="gspo")),
    ("rloo", "reverse", grpo(aggregation="rloo")),
    ("grpo, temperature 0.7", "reverse", grpo(temperature=0.7)),
    ("ppo", "reverse", ppo(max_new_tokens=1)),
    ("grpo, scale group", "neither", grpo(scale="group", kl_place="loss")),
    ("grpo, scale batch", "neither", grpo(scale="batch", kl_place="loss")),
)
TREES = (
    ("ppo", "full", ppo()),
    ("ppo, whitening", "full", ppo(whiten_advantages=True)),
    ("ppo", "ends", ppo()),
    ("rloo", "ends", grpo(aggregation="rloo", max_new_tokens=3)),
    ("dr_grpo", "ends", grpo(aggregation="dr_grpo", max_new_tokens=3)),
)


def main(argv):
    del argv
    sampling.uniforms = known.uniforms_at_once
    registry._ENTRIES["tabular_lm"] = registry.Entry(
        "tabular_lm",
        tabular_lm.Config,
        {},
        tabular_lm.TabularLM,
        "a table",
        own_layers=False,
    )
    failed = [*_bandit(), *_trees(), *_mistakes()]
    if failed:
        raise ValueError(f"align_proof: {', '.join(failed)} failed.")


def _learnt(problem, objective, answers, rollouts):
    """The policy after all rollouts, and what made it."""
    learner = known.Learner(objective, problem, answers, rollouts)
    policy = learner.learn()
    return policy, learner


def _sizes(answers, rollouts):
    """Answers of a rollout, and the number of rollouts."""
    return (answers // 2, rollouts // 2) if _QUICK.value else (answers, rollouts)


def _arms():
    """Eight answers of one token."""
    config = tabular_lm.Config(vocab_size=8, context=1)
    return known.bandit(config, np.linspace(-1, 1, 8))


def _bandit():
    """Prints the rows of the bandit; gives the names of those that miss."""
    print(f"{'bandit':28} {'optimum':>8} {'reverse':>8} {'forward':>8}")
    for name, wanted, objective in BANDIT:
        policy, learner = _learnt(_arms(), objective, *_sizes(1024, 400))
        reverse, _ = known.gibbs(learner.reference, learner.problem, BETA)
        forward = known.forward_optimum(learner.reference, learner.problem, BETA)
        apart = {
            "reverse": known.distance(policy, reverse),
            "forward": known.distance(policy, forward),
        }
        print(f"{name:28} {wanted:>8} {apart['reverse']:8.4f} {apart['forward']:8.4f}")
        for kind, value in apart.items():
            if value > NEAR if kind == wanted else value < NEAR:
                yield name


def _trees():
    """The same of the tree, with the critic's value of the prompt."""
    print(f"{'tree':28} {'answers':>8} {'reverse':>8} {'value':>8} {'known':>8}")
    for name, kind, objective in TREES:
        problem = known.tree(
            tabular_lm.Config(vocab_size=4, context=3),
            3,
            (3,) if kind == "ends" else (),
        )
        policy, learner = _learnt(problem, objective, *_sizes(1024, 400))
        best, value = known.gibbs(learner.reference, problem, BETA)
        apart, found = known.distance(policy, best), np.nan
        if isinstance(objective, PPO):
            batch = {"tokens": tf.constant([[known.PROMPT]])}
            found = float(objective.values(learner.roles, batch, False)[0, 0])
        print(f"{name:28} {kind:>8} {apart:8.4f} {found:8.4f} {value:8.4f}")
        if apart > (NEAR if np.isnan(found) else TREE) or abs(found - value) > VALUE:
            yield f"{name} ({kind})"


def _mistakes():
    """Puts known mistakes in; gives the names of those that reach the optimum."""
    print("mistakes, which must miss the optimum of the reverse divergence:")
    mistakes = (
        ("k3 in the loss", "in_loss", lambda name, own, ref, old: kl.k3(own, ref)),
        ("k1 in the loss", "in_loss", lambda name, own, ref, old: kl.k1(own, ref)),
        ("k3 in the reward", "k1", kl.k3),
    )
    for name, place, wrong in mistakes:
        right = getattr(kl, place)
        setattr(kl, place, wrong)
        try:
            where = "reward" if place == "k1" else "loss"
            objective = grpo(kl_place=where)
            policy, learner = _learnt(_arms(), objective, *_sizes(1024, 400))
        finally:
            setattr(kl, place, right)
        best, _ = known.gibbs(learner.reference, learner.problem, BETA)
        apart = known.distance(policy, best)
        print(f"{name:28} {'':8} {apart:8.4f}")
        if apart < FAR:
            yield name


if __name__ == "__main__":
    run_app(main)
