"""Log-probabilities of given texts, for the signatures `score`."""

import tensorflow as tf

from zoo.layers import batch_invariant
from zoo.saved_model.token_rows import lengths as lengths_of


def score(model, vocab_size: int, ids, left_B) -> dict[str, tf.Tensor]:
    """The log-probability of each completion after its prompt.

    Args:
      model: a language model with `features` and `logits`.
      vocab_size: the number of tokens that `generate` chooses from.
      ids: ragged int32 [B, None], prompts with their completions.
      left_B: int32, the tokens of each prompt.

    Returns:
      The outputs of the signature `score`.
    """
    # Position t predicts token t + 1. Every row computes all N positions, padding
    # too: packed rows would make a row's bits depend on the other rows.
    tokens_BT, right_B = ids.to_tensor(), lengths_of(ids) - left_B
    x_BTD = model.features(tokens_BT[:, :-1])
    N = tf.reduce_max(right_B)
    real_BN = tf.sequence_mask(right_B, N)
    at_BN = tf.where(real_BN, tf.range(N)[None] + left_B[:, None] - 1, 0)
    logits_BNV = model.logits(tf.gather(x_BTD, at_BN, batch_dims=1))
    target_BN = tf.gather(tokens_BT, at_BN + 1, batch_dims=1)
    return _measured(logits_BNV, target_BN, right_B, vocab_size)


def score_target(model, vocab_size: int, source, target) -> dict[str, tf.Tensor]:
    """The log-probability of each target, with its end token, after its source.

    Args:
      model: an encoder-decoder.
      vocab_size: the number of tokens that `generate` chooses from.
      source: ragged int32 [B, None].
      target: ragged int32 [B, None], with the end token.

    Returns:
      The outputs of the signature `score`.
    """
    target_BN, length_B = target.to_tensor(), lengths_of(target)
    start_B1 = tf.fill([tf.shape(target_BN)[0], 1], model.config.start_id)
    tokens_BN = tf.concat([start_B1, target_BN[:, :-1]], 1)
    x_BND = model.features(
        tokens_BN, source=source.to_tensor(), source_lengths=lengths_of(source)
    )
    return _measured(model.logits(x_BND), target_BN, length_B, vocab_size)


def _measured(logits_BNV, target_BN, length_B, vocab_size) -> dict[str, tf.Tensor]:
    """The outputs of `score`: position n of the logits predicts target n."""
    real_BN = tf.sequence_mask(length_B, tf.shape(target_BN)[1])
    hit_BN = tf.gather(logits_BNV, target_BN, batch_dims=2)
    V = logits_BNV.shape[-1]
    total_M = batch_invariant.log_sum_exp(tf.reshape(logits_BNV, (-1, V)))
    logprob_BN = hit_BN - tf.reshape(total_M, tf.shape(hit_BN))
    logprob_BN = tf.where(real_BN, logprob_BN, 0.0)
    known_BNV = logits_BNV[..., :vocab_size]  # as `generate` chooses
    best_BN = tf.argmax(known_BNV, -1, output_type=tf.int32)
    return {
        "logprob": tf.reduce_sum(logprob_BN, -1),
        "num_tokens": length_B,
        "token_logprobs": logprob_BN,
        "is_greedy": tf.reduce_all((best_BN == target_BN) | ~real_BN, -1),
    }
