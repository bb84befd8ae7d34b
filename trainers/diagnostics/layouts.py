"""What the page "Custom Scalars" of TensorBoard shows of each method of alignment."""

from typing import Any

from tensorboard.plugins.custom_scalar import layout_pb2, summary

_pb: Any = layout_pb2  # its messages are made when it is imported

_REWARDS = {
    "Reward": ("reward", "reward_std", "reward/.+"),
    "Groups without variance": ("groups_without_variance",),
    "Rounds of sampling": ("rounds",),
}
_DIVERGENCE = {
    "KL to the reference": ("kl", "kl_loss"),
    "KL coefficient": ("kl_coefficient",),
}
_POLICY = {
    "Entropy": ("entropy",),
    "Ratio": ("ratio",),
    "Clipped": ("clip_low", "clip_high"),
    "Policy loss": ("policy_loss",),
}
_ANSWERS = {"Length": ("length",), "Without an end": ("missing_end",)}
_VALUES = {
    "Value loss": ("value_loss",),
    "Explained variance": ("explained_variance",),
    "Clipped values": ("value_clip",),
}
_PAIRS = {
    "Loss": ("loss",),
    "Accuracy": ("accuracy",),
    "Margin": ("margin",),
    "Chosen and rejected": ("chosen_reward", "rejected_reward"),
}
_ROLLOUTS = {
    "Rewards": _REWARDS,
    "Divergence": _DIVERGENCE,
    "Policy": _POLICY,
    "Answers": _ANSWERS,
}

# objective to category to chart to the names of its metrics, regular expressions
CHARTS = {
    "reward": {"Preferences": _PAIRS},
    "dpo": {"Preferences": _PAIRS},
    "ppo": {**_ROLLOUTS, "Values": _VALUES},
    "grpo": _ROLLOUTS,
}


def layout(objective: str) -> Any:
    """The `Layout` of an objective's charts; None where there is none.

    A chart has the curves of training and of evaluation.

    Args:
      objective: the name of an objective.
    """
    if objective not in CHARTS:
        return None
    return _pb.Layout(
        category=[
            _pb.Category(
                title=title,
                chart=[_chart(name, metrics) for name, metrics in charts.items()],
            )
            for title, charts in CHARTS[objective].items()
        ]
    )


def record(objective: str) -> bytes | None:
    """The layout for `tf.summary.experimental.write_raw_pb`, or None.

    Args:
      objective: the name of an objective.
    """
    made = layout(objective)
    return made and summary.pb(made).SerializeToString()


def _chart(title, metrics):
    """A chart whose curves are the tags of some metrics."""
    tags = [f"^[^/]+/(rollout/)?{metric}$" for metric in metrics]
    lines = _pb.MultilineChartContent(tag=tags)
    return _pb.Chart(title=title, multiline=lines)
