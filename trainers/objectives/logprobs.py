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
    x_ND = features(model, batch, training)
    return of_features(model, x_ND, batch["targets"], temperature)


def of_features(model, x_ND, targets_BT, temperature=1.0):
    """As `logprobs`, of features that the caller has.

    Args:
      model: a language model.
      x_ND: what `features` gives for a Batch.
      targets_BT: int32.
      temperature: above 0; divides the logits.
    """
    weight_VD, bias_V = model.head()
    both = token_logprobs(
        x_ND,
        weight_VD,
        bias_V,
        tf.reshape(targets_BT, [-1]),
        softcap=getattr(model.config, "logit_softcap", 0.0),
        temperature=temperature,
    )
    logp_BT, entropy_BT = (tf.reshape(x, tf.shape(targets_BT)) for x in both)
    return logp_BT, entropy_BT
