"""Prompts with the answers to other prompts, as KTO needs them."""

import tensorflow as tf

from trainers.objectives import replicas


def mismatched(batch, limit: int = 0) -> dict[str, tf.Tensor]:
    """Gives each prompt of a Batch of preferences the answer to the next prompt.

    The last prompt of all replicas gets the answer to the first one. A chosen answer is
    replaced by a chosen one, and a rejected one by a rejected one.

    Args:
      batch: `tokens`, `targets`, `weights` [B, G, T] and `lengths` [B, G]. The weights
        of an answer stand beside each other.
      limit: the most tokens of a row, at which answers are cut; 0 is any number.

    Returns:
      `tokens`, `targets`, `weights` [B * G, 2 T] or shorter. A row has no weights where
      the prompt or the answer is absent, or where the next prompt is its own: a batch
      of one prompt has no other answer.
    """
    length = batch["tokens"].shape[2] or tf.shape(batch["tokens"])[2]
    tokens_BGT, targets_BGT = batch["tokens"], batch["targets"]
    weights_BGT = batch["weights"]
    all_targets_MGT, first = replicas.of_all(targets_BGT)
    all_weights_MGT, _ = replicas.of_all(weights_BGT)
    rows = tf.range(tf.shape(tokens_BGT)[0])
    partner_B = (first + rows + 1) % tf.shape(all_targets_MGT)[0]

    def flat(x_BGT):
        return tf.reshape(x_BGT, (-1, length))

    tokens_NT, weights_NT = flat(tokens_BGT), flat(weights_BGT)
    answers_NT = flat(tf.gather(all_targets_MGT, partner_B))
    learnt_NT = flat(tf.gather(all_weights_MGT, partner_B))
    # the first target of an answer is that of its prompt's last token
    own_N1, other_N1 = _last_of_prompt(weights_NT), _last_of_prompt(learnt_NT)
    width = 2 * length if not limit else tf.minimum(2 * length, limit)
    if isinstance(length, int):
        width = min(2 * length, limit or 2 * length)
    place_T = tf.range(width)[None]
    own_NT = tf.broadcast_to(
        tf.minimum(place_T, length - 1), (tf.shape(tokens_NT)[0], width)
    )
    from_NT = place_T - own_N1 + other_N1
    there_NT = (place_T >= own_N1) & (from_NT < length)
    prompt_NT = tf.gather(tokens_NT, own_NT, batch_dims=1)
    next_NT = tf.gather(flat(targets_BGT), own_NT, batch_dims=1)

    def of_partner(x_NT, at_NT):
        return tf.gather(x_NT, tf.clip_by_value(at_NT, 0, length - 1), batch_dims=1)

    present_N1 = tf.reduce_any(weights_NT > 0, 1, keepdims=True)
    present_N1 &= tf.shape(all_targets_MGT)[0] > 1
    answer_NT = of_partner(answers_NT, from_NT)
    before_NT = of_partner(answers_NT, from_NT - 1)
    weight_NT = of_partner(learnt_NT, from_NT)
    return {
        "tokens": tf.where(place_T <= own_N1, prompt_NT, before_NT),
        "targets": tf.where(place_T < own_N1, next_NT, answer_NT),
        "weights": tf.where(there_NT & present_N1, weight_NT, 0.0),
    }


def _last_of_prompt(weights_NT):
    """The place of the last token before an answer, int32 [N, 1]."""
    return tf.argmax(weights_NT > 0, 1, tf.int32)[:, None]
