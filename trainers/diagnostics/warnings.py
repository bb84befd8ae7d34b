"""Warnings of alignment runs that go wrong in a known way, and what to change.

They read the numbers of a training line alone, and change nothing.
"""

from typing import NamedTuple

DIVERGED = 1.0  # nats a token, where samples of the two models have little in common
COLLAPSED = 0.1  # of the first entropy
FULL = 0.95  # of the longest answer
ENDLESS = 0.5  # of the answers
CLIPPED = 0.5  # of the tokens, which then teach nothing


class RunWarning(NamedTuple):
    """What goes wrong.

    Attributes:
      name: the same for each line of the same trouble, such as "kl".
      text: what is seen, with the numbers, and what to change.
    """

    name: str
    text: str


def of_line(
    metrics: dict[str, float], first: dict[str, float], max_new_tokens: int
) -> list[RunWarning]:
    """The warnings of a training line.

    What a line does not have gives no warning, nor does a number that is not finite.

    Args:
      metrics: name to number, of one line; the names may begin with "rollout/".
      first: the numbers of the run's first line.
      max_new_tokens: the most tokens of an answer.
    """
    now, then = _plain(metrics), _plain(first)
    found = (
        _kl(now),
        _entropy(now, then),
        _length(now, max_new_tokens),
        _reward(now),
        _clip(now),
    )
    return [warning for warning in found if warning]


def _plain(metrics):
    """The numbers without the prefix of rollouts."""
    return {name.removeprefix("rollout/"): x for name, x in metrics.items()}


def _kl(now):
    """The divergence of an answer is a sum over its tokens."""
    if not now.get("length", 0) > 0:
        return None
    a_token = now.get("kl", 0) / now["length"]
    if not a_token > DIVERGED:
        return None
    return RunWarning(
        "kl",
        f"The policy is {a_token:.2f} nats a token from its reference, so that answers "
        "may be no text any more. Raise objective.kl_coefficient, or lower "
        "optimizer.lr or objective.epochs.",
    )


def _entropy(now, then):
    """A policy without entropy samples one answer, and so learns nothing more."""
    if "entropy" not in now or not then.get("entropy", 0) > 0:
        return None
    if not now["entropy"] < COLLAPSED * then["entropy"]:
        return None
    return RunWarning(
        "entropy",
        f"The entropy fell from {then['entropy']:.3f} to {now['entropy']:.3f} nats a "
        "token, so that all answers to a prompt become one. Raise "
        "objective.kl_coefficient, or lower optimizer.lr; in grpo, raise "
        "objective.clip_high.",
    )


def _length(now, most):
    """Answers that do not end are long, or were never taught an end."""
    long = now.get("length", 0) >= FULL * most
    # of a line without `missing_end`, long answers alone tell
    if not long or not now.get("missing_end", 1.0) >= ENDLESS:
        return None
    return RunWarning(
        "length",
        f"Answers have {now['length']:.1f} of {most} tokens, and most do not end. Set "
        "a negative objective.missing_end, add a reward of length, raise "
        "objective.max_new_tokens, or in grpo take objective.aggregation 'dr_grpo'.",
    )


def _reward(now):
    """Equal rewards teach nothing."""
    if now.get("reward_std", 1.0) == 0:
        return RunWarning(
            "reward",
            f"All rewards are {now.get('reward', 0.0):g}, so that nothing is learnt. "
            "Take a reward that also pays part of the way, easier prompts, or a "
            "higher objective.temperature.",
        )
    if now.get("groups_without_variance", 0.0) == 1:
        return RunWarning(
            "groups",
            "The answers to each prompt have equal rewards, so that nothing is "
            "learnt. Raise objective.samples or objective.temperature, or take "
            "prompts that are at times solved.",
        )
    return None


def _clip(now):
    """A clipped token has no gradient."""
    share = now.get("clip_low", 0.0) + now.get("clip_high", 0.0)
    if not share > CLIPPED:
        return None
    return RunWarning(
        "clip",
        f"{share:.0%} of the ratios are clipped and teach nothing. Lower optimizer.lr, "
        "objective.epochs or objective.minibatches.",
    )
