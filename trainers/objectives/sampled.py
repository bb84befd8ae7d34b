"""The log-probabilities of the distribution that answers are sampled from.

The ratio of a policy gradient is that of two such distributions. A rollout and its
updates compute them here, so that the first ratio is exactly 1.
"""

from typing import Any

import tensorflow as tf

from trainers.objectives.logprobs import of_features
from trainers.objectives.rollout_options import RolloutOptions
from zoo.decode import sampling
from zoo.generation_config import GenerationConfig


def sampled_logprobs(model, x_ND, targets_BT, options: RolloutOptions):
    """The log-probability of each target, and the entropy at its position, in nats.

    With top-k or top-p the probability of a token is divided by that of all tokens that
    the model keeps now; the entropy is that before the filters. The weights may have
    changed since the answer was sampled, and a filter may drop one of its tokens now.
    Such a token keeps its probability before the filters, divided by that same mass, so
    its ratio stays finite. The logits of all tokens are in memory at once.

    Args:
      model: a language model.
      x_ND: its features of all tokens of a Batch, see `features`.
      targets_BT: int32.
      options: the temperature, top-k and top-p.

    Returns:
      Two float32 [B, T], with gradients for the model.
    """
    logp_BT, entropy_BT = of_features(model, x_ND, targets_BT, options.temperature)
    if plain(options):
        return logp_BT, entropy_BT
    logits_NV = model.logits(x_ND)
    rows: Any = tf.shape(logits_NV)[0]
    filters = GenerationConfig(
        temperature=options.temperature, top_k=options.top_k, top_p=options.top_p
    )
    knobs = sampling.Knobs.filled(filters, rows)
    targets_N = tf.reshape(targets_BT, [-1])
    logp_N = sampling.log_probability(logits_NV, knobs, targets_N)
    return tf.reshape(logp_N, tf.shape(targets_BT)), entropy_BT


def plain(options: RolloutOptions) -> bool:
    """Whether answers are drawn without top-k and top-p."""
    return options.top_k == 0 and options.top_p >= 1
