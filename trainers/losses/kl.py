"""Estimates of the divergence of a policy from a reference, and where each may stand.

With l = log pi(token) and r = log ref(token), and tokens that pi sampled, three
estimates of KL(pi, ref) are (Schulman 2020, joschu.net/blog/kl-approx.html):

    k1 = l - r        k2 = (l - r)^2 / 2        k3 = exp(r - l) - 1 - (r - l)

The mean of k1 and k3 is the divergence. But what a loss optimises is given by the mean
of its gradient, where E is over pi, and dl is the gradient of l:

    k1 in the loss         E[dl] = 0: nothing is held
    k2 in the loss         E[(l - r) dl]: the gradient of the reverse KL(pi, ref)
    k3 in the loss         E[(1 - ref/pi) dl]: that of the forward KL(ref, pi)
    w k3 in the loss       w (k3 + 1 - exp(r - l)) dl = w (l - r) dl, so the reverse KL
    k1 in the reward       E[(l - r) dl]: the reverse KL, of whole answers
    k2, k3 in the reward   the gradient of neither

Here w = pi / (the distribution that was sampled). With w the mean is right even after
the policy has moved away from what sampled the tokens, if that distribution gave each
token a probability: top-k and top-p do not. A loss holds each token's distribution at
the prefixes that were sampled. Only the reward also counts how a token changes the
divergence of later ones.

Source: Tang and Munos 2025 (arXiv:2506.09477).
"""

import tensorflow as tf

KINDS = ("forward", "none", "reverse")
PLACES = ("loss", "reward")

_MOST = 80.0  # exp of more is infinite in float32

_REASONS = {
    ("k1", "loss"): "the mean of its gradient is 0, so that it holds nothing",
    ("k2", "loss"): "say 'reverse', which is what it optimises",
    ("k3", "loss"): "say 'forward', which is what it optimises",
    ("k1", "reward"): "say 'reverse', which is what it optimises",
    ("k2", "reward"): "its gradient is that of no divergence",
    ("k3", "reward"): "its gradient is that of no divergence, and the policy collapses",
    ("forward", "reward"): "it is a term of the loss only",
}


def check_placement(kl: str, place: str) -> None:
    """Refuses what does not optimise the divergence that it names.

    Args:
      kl: one of `KINDS`; the names of estimates are refused with the reason.
      place: one of `PLACES`.

    Raises:
      ValueError: with the kinds that are allowed at that place.
    """
    allowed = [k for k in KINDS if (k, place) not in _REASONS]
    if place not in PLACES:
        raise ValueError(f"place: {place!r}, {', '.join(PLACES)} allowed.")
    if kl not in allowed:
        reason = _REASONS.get((kl, place))
        where = f" in the {place}: {reason};" if reason else ","
        raise ValueError(f"objective.kl: {kl!r}{where} {', '.join(allowed)} allowed.")


def k1(logp_BT, reference_BT):
    """l - r: of any sign, and in the mean the divergence."""
    return logp_BT - reference_BT


def k2(logp_BT, reference_BT):
    """(l - r)^2 / 2: never negative, and in the mean near a small divergence."""
    return tf.square(logp_BT - reference_BT) / 2


def k3(logp_BT, reference_BT):
    """exp(r - l) - 1 - (r - l): never negative, and in the mean the divergence."""
    d = tf.minimum(reference_BT - logp_BT, _MOST)
    return tf.math.expm1(d) - d


def in_loss(kl: str, logp_BT, reference_BT, sampled_BT):
    """The terms of a loss whose mean gradient is that of a divergence.

    Args:
      kl: "reverse", "forward" or "none".
      logp_BT: of the policy, with the gradient.
      reference_BT: of the reference.
      sampled_BT: of the distribution that the tokens were sampled from.

    Returns:
      float32 [B, T], one term a token: w k3 of "reverse", k3 of "forward", or zeros.
      Terms off the answer have no meaning; the caller's mask drops them.
    """
    check_placement(kl, "loss")
    if kl == "none":
        return tf.zeros_like(logp_BT)
    k3_BT = k3(logp_BT, reference_BT)
    if kl == "forward":
        return k3_BT
    weight_BT = tf.exp(tf.minimum(logp_BT - sampled_BT, _MOST))
    value_BT = tf.stop_gradient(weight_BT * k3_BT)
    # the gradient of w k3 is w (l - r) dl, here without the difference of large numbers
    k2_BT = k2(logp_BT, reference_BT)
    return value_BT + tf.stop_gradient(weight_BT) * (k2_BT - tf.stop_gradient(k2_BT))
