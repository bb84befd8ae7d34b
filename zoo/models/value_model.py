"""The critic of reinforcement learning: the value of each position of a text.

A linear layer on the features of a language model gives one number a token. It starts
at zero, so all values are 0 before the first step. Sources: Stiennon et al. 2020 (a
body of its own, arXiv:2009.01325); Ziegler et al. 2019 (a head on the body of the
policy, arXiv:1909.08593).
"""

from typing import Any

import keras
import tensorflow as tf

from zoo import registry
from zoo.layers.linear import Linear


class ValueModel(keras.Model):
    """Gives each token the value of the text up to it.

    Args:
      config: the Config of the language model whose features it reads.
      own_body: whether it makes these features itself. Else the caller gives it those
        of another model, whose weights are no weights of this one.
    """

    def __init__(self, config: Any, own_body: bool, **kwargs):
        super().__init__(**{"name": "value_model", **kwargs})
        self.supports_jit = False  # the body's training path has small XLA clusters
        self.config = config
        if own_body:
            entry = registry.entry(registry.name_of(config))
            build: Any = entry.build
            with keras.name_scope("body"):
                # a body of another library may not be cut from its head
                self.body = build(
                    config, **({"with_head": False} if entry.own_layers else {})
                )
        self.value = Linear(config.feature_width, 1, stddev=0.0, name="value")
        self.built = True

    def features(self, tokens_BT, training=False, **extras):
        """The features [B, T, D] of its own body; see `LanguageModel.features`."""
        return self.body.features(tokens_BT, training=training, **extras)

    def values(self, x):
        """The values [...] of features [..., D], in float32."""
        # a bfloat16 value would round the sum of a text's rewards
        return tf.squeeze(self.value.call(tf.cast(x, tf.float32)), -1)


def put_beside(policy, own_body: bool) -> ValueModel:
    """The value model of a policy; its own body is a copy of the policy's.

    Args:
      policy: a language model.
      own_body: see `ValueModel`.
    """
    critic = ValueModel(policy.config, own_body)
    if own_body:
        values = {_path(v, policy): v for v in policy.weights}
        for variable in critic.body.weights:
            variable.assign(values[_path(variable, critic.body)])
    return critic


def _path(variable, model) -> str:
    """The path of a weight inside of a model, wherever the model stands."""
    return variable.path.removeprefix("body/").removeprefix(f"{model.name}/")
