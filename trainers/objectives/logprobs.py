"""The log-probabilities that a language model gives to the targets of a Batch."""

import tensorflow as tf

from trainers.objectives.features import features
from zoo.layers.token_logprobs import token_logprobs


def logprobs(model, batch, training, temperature=1.0) -> tuple[tf.Tensor, tf.Tensor]:
    """The log-probability of each target, and the entropy at its position, in nats.

    Both are of the whole vocabulary at a temperature, without top-k or top-p.

    Args:
      model: a language model.
      batch: `tokens` and `targets` [B, T]; see `features` for what else it may have.
      training: whether the caller computes gradients.
      temperature: above 0; divides the logits.

    Returns:
      Two float32 [B, T], with gradients for the model.
    """
    targets_BT = batch["targets"]
    weight_VD, bias_V = model.head()
    both = token_logprobs(
        features(model, batch, training),
        weight_VD,
        bias_V,
        tf.reshape(targets_BT, [-1]),
        softcap=getattr(model.config, "logit_softcap", 0.0),
        temperature=temperature,
    )
    logp_BT, entropy_BT = (tf.reshape(x, tf.shape(targets_BT)) for x in both)
    return logp_BT, entropy_BT
