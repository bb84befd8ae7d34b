"""Chooses the next token of each row: greedy, temperature, top-k, top-p, min-p.

Every row has its own knobs. A row's choice depends on its logits, its knobs and one
uniform number, and on no other row. The filters follow the order of Hugging Face
transformers: temperature, top-k, top-p of the tokens left, min-p.

Sources: Fan et al. 2018 (top-k, arXiv:1805.04833); Holtzman et al. 2019 (top-p,
arXiv:1904.09751); Nguyen et al. 2024 (min-p, arXiv:2407.01082); Keskar et al. 2019
(repetition penalty, arXiv:1909.05858).
"""

from typing import Any, NamedTuple

import tensorflow as tf

from zoo.generation_config import NUMBERS, GenerationConfig
from zoo.layers import batch_invariant

_CANDIDATES = 256  # sorted first; a row that needs more sorts the whole vocabulary


class Knobs(NamedTuple):
    """The knobs of a batch: one tensor [B] for each of `generation_config.NUMBERS`.

    Types, ranges and meanings are those of that table.
    """

    max_new_tokens: Any
    temperature: Any
    top_k: Any
    top_p: Any
    min_p: Any
    repetition_penalty: Any
    seed: Any

    @classmethod
    def specs(cls) -> "Knobs":
        """The tf.TensorSpec of each knob."""
        return cls(*(tf.TensorSpec([None], knob.dtype) for knob in NUMBERS))

    @classmethod
    def filled(cls, generation: GenerationConfig, rows: int) -> "Knobs":
        """The values of a GenerationConfig for every row."""
        values = (
            tf.constant(getattr(generation, knob.name), knob.dtype) for knob in NUMBERS
        )
        return cls(*(tf.fill([rows], value) for value in values))


def uniforms(seed_B, count):
    """Uniform numbers in [0, 1), [B, count], number i of a row from (seed, i) only."""

    def row(seed):
        key = tf.stack([seed, tf.constant(0, tf.int64)])
        return tf.random.stateless_uniform([count], key)

    return tf.map_fn(row, seed_B, fn_output_signature=tf.float32)


def penalise(logits_BV, seen_BV, penalty_B):
    """Divides positive logits of seen tokens, multiplies negative ones."""
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
        # With the largest logit at 0 a temperature near 0 overflows on one side only.
        below_BV = logits_BV - tf.reduce_max(logits_BV, -1, keepdims=True)
        p_BV = tf.nn.softmax(below_BV / temperature_B[:, None])
        plain = _if_any(sampled_B & plain_B, lambda: _invert(p_BV, uniform_B), best_B)
        cut = _if_any(
            sampled_B & ~plain_B, lambda: _filtered(p_BV, knobs, uniform_B), best_B
        )
        return tf.where(sampled_B, tf.where(plain_B, plain, cut), best_B)

    return _if_any(sampled_B, sample, best_B)


def log_probability(logits_BV, knobs: Knobs, token_B):
    """The log-probability of tokens under the distribution that `choose` samples.

    Args:
      logits_BV: as `choose` gets them.
      knobs: the knobs of each row.
      token_B: int32, tokens that `choose` gave.

    Returns:
      float32 [B]; 0 where the temperature is 0, as such a row has no other choice.
    """
    sampled_B = knobs.temperature > 0
    plain_B = (knobs.top_k <= 0) & (knobs.top_p >= 1) & (knobs.min_p <= 0)
    temperature_B = tf.where(sampled_B, knobs.temperature, 1.0)
    below_BV = logits_BV - tf.reduce_max(logits_BV, -1, keepdims=True)
    below_BV /= temperature_B[:, None]
    whole_B = batch_invariant.log_sum_exp(below_BV)
    logprob_B = tf.gather(below_BV, token_B, batch_dims=1) - whole_B

    def kept():
        kept_B1 = _kept_part(tf.nn.softmax(below_BV), knobs)[:, None]
        return batch_invariant.apply(tf.math.log, kept_B1)[:, 0]

    cut_B = sampled_B & ~plain_B
    log_kept_B = _if_any(cut_B, kept, tf.zeros_like(logprob_B))
    logprob_B = tf.where(cut_B, logprob_B - log_kept_B, logprob_B)
    return tf.where(sampled_B, logprob_B, 0.0)


def _if_any(rows_B, branch, otherwise_B):
    """Computes `branch` only if a row needs it."""
    return tf.cond(tf.reduce_any(rows_B), branch, lambda: otherwise_B)


def _invert(weight_BC, uniform_B):
    """The index where the running sum of weights passes the uniform part of the total.

    This is inverse transform sampling.
    """
    sum_BC = tf.cumsum(weight_BC, -1)
    threshold = uniform_B[:, None] * sum_BC[:, -1:]
    index_B = tf.reduce_sum(tf.cast(sum_BC <= threshold, tf.int32), -1)
    last_B = tf.reduce_sum(
        tf.cast(sum_BC < sum_BC[:, -1:], tf.int32), -1
    )  # the first index with the whole sum: all weights behind it are 0
    return tf.minimum(index_B, last_B)


def _filtered(p_BV, knobs, uniform_B):
    """Samples after top-k, top-p and min-p."""
    few = min(_CANDIDATES, p_BV.shape[-1])
    token_B, complete_B = _from_sorted(p_BV, few, knobs, uniform_B)
    if few == p_BV.shape[-1]:
        return token_B

    def all_of_them():
        return _from_sorted(p_BV, p_BV.shape[-1], knobs, uniform_B)[0]

    rest = _if_any((knobs.temperature > 0) & ~complete_B, all_of_them, token_B)
    return tf.where(complete_B, token_B, rest)


def _from_sorted(p_BV, count, knobs, uniform_B):
    """Samples from the `count` likeliest tokens.

    Running sums begin at the likeliest token. So a row whose kept tokens are among the
    first `count` gets the same token from a larger count.

    Returns:
      The token, and whether `count` tokens include every kept token; both [B].
    """
    kept_BC, index_BC, complete_B = _kept(p_BV, count, knobs)
    at_B = _invert(kept_BC, uniform_B)
    return tf.gather(index_BC, at_B, batch_dims=1), complete_B


def _kept_part(p_BV, knobs):
    """The probability that top-k, top-p and min-p keep, [B]."""
    few = min(_CANDIDATES, p_BV.shape[-1])
    p_BC, _, complete_B = _kept(p_BV, few, knobs)
    part_B = tf.reduce_sum(p_BC, -1)
    if few == p_BV.shape[-1]:
        return part_B

    def of_all():
        return tf.reduce_sum(_kept(p_BV, p_BV.shape[-1], knobs)[0], -1)

    rest_B = _if_any((knobs.temperature > 0) & ~complete_B, of_all, part_B)
    return tf.where(complete_B, part_B, rest_B)


def _kept(p_BV, count, knobs):
    """The `count` largest probabilities, 0 where a filter drops them.

    Returns:
      The probabilities and their tokens, both [B, count], and whether they include
      every kept token, [B].
    """
    p_BC, index_BC = tf.math.top_k(p_BV, count)
    k_B = tf.where(knobs.top_k > 0, knobs.top_k, p_BV.shape[-1])
    p_BC = tf.where(tf.range(count)[None] < k_B[:, None], p_BC, 0.0)
    sum_BC = tf.cumsum(p_BC, -1)
    whole_B = tf.where(knobs.top_k > 0, sum_BC[:, -1], 1.0)
    before_BC = sum_BC - p_BC  # the probability of all likelier tokens
    keep_BC = before_BC < (knobs.top_p * whole_B)[:, None]
    keep_BC |= knobs.top_p[:, None] >= 1
    keep_BC &= p_BC >= (knobs.min_p * p_BC[:, 0])[:, None]
    complete_B = (knobs.top_k > 0) & (knobs.top_k <= count)
    complete_B |= ~keep_BC[:, -1]
    return tf.where(keep_BC, p_BC, 0.0), index_BC, complete_B
