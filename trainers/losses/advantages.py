"""How much better than expected an answer is, or a token of it.

Sources: Schulman et al. 2016 (GAE, arXiv:1506.02438); Shao et al. 2024 (groups,
arXiv:2402.03300); Kool et al. 2019 (leave-one-out, openreview.net/forum?id=r1lgTGL5DE).
"""

import tensorflow as tf

from zoo.fields import one_of

SCALES = ("batch", "group", "none")


def gae(rewards_BT, values_BT, mask_BT, gamma: float, lam: float):
    """Generalised advantage estimates of the tokens of answers.

        A[t] = r[t] + gamma * V[t+1] - V[t] + gamma * lam * A[t+1]

    Here t+1 is the next token of the answer: what is not of the answer, such as a
    prompt, padding, or the result of a tool, is passed over. Behind the last token V
    and A are 0.

    Args:
      rewards_BT: float32; r, what each token is paid.
      values_BT: float32; V[t], expected before the token t is chosen.
      mask_BT: float32, 1 at the tokens of the answers; elsewhere no value matters.
      gamma: from 0 to 1, how much the next token's worth counts.
      lam: from 0 (one step) to 1 (the whole rest of the answer).

    Returns:
      The advantages, and the returns A + V, float32 [B, T], 0 off the answers.
    """
    mask_TB = tf.transpose(mask_BT) > 0
    zeros_B = tf.zeros_like(rewards_BT[:, 0])

    def back(later, now):
        value_B, advantage_B = later
        reward_B, own_B, answer_B = now
        delta_B = reward_B + gamma * value_B - own_B
        new_B = delta_B + gamma * lam * advantage_B
        return (
            tf.where(answer_B, own_B, value_B),
            tf.where(answer_B, new_B, advantage_B),
        )

    _, advantages_TB = tf.scan(
        back,
        (tf.transpose(rewards_BT), tf.transpose(values_BT), mask_TB),
        (zeros_B, zeros_B),
        reverse=True,
    )
    # off the answer the scan only carries the later numbers
    advantages_BT = tf.where(mask_BT > 0, tf.transpose(advantages_TB), 0.0)
    returns_BT = tf.where(mask_BT > 0, advantages_BT + values_BT, 0.0)
    return advantages_BT, returns_BT


def whiten(x, mask, shift_mean: bool = True):
    """(x - mean) / deviation over what the mask holds; 0 elsewhere.

    The variance is that of a sample (divided by the count less 1).

    Args:
      x: float32.
      mask: float32, of the same shape.
      shift_mean: False adds the mean back, so that only the deviation becomes 1.
    """
    held = mask > 0
    count = tf.reduce_sum(mask)
    mean = tf.reduce_sum(tf.where(held, x, 0.0)) / tf.maximum(count, 1.0)
    centred = tf.where(held, x - mean, 0.0)
    variance = tf.reduce_sum(tf.square(centred)) / tf.maximum(count - 1.0, 1.0)
    whitened = centred * tf.math.rsqrt(variance + 1e-8)
    return whitened if shift_mean else tf.where(held, whitened + mean, 0.0)


def check_groups(samples: int, scale: str) -> None:
    """Refuses groups that cannot give an advantage.

    Raises:
      ValueError: names `objective.samples` or `objective.scale`.
    """
    one_of("objective.scale", scale, SCALES)
    if samples < 2:
        raise ValueError(
            f"objective.samples: {samples}, 2 or more allowed: an answer's advantage "
            f"is its reward beside those of other answers to the prompt, also with "
            f"objective.scale {scale!r}."
        )


def of_groups(
    rewards_N, samples: int, scale: str = "group", leave_one_out: bool = False
):
    """The advantage of each answer over the answers to the same prompt.

    That is (r - mean of the group) / (deviation + 1e-4). The deviation is that of a
    sample. Without division (`none`) the policy gradient is that of the mean reward;
    division by the group's deviation makes it another.

    Args:
      rewards_N: float32; the answers to one prompt stand together.
      samples: the answers to one prompt.
      scale: which deviation divides: of the "group", of the whole "batch", or "none".
      leave_one_out: subtracts the mean of the other answers instead, which makes the
        advantages larger by samples / (samples - 1), and their mean gradient unbiased.

    Returns:
      float32 [N]; exactly 0 in groups of equal rewards.

    Raises:
      ValueError: as `check_groups`.
    """
    check_groups(samples, scale)
    # from the first reward: the mean of equal rewards need not be one of them
    rewards_GS = tf.reshape(rewards_N, (-1, samples))
    apart_GS = rewards_GS - rewards_GS[:, :1]
    centred_GS = apart_GS - tf.reduce_mean(apart_GS, -1, keepdims=True)
    advantages_GS = centred_GS
    if scale == "group":
        squares_G1 = tf.reduce_sum(tf.square(centred_GS), -1, keepdims=True)
        advantages_GS /= tf.sqrt(squares_G1 / (samples - 1)) + 1e-4
    elif scale == "batch":
        all_N = rewards_N - rewards_N[0]
        squares = tf.reduce_sum(tf.square(all_N - tf.reduce_mean(all_N)))
        degrees = tf.cast(tf.size(rewards_N) - 1, tf.float32)
        advantages_GS /= tf.sqrt(squares / degrees) + 1e-4
    if leave_one_out:
        advantages_GS *= samples / (samples - 1)
    return tf.reshape(advantages_GS, [-1])


def without_variance(rewards_N, samples: int):
    """Which groups have equal rewards, and so teach nothing: bool [N / samples]."""
    rewards_GS = tf.reshape(rewards_N, (-1, samples))
    return tf.reduce_all(rewards_GS == rewards_GS[:, :1], -1)
