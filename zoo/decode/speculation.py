"""Prompt lookup: several tokens for one pass, where an answer repeats its text.

The draft of a row is what stands behind the last earlier occurrence of its latest 3
tokens, else of its latest 2. One pass reads the row's last token and the draft
d_1 ... d_K, and gives K + 1 logits. The token x_i is chosen from them as the plain loop
chooses it, with the rules and the uniform number of its place. While x_i = d_i, the
next logits are those of the row's text. So the answer is that of the plain loop, greedy
or sampled; only the last bits of its logits may differ.

It is the rule of speculative sampling: a draft d of the distribution q is accepted with
probability min(1, p(d) / q(d)). Here q(d) = 1, and P(x = d) = p(d). A token x that is
not d has the distribution p without d, divided by 1 - p(d).

Only a batch of one row has drafts. The last bits of a product depend on its number of
rows. So in a larger batch the bits of a row would depend on the drafts of the others.

A pass of several tokens costs more than one of one token. So no row drafts much before
its drafts were right: the first draft has 2 tokens, and each that was right to its end
doubles the next. After n drafts in a row without a right token, the row drafts none for
2 ** n passes. A pass reads at most 32 tokens.

Sources: Saxena 2023 (prompt lookup, github.com/apoorvumang/prompt-lookup-decoding);
Leviathan et al. 2023 (speculative decoding, arXiv:2211.17192).
"""

from typing import Any, NamedTuple

import tensorflow as tf

_FIRST = 2  # tokens of a draft of a row whose last draft was wrong
_LONGEST_WAIT = 6  # the logarithm of the most passes without a draft
_MOST_READ = 32  # of a pass: with more, arithmetic takes longer than reading weights


class Trust(NamedTuple):
    """How far the drafts of a row have been right, int32 [] each.

    Attributes:
      length: the most tokens of the next draft.
      failed: the latest drafts without a right token.
      begin: the tokens of the answer from which on there are drafts.
    """

    length: Any
    failed: Any
    begin: Any

    @classmethod
    def first(cls, most):
        """Before the first draft."""
        return cls(tf.constant(min(_FIRST, most)), tf.constant(0), tf.constant(0))

    def after(self, length, right, count, most):
        """After a draft of `length` tokens, the first `right` of them right.

        `count` is the number of the answer's tokens.
        """
        grown = tf.clip_by_value(2 * length, self.length, most)
        cut = tf.minimum(tf.maximum(right, _FIRST), self.length)
        failed = tf.where(right == 0, self.failed + 1, 0)
        passes = tf.bitwise.left_shift(1, tf.minimum(failed, _LONGEST_WAIT))
        begin = tf.where(right == 0, count + passes, 0)
        return Trust(tf.where(right == length, grown, cut), failed, begin)


def check(model, most: int, name: str = "prompt_lookup_num_tokens") -> None:
    """Refuses drafts for a model that cannot check them.

    Args:
      model: a Decoder.
      most: the most tokens of a draft.
      name: what the caller calls `most`.

    Raises:
      ValueError: a pass of the model reads one token only.
    """
    if most and not hasattr(model, "steps"):
        raise ValueError(
            f"{name}: {most}, but a pass of {type(model).__name__} reads one token of "
            "an answer; 0 allowed."
        )


def room(rows, most):
    """The positions that a pass with drafts may write behind the end of an answer.

    Args:
      rows: of the batch, int32 [].
      most: the most tokens of a draft; 0 is off.
    """
    return tf.where(rows == 1, most, 0) if most else 0


def _repeats(tokens_S):
    """Whether the two tokens from a place on are the last two, bool [S - 2]."""
    before_1, last_1 = tokens_S[-2:-1], tokens_S[-1:]
    return (tokens_S[:-2] == before_1) & (tokens_S[1:-1] == last_1)


def lookup(tokens_S, most):
    """Drafts the next tokens of a text.

    A draft that reaches the end of the text goes on with its own first tokens: a text
    that repeats itself is drafted at full length.

    Args:
      tokens_S: int32, at least 2 tokens, the last two of which occur before.
      most: K, at least 1.

    Returns:
      int32 [K].
    """
    S = tf.size(tokens_S)
    two_P, place_P = _repeats(tokens_S), tf.range(S - 2)
    earlier_P = tf.roll(tokens_S, 1, 0)[:-2]
    three_P = two_P & (earlier_P == tokens_S[-3]) & (place_P > 0)
    # any place of three tokens comes before all places of two
    value_P = tf.where(three_P, place_P + S, tf.where(two_P, place_P, -1))
    begin = tf.math.floormod(tf.reduce_max(value_P), S) + 2
    return tf.gather(tokens_S, begin + tf.range(most) % (S - begin))


def run(model, most, step, take, out, prompt_T, limit_B, state, in_place):
    """Writes the row of a batch of one row to its end; leaves other rows as they are.

    While there is no draft, an inner loop reads one token in a pass, as the plain loop
    does. A second inner loop reads drafts. A conditional would walk through the
    operations of both in each pass.

    Args:
      model: a Decoder with `steps` and `forget`.
      most: K, the most tokens of a draft.
      step: `step(out, *state) -> (out, *state)`: a pass of the plain loop.
      take: `take(logits_BV, out, going_B) -> out`: chooses and writes the next token of
        the rows that go on, and nothing of others.
      out: has `last`, int32 [B], the last token of each row, `tokens`, int32, which
        begins with what the row wrote, `count`, int32 [B], and `done`, bool [B]. Where
        B is not 1, all rows are done.
      prompt_T: int32, what the row's text begins with: at least one token.
      limit_B: int32, the most tokens of each row.
      state: the Decoder's, with `room` behind the longest answer.
      in_place: whether the tensors of `state` may be overwritten.

    Returns:
      `out` at the end.
    """
    most = min(most, _MOST_READ - 1)
    before_end_B = limit_B - 1

    def text(out):
        return tf.concat([prompt_T, tf.slice(out.tokens, [0], out.count)], 0)

    def drafted(out, trust):
        """Whether the next pass reads a draft, if there is one, [1]."""
        can_1 = (out.count >= trust.begin) & (out.count < before_end_B)
        return can_1 & tf.reduce_any(_repeats(text(out)))

    def several(out, trust, *state):
        draft_K = lookup(text(out), most)
        length = tf.minimum(trust.length, before_end_B[0] - out.count[0])
        tokens_Q = tf.concat([out.last, draft_K[:length]], 0)
        logits_1QV, state = model.steps(tokens_Q[None], list(state), in_place)

        def choose(j, going_1, right_1, now):
            now = take(logits_1QV[:, j], now, going_1)
            going_1 = ~now.done & (j < length)
            going_1 &= now.last == draft_K[tf.minimum(j, most - 1)]
            return j + 1, going_1, right_1 + tf.cast(going_1, tf.int32), now

        first = tf.constant(0), ~out.done, tf.zeros_like(out.count), out
        _, _, right_1, now = loop(lambda _, going_1, *__: going_1, choose, first)
        state = model.forget(state, length - right_1)
        return now, trust.after(length, right_1[0], now.count[0], most), *state

    def both(out, trust, *state):
        # what does not change stays out of the first loop: it costs time in each pass
        out, *state = loop(
            lambda out, *_: ~out.done & ~drafted(out, trust), step, (out, *state)
        )
        return loop(
            lambda out, trust, *_: ~out.done & drafted(out, trust),
            several,
            (out, trust, *state),
        )

    first = out, Trust.first(most), *state
    return loop(lambda out, *_: ~out.done, both, first)[0]


def loop(goes_on, body, first):
    """A tf.while_loop of any number of rows.

    Args:
      goes_on: of the variables, gives bool [B]: the loop ends when no row goes on.
      body: of the variables, gives the next ones.
      first: the variables.
    """
    return tf.while_loop(
        lambda *given: tf.reduce_any(goes_on(*given)),
        body,
        first,
        shape_invariants=tf.nest.map_structure(_any_batch, first),
        parallel_iterations=1,
    )


def _any_batch(x):
    """The shape of a tensor with an unknown number of rows; () of a scalar."""
    return tf.TensorShape([None, *x.shape[1:]] if len(x.shape) else [])
