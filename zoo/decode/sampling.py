"""Chooses the next token of each row: greedy, temperature, top-k, top-p, min-p.

Every knob is per row, and a row's choice depends on nothing but its own logits, its
knobs and one uniform number, whatever its batch mates ask for. Filters come in the
order of Hugging Face transformers: temperature, top-k, top-p of what is left, min-p.

Sources: Fan et al. 2018 (top-k, arXiv:1805.04833); Holtzman et al. 2019 (top-p,
arXiv:1904.09751); Nguyen et al. 2024 (min-p, arXiv:2407.01082); Keskar et al. 2019
(repetition penalty, arXiv:1909.05858).
"""

from typing import Any, NamedTuple

import tensorflow as tf

_CANDIDATES = 256  # sorted first; a row that needs more sorts the whole vocabulary


class Knobs(NamedTuple):
    """What a request may set, each with one value a row.

    Attributes:
      max_new_tokens: int32 [B], at least 1.
      temperature: float32 [B]; 0 is greedy.
      top_k: int32 [B]; 0 is off.
      top_p: float32 [B] in (0, 1]; 1 is off.
      min_p: float32 [B] in [0, 1]; 0 is off.
      repetition_penalty: float32 [B], above 0; 1 is off.
      seed: int64 [B].
    """

    max_new_tokens: Any
    temperature: Any
    top_k: Any
    top_p: Any
    min_p: Any
    repetition_penalty: Any
    seed: Any


def uniforms(seed_B, count):
    """Numbers in [0, 1), [B, count]: number i of a row depends on (seed, i) only."""

    def row(seed):
        key = tf.stack([seed, tf.constant(0, tf.int64)])
        return tf.random.stateless_uniform([count], key)

    return tf.map_fn(row, seed_B, fn_output_signature=tf.float32)


def penalise(logits_BV, seen_BV, penalty_B):
    """Divides positive and multiplies negative logits of the tokens seen before."""
    penalty = penalty_B[:, None]
    lower = tf.where(logits_BV > 0, logits_BV / penalty, logits_BV * penalty)
    return tf.where(seen_BV & (penalty != 1), lower, logits_BV)


def choose(logits_BV, knobs: Knobs, uniform_B):
    """The next token of each row, int32 [B]."""
    best_B = tf.argmax(logits_BV, -1, output_type=tf.int32)
    sampled_B = knobs.temperature > 0
    plain_B = (knobs.top_k <= 0) & (knobs.top_p >= 1) & (knobs.min_p <= 0)

    def sample():
        temperature_B = tf.where(sampled_B, knobs.temperature, 1.0)
        # the best at 0, or a temperature near 0 makes two infinities
        below_BV = logits_BV - tf.reduce_max(logits_BV, -1, keepdims=True)
        p_BV = tf.nn.softmax(below_BV / temperature_B[:, None])
        plain = _if_any(sampled_B & plain_B, lambda: _invert(p_BV, uniform_B), best_B)
        cut = _if_any(
            sampled_B & ~plain_B, lambda: _filtered(p_BV, knobs, uniform_B), best_B
        )
        return tf.where(sampled_B, tf.where(plain_B, plain, cut), best_B)

    return _if_any(sampled_B, sample, best_B)


def _if_any(rows_B, branch, otherwise_B):
    return tf.cond(tf.reduce_any(rows_B), branch, lambda: otherwise_B)


def _invert(weight_BC, uniform_B):
    """The index at which the running sum passes the uniform share of the total."""
    sum_BC = tf.cumsum(weight_BC, -1)
    threshold = uniform_B[:, None] * sum_BC[:, -1:]
    index_B = tf.reduce_sum(tf.cast(sum_BC <= threshold, tf.int32), -1)
    last_B = tf.reduce_sum(
        tf.cast(sum_BC < sum_BC[:, -1:], tf.int32), -1
    )  # the first index that holds the whole sum: what lies behind weighs nothing
    return tf.minimum(index_B, last_B)


def _filtered(p_BV, knobs, uniform_B):
    few = min(_CANDIDATES, p_BV.shape[-1])
    token_B, complete_B = _from_sorted(p_BV, few, knobs, uniform_B)
    if few == p_BV.shape[-1]:
        return token_B

    def all_of_them():
        return _from_sorted(p_BV, p_BV.shape[-1], knobs, uniform_B)[0]

    rest = _if_any((knobs.temperature > 0) & ~complete_B, all_of_them, token_B)
    return tf.where(complete_B, token_B, rest)


def _from_sorted(p_BV, count, knobs, uniform_B):
    """Samples from the `count` likeliest; also says whether they hold all that is kept.

    A row whose kept tokens are among the first few gets the same answer from the few
    as from all, since running sums begin at the likeliest.
    """
    p_BC, index_BC = tf.math.top_k(p_BV, count)
    k_B = tf.where(knobs.top_k > 0, knobs.top_k, p_BV.shape[-1])
    p_BC = tf.where(tf.range(count)[None] < k_B[:, None], p_BC, 0.0)
    sum_BC = tf.cumsum(p_BC, -1)
    whole_B = tf.where(knobs.top_k > 0, sum_BC[:, -1], 1.0)
    before_BC = sum_BC - p_BC  # the mass of what is likelier
    keep_BC = before_BC < (knobs.top_p * whole_B)[:, None]
    keep_BC |= knobs.top_p[:, None] >= 1
    keep_BC &= p_BC >= (knobs.min_p * p_BC[:, 0])[:, None]
    complete_B = (knobs.top_k > 0) & (knobs.top_k <= count)
    complete_B |= ~keep_BC[:, -1]
    at_B = _invert(tf.where(keep_BC, p_BC, 0.0), uniform_B)
    return tf.gather(index_BC, at_B, batch_dims=1), complete_B
