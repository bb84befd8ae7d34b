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

A pass of several tokens costs more than one of one token. So no row drafts much before
its drafts were right: the first draft has 2 tokens, and each that was right to its end
doubles the next. After n drafts in a row without a right token, the row drafts none for
2 ** n passes. A batch ends with its slowest row. So drafts are read only where a row
with the most tokens left has one, and a pass reads at most 32 tokens of all rows.

Sources: Saxena 2023 (prompt lookup, github.com/apoorvumang/prompt-lookup-decoding);
Leviathan et al. 2023 (speculative decoding, arXiv:2211.17192).
"""

from typing import Any, NamedTuple

import tensorflow as tf

_FIRST = 2  # tokens of a draft of a row whose last draft was wrong
_LONGEST_WAIT = 6  # the logarithm of the most passes without a draft
_MOST_ROWS = 32  # of a pass: with more, arithmetic takes longer than reading weights


class Trust(NamedTuple):
    """How far the drafts of each row have been right, int32 [B] each.

    Attributes:
      length: the most tokens of the next draft.
      failed: the latest drafts without a right token.
      wait: the passes before the next draft.
    """

    length: Any
    failed: Any
    wait: Any

    @classmethod
    def first(cls, rows, most):
        """Before the first draft of `rows` rows."""
        zero_B = tf.zeros([rows], tf.int32)
        return cls(tf.fill([rows], min(_FIRST, most)), zero_B, zero_B)

    def after_none(self):
        """After a pass without drafts."""
        return self._replace(wait=tf.maximum(self.wait - 1, 0))

    def after(self, length_B, right_B, most):
        """After drafts of `length_B` tokens, the first `right_B` of them right."""
        drafted_B = length_B > 0
        wrong_B = drafted_B & (right_B == 0)
        grown_B = tf.clip_by_value(2 * length_B, self.length, most)
        cut_B = tf.minimum(tf.maximum(right_B, _FIRST), self.length)
        new_B = tf.where(right_B == length_B, grown_B, cut_B)
        failed_B = tf.where(wrong_B, self.failed + 1, 0)
        wait_B = tf.bitwise.left_shift(
            tf.ones_like(failed_B), tf.minimum(failed_B, _LONGEST_WAIT)
        )
        return Trust(
            tf.where(drafted_B, new_B, self.length),
            tf.where(drafted_B, failed_B, self.failed),
            tf.where(wrong_B, wait_B, tf.maximum(self.wait - 1, 0)),
        )


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


def lookup(history, most):
    """Drafts the next tokens of each row.

    A draft that reaches the end of the text goes on with its own first tokens: a text
    that repeats itself is drafted at full length.

    Args:
      history: a `rules.History`, with one count for each row.
      most: K, at least 1.

    Returns:
      int32 [B, K], and bool [B], whether the row's latest tokens occur before.
    """
    tokens_BS, total_B = history.all(), history.total()
    S = tf.shape(tokens_BS)[1]
    place_S = tf.range(S)

    def same(back):
        """Whether the token so far before a place is that so far before the end."""
        last_B1 = tf.gather(
            tokens_BS, tf.maximum(total_B - 1 - back, 0)[:, None], batch_dims=1
        )
        before_BS = tf.roll(tokens_BS, back, 1) if back else tokens_BS
        return (before_BS == last_B1) & (place_S >= back)

    two_BS = same(0) & same(1) & (place_S < total_B[:, None] - 1)
    three_BS = two_BS & same(2)
    # any place of three tokens comes before all places of two
    value_BS = tf.where(three_BS, place_S + S, tf.where(two_BS, place_S, -1))
    best_B = tf.reduce_max(value_BS, 1)
    begin_B = tf.math.floormod(best_B, S) + 1
    period_B = tf.maximum(total_B - begin_B, 1)
    at_BK = begin_B[:, None] + tf.range(most) % period_B[:, None]
    draft_BK = tf.gather(tokens_BS, tf.minimum(at_BK, S - 1), batch_dims=1)
    return draft_BK, best_B >= 0


class _Vars(NamedTuple):
    """The variables of the loop."""

    out: Any
    length: Any  # int32 [B], of the draft that the next pass reads; 0 is none
    draft: Any  # int32 [B, K]
    trust: Trust
    state: Any


def run(model, most, take, out, history, limit_B, state, in_place):
    """Writes the rows to their ends.

    While no row has a draft, an inner loop reads one token of each row in a pass, as
    the plain loop does. A second inner loop reads drafts. A conditional would walk
    through the operations of both in each pass.

    Args:
      model: a Decoder with `steps` and `forget`.
      most: K, the most tokens of a draft.
      take: `take(logits_BV, out, going_B) -> out`: chooses and writes the next token of
        the rows that go on, and nothing of others.
      out: has `last`, int32 [B], the last token of each row, `count`, int32 [B], and
        `done`, bool [B].
      history: `history(out)` is the `rules.History` of what `out` has.
      limit_B: int32, the most tokens of each row.
      state: the Decoder's, with room for K more positions than the rows may write.
      in_place: whether the tensors of `state` may be overwritten.

    Returns:
      `out` at the end.
    """

    def proposed(out, trust, state):
        """The variables with drafts for the next pass."""
        draft_BK, found_B = lookup(history(out), most)
        left_B = tf.where(out.done, 0, limit_B - out.count)
        length_B = tf.minimum(trust.length, left_B - 1)
        length_B = tf.where(found_B & (trust.wait == 0), tf.maximum(length_B, 0), 0)
        slowest_B = left_B == tf.reduce_max(left_B)
        width = tf.reduce_max(tf.where(slowest_B, length_B, 0))
        width = tf.minimum(width, tf.maximum(_MOST_ROWS // tf.size(left_B) - 1, 0))
        return _Vars(out, tf.minimum(length_B, width), draft_BK, trust, state)

    def one(out, length_B, draft_BK, trust, state):
        del length_B, draft_BK
        logits_BV, after = model.step(out.last, state, in_place)
        after = model.forget(after, tf.cast(out.done, tf.int32))
        return proposed(take(logits_BV, out, ~out.done), trust.after_none(), after)

    def several(out, length_B, draft_BK, trust, state):
        width, alive_B = tf.reduce_max(length_B), ~out.done
        tokens_BQ = tf.concat([out.last[:, None], draft_BK[:, :width]], 1)
        logits_BQV, after = model.steps(tokens_BQ, state, in_place)

        def choose(j, going_B, right_B, now):
            now = take(tf.gather(logits_BQV, j, axis=1), now, going_B)
            drafted_B = tf.gather(draft_BK, tf.minimum(j, most - 1), axis=1)
            going_B &= ~now.done & (j < length_B) & (now.last == drafted_B)
            return j + 1, going_B, right_B + tf.cast(going_B, tf.int32), now

        first = tf.constant(0), alive_B, tf.zeros_like(length_B), out
        _, _, right_B, now = loop(lambda _, going_B, *__: going_B, choose, first)
        read_B = right_B + tf.cast(alive_B, tf.int32)
        after = model.forget(after, width + 1 - read_B)
        return proposed(now, trust.after(length_B, right_B, most), after)

    def both(*given):
        given = loop(undrafted, one, _Vars(*given))
        return loop(lambda _, length_B, *__: length_B > 0, several, given)

    def undrafted(out, length_B, *_):
        return ~out.done & tf.reduce_all(length_B == 0)

    first = proposed(out, Trust.first(tf.size(out.last), most), state)
    return loop(lambda out, *_: ~out.done, both, first).out


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
