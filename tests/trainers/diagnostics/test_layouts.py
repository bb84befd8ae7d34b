"""TensorBoard reads the layouts, and they show the metrics."""

import json
import re
import warnings

import pytest
import tensorflow as tf
from tensorboard import context
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.plugins import base_plugin

from trainers.diagnostics import layouts

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of what TensorBoard vendors
    from tensorboard.plugins.custom_scalar import custom_scalars_plugin

PAIRS = ["train/accuracy", "eval/accuracy", "train/margin", "train/chosen_reward"]
ROLLOUTS = [
    "train/reward",
    "train/rollout/reward",
    "train/rollout/reward/exact",
    "train/rollout/kl",
    "train/kl_coefficient",
    "train/entropy",
    "train/clip_low",
    "train/rollout/length",
    "train/rollout/groups_without_variance",
]
SHOWN = {
    "reward": PAIRS,
    "dpo": PAIRS,
    "ppo": [*ROLLOUTS, "train/explained_variance", "train/value_loss"],
    "grpo": ROLLOUTS,
}


@pytest.mark.parametrize("objective", SHOWN)
def test_tensorboard_shows_the_metrics(objective, tmp_path):
    writer = tf.summary.create_file_writer(str(tmp_path))
    with writer.as_default(0):
        tf.summary.experimental.write_raw_pb(layouts.record(objective), 0)
        tf.summary.scalar("train/loss", 1.0)
    writer.close()
    events = plugin_event_multiplexer.EventMultiplexer()
    events.AddRunsFromDirectory(str(tmp_path))
    events.Reload()
    provider = data_provider.MultiplexerDataProvider(events, str(tmp_path))
    plugin = custom_scalars_plugin.CustomScalarsPlugin(
        base_plugin.TBContext(data_provider=provider)
    )
    read = json.loads(plugin.layout_impl(context.RequestContext(), ""))
    tags = [
        re.compile(tag)
        for category in read["category"]
        for chart in category["chart"]
        for tag in chart["multiline"]["tag"]
    ]
    for metric in SHOWN[objective]:
        assert sum(bool(tag.match(metric)) for tag in tags) == 1, metric
    assert not any(tag.match("train/data_wait") for tag in tags)


def test_other_objectives_have_no_layout():
    assert layouts.layout("language_model") is None
    assert layouts.record("language_model") is None
