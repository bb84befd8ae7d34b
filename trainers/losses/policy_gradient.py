"""The clipped policy gradient of PPO, GRPO and their relatives.

Sources: Schulman et al. 2017 (PPO, arXiv:1707.06347); Shao et al. 2024 (GRPO,
arXiv:2402.03300); Yu et al. 2025 (DAPO, clip-higher, arXiv:2503.14476); Liu et al. 2025
(Dr. GRPO, arXiv:2503.20783); Zheng et al. 2025 (GSPO, arXiv:2507.18071); Ahmadian et
al. 2024 (RLOO, arXiv:2402.14740); Ye et al. 2020 (a cap on both sides,
arXiv:1912.09729).
"""

import tensorflow as tf

from trainers.losses.masked import answer_means, token_sum
from zoo.fields import one_of

AGGREGATIONS = ("bnpo", "dapo", "dr_grpo", "grpo", "gspo", "rloo")

_MOST = 80.0  # exp of more is infinite in float32


def policy_loss(
    logp_BT,
    old_BT,
    advantages_BT,
    mask_BT,
    *,
    aggregation: str,
    clip_low: float,
    clip_high: float,
    max_length: int,
    delta: float = 0.0,
):
    """The sum of -min(ratio * A, clip(ratio) * A), see `aggregate` for its weight.

    The ratio is exp(logp - old) of each token. That of "gspo" is of the answer: the
    exponential of the mean of its log-ratios; that of "rloo" is of their sum.

    Args:
      logp_BT: of the policy, with the gradient.
      old_BT: of the distribution that the tokens were sampled from.
      advantages_BT: A; of "gspo" and "rloo" one number for all tokens of an answer.
      mask_BT: float32, 1 at the tokens of the answers; elsewhere no value matters.
      aggregation: one of `AGGREGATIONS`.
      clip_low, clip_high: the ratio is clipped to [1 - clip_low, 1 + clip_high].
      max_length: the most tokens of an answer; only "dr_grpo" reads it.
      delta: above 1 + clip_high, the largest ratio where A is negative; 0 is off.

    Returns:
      (sum, weight, metrics), float32 scalars. The metrics are (sum, weight) too: the
      ratio; the shares of tokens (or answers) that are clipped below and above; and
      `approx_kl`, half the squared log-ratio of a token.
    """
    one_of("aggregation", aggregation, AGGREGATIONS)
    answer = mask_BT > 0
    # a padded place may have any value, and 0 * inf is NaN in a gradient
    log_ratio_BT = tf.where(answer, logp_BT - old_BT, 0.0)
    advantages_BT = tf.where(answer, advantages_BT, 0.0)
    level_BT, of_answers = log_ratio_BT, aggregation in ("gspo", "rloo")
    if of_answers:
        total_B1 = tf.reduce_sum(log_ratio_BT, -1, keepdims=True)
        if aggregation == "gspo":
            total_B1 /= tf.maximum(tf.reduce_sum(mask_BT, -1, keepdims=True), 1.0)
        level_BT = tf.where(answer, total_B1, 0.0)
    ratio_BT = tf.exp(tf.minimum(level_BT, _MOST))
    clipped_BT = tf.clip_by_value(ratio_BT, 1 - clip_low, 1 + clip_high)
    capped_BT = tf.minimum(ratio_BT, delta) if delta else ratio_BT
    losses_BT = -tf.minimum(capped_BT * advantages_BT, clipped_BT * advantages_BT)
    if aggregation == "rloo":
        sum_, weight = answer_means(losses_BT, mask_BT)
    else:
        sum_, weight = aggregate(
            losses_BT, mask_BT, aggregation=aggregation, max_length=max_length
        )
    low_BT = (ratio_BT < 1 - clip_low) & (advantages_BT < 0)
    high_BT = (ratio_BT > 1 + clip_high) & (advantages_BT > 0)
    mean = answer_means if of_answers else token_sum
    metrics = {
        "ratio": mean(ratio_BT, mask_BT),
        "clip_low": mean(tf.cast(low_BT, tf.float32), mask_BT),
        "clip_high": mean(tf.cast(high_BT, tf.float32), mask_BT),
        "approx_kl": token_sum(tf.square(log_ratio_BT) / 2, mask_BT),
    }
    return sum_, weight, metrics


def aggregate(losses_BT, mask_BT, *, aggregation: str, max_length: int):
    """The sum of the losses of tokens, and the weight that divides it.

        grpo, gspo   the mean over the tokens of each answer; the number of answers
        dapo, bnpo   the sum over all tokens; their number
        dr_grpo      the sum over all tokens; the number of answers * max_length
        rloo         the sum over all tokens; the number of answers

    The Step divides the sum of all parts and replicas by the sum of their weights. So
    the tokens of "dapo" are those of the whole batch, for any accumulation. "bnpo" is
    published with the tokens of one part of the batch on one device, so that its result
    depends on the cut. It is the same as "dapo" here.

    Only "dr_grpo" and "rloo" do not weigh a token by the lengths of answers: a mean
    over an answer makes wrong answers longer (Liu et al. 2025). An answer without
    tokens adds 0 to the sum, and counts as an answer.

    Args:
      losses_BT: float32; where the mask is 0, no value matters.
      mask_BT: float32, 1 at the tokens of the answers.
      aggregation: one of `AGGREGATIONS`.
      max_length: the most tokens of an answer; only "dr_grpo" reads it.

    Returns:
      (sum, weight), float32 scalars.
    """
    one_of("aggregation", aggregation, AGGREGATIONS)
    if aggregation in ("grpo", "gspo"):
        return answer_means(losses_BT, mask_BT)
    sum_, tokens = token_sum(losses_BT, mask_BT)
    if aggregation in ("dapo", "bnpo"):
        return sum_, tokens
    answers = tf.cast(tf.shape(mask_BT)[0], tf.float32)
    return sum_, answers * max_length if aggregation == "dr_grpo" else answers
