"""Losses of preferences: DPO and its family, as pure functions of log-probabilities.

A tensor [B, 2] has the chosen answer in column 0 and the rejected one in column 1. The
score of an answer is its log-probability minus that of the reference, where the kind
has one; it is summed over the answer's tokens, or their mean. D is the chosen score
minus the rejected one, s the sigmoid, b is beta and e the label smoothing.

    kind          score          loss
    sigmoid       sum            -log s(b D)
    conservative  sum            -(1 - e) log s(b D) - e log s(-b D)
    robust        sum            [-(1 - e) log s(b D) + e log s(-b D)] / (1 - 2 e)
    hinge         sum            max(0, 1 - b D)
    ipo           sum            (D - 1 / (2 b))^2
    ipo_norm      mean           (D - 1 / (2 b))^2
    sigmoid_norm  mean           -log s(b D)
    kto           sum            of each answer apart, see `kto`
    simpo         mean, alone    -log s(b D - gamma)
    orpo          mean, alone    -log p_chosen - b log s(log odds ratio), see `orpo`

Sources: Rafailov et al. 2023 (sigmoid, arXiv:2305.18290); Mitchell 2023 (conservative,
ericmitchell.ai/cdpo.pdf); Chowdhury et al. 2024 (robust, arXiv:2403.00409); Zhao et al.
2023 (hinge, arXiv:2305.10425); Azar et al. 2023 (ipo, arXiv:2310.12036); Ethayarajh et
al. 2024 (kto, arXiv:2402.01306); Hong et al. 2024 (orpo, arXiv:2403.07691); Meng et al.
2024 (simpo, arXiv:2405.14734); Lambert et al. 2024 (sigmoid_norm, arXiv:2411.15124).
"""

import math

import tensorflow as tf

SUMMED = ("sigmoid", "conservative", "robust", "hinge", "ipo", "kto")
AVERAGED = ("ipo_norm", "sigmoid_norm", "simpo", "orpo")
ALONE = ("simpo", "orpo")  # without a reference
SMOOTHED = ("conservative", "robust")
KINDS = (*SUMMED, *AVERAGED)


def scores(kind: str, sums_B2, lengths_B2, reference_B2=None) -> tf.Tensor:
    """The scores of answers, float32 [B, 2]; beta times a score is a reward.

    Args:
      kind: of `KINDS`.
      sums_B2: the log-probabilities of the answers, summed over their tokens, in nats.
      lengths_B2: tokens of the answers; 0 counts as 1.
      reference_B2: the sums of the reference; None for the kinds of `ALONE`.
    """
    score_B2 = sums_B2 if kind in ALONE else sums_B2 - reference_B2
    if kind in AVERAGED:
        score_B2 /= tf.maximum(tf.cast(lengths_B2, tf.float32), 1.0)
    return score_B2


def losses(
    kind: str, scores_B2, beta: float, label_smoothing: float = 0.0, gamma: float = 0.0
) -> tf.Tensor:
    """The loss of each pair, float32 [B]; that of kto is `kto`.

    Args:
      kind: of `KINDS`.
      scores_B2: of `scores`.
      beta: above 0.
      label_smoothing: e, of the kinds of `SMOOTHED`; below 0.5.
      gamma: the margin of simpo.
    """
    gap_B = scores_B2[:, 0] - scores_B2[:, 1]
    x_B, e = beta * gap_B, label_smoothing
    if kind in ("sigmoid", "sigmoid_norm"):
        return _minus_log_sigmoid(x_B)
    if kind == "conservative":
        return (1 - e) * _minus_log_sigmoid(x_B) + e * _minus_log_sigmoid(-x_B)
    if kind == "robust":
        right_B, wrong_B = _minus_log_sigmoid(x_B), _minus_log_sigmoid(-x_B)
        return ((1 - e) * right_B - e * wrong_B) / (1 - 2 * e)
    if kind == "hinge":
        return tf.nn.relu(1 - x_B)
    if kind in ("ipo", "ipo_norm"):
        return tf.square(gap_B - 1 / (2 * beta))
    if kind == "simpo":
        return _minus_log_sigmoid(x_B - gamma)
    if kind == "orpo":
        return orpo(scores_B2, beta)
    raise ValueError(f"kind: {kind!r}, {', '.join(KINDS)} allowed; kto has its own.")


def kto(
    scores_B2, kl, beta: float, desirable: float = 1.0, undesirable: float = 1.0
) -> tf.Tensor:
    """The mean loss of the two answers of each pair, float32 [B].

    Chosen answers are desirable with the loss w (1 - s(b (score - kl))), rejected ones
    undesirable with w (1 - s(b (kl - score))).

    Args:
      scores_B2: of `scores`.
      kl: a scalar without a gradient: the divergence of the policy from the reference,
        estimated from answers to other prompts; see `kto_kl`.
      beta: above 0.
      desirable: the weight of chosen answers.
      undesirable: the weight of rejected answers.
    """
    x_B2 = beta * (scores_B2 - kl)
    chosen_B = desirable * tf.sigmoid(-x_B2[:, 0])
    rejected_B = undesirable * tf.sigmoid(x_B2[:, 1])
    return (chosen_B + rejected_B) / 2


def kto_kl(total, weight) -> tf.Tensor:
    """The estimate of kto: a mean log-ratio of mismatched answers, at least 0.

    Args:
      total: the sum of log-ratios over the whole batch.
      weight: how many there are; 0 gives 0.
    """
    mean = tf.math.divide_no_nan(total, weight)
    return tf.stop_gradient(tf.maximum(mean, 0.0))


def orpo(scores_B2, beta: float) -> tf.Tensor:
    """The loss of each pair, float32 [B].

    It is the negative mean log-probability of the chosen answer's tokens, minus beta
    log s(r), where r is the log of the odds of the chosen answer over those of the
    rejected one, and an answer's probability is e to its score.
    """
    log_odds_B2 = scores_B2 - _log_one_minus_exp(scores_B2)
    ratio_B = log_odds_B2[:, 0] - log_odds_B2[:, 1]
    return beta * _minus_log_sigmoid(ratio_B) - scores_B2[:, 0]


def _minus_log_sigmoid(x) -> tf.Tensor:
    """-log s(x), finite for any x."""
    return tf.nn.softplus(-x)


def _log_one_minus_exp(x) -> tf.Tensor:
    """log(1 - e^x) for x below 0 (Mächler 2012); x is held below 0 by 1e-7."""
    x = tf.minimum(x, -1e-7)
    small = x > -math.log(2)  # each branch sees an x for which its gradient is finite
    near = tf.math.log(-tf.math.expm1(tf.where(small, x, -1.0)))
    far = tf.math.log1p(-tf.exp(tf.where(small, -1.0, x)))
    return tf.where(small, near, far)
