"""The one loop that generates tokens with any Decoder.

A Decoder is a model with `start(tokens_BT, lengths_B, capacity)` and
`step(token_B, state, in_place)`. The loop consists of plain graph operations: the same
function runs under `generate` and inside an exported SavedModel.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from zoo.decode import sampling, speculation
from zoo.decode.rules import History
from zoo.layers import batch_invariant, one_row


class Decoded(NamedTuple):
    """The answers of the loop.

    Attributes:
      tokens: int32 [B, N], with the end token; 0 after a row's last token.
      num_tokens: int32 [B].
      stopped: bool [B], whether an end token or a stop string ended the row.
      logprobs: float32 [B, N], from the softmax over all logits of the model before any
        knob; 0 after the last token.
      sampled_logprobs: float32 [B, N], from the distribution that was sampled, after
        every knob; 0 after the last token, and where the temperature is 0. None unless
        asked for.
    """

    tokens: Any
    num_tokens: Any
    stopped: Any
    logprobs: Any
    sampled_logprobs: Any = None


def decode(
    model,
    tokens_BT,
    lengths_B,
    knobs,
    end_ids,
    vocab_size=0,
    new_tokens=None,
    stop=None,
    in_place=True,
    samples=1,
    sampled_logprobs=False,
    rules=None,
    started=None,
    drafts=0,
):
    """Continues each row until its end token, a stop, or its limit.

    With `samples` above 1 the model reads each prompt once, and then continues so many
    copies of it. The answers of one prompt stand together.

    Args:
      model: a Decoder.
      tokens_BT: int32, right-padded prompts of at least one token.
      lengths_B: int32.
      knobs: `sampling.Knobs`.
      end_ids: the tokens that end a text; there may be none.
      vocab_size: the number of the tokenizer's tokens, if the model has more rows: ids
        from here on are never chosen. 0 means the model's number.
      new_tokens: N, at least the largest limit; by default the largest limit.
      stop: `stop(tokens_BN, count_B) -> bool [B]`, called after each token; or None.
      in_place: whether a step may overwrite the state of the step before. Must be false
        in a function that XLA compiles.
      samples: answers to each prompt. Knobs have one value for each answer, and so has
        B of the result.
      sampled_logprobs: whether to compute them; they cost a softmax for each token,
        and with top-k or top-p also a sort.
      rules: the `Rules` of the answers, one row for each; None is none.
      started: what `model.start` gave for a capacity of T + N + `speculation.room`, or
        None to call it.
      drafts: the most tokens that a pass checks beside the one that it reads, in a
        batch of one row; see `speculation`. The answers are the same. 0 is off, as XLA
        needs it.

    Returns:
      `Decoded`.

    Raises:
      ValueError: there are drafts, and the model cannot check them.
    """
    speculation.check(model, drafts)
    N = tf.reduce_max(knobs.max_new_tokens) if new_tokens is None else new_tokens
    P, T = tf.unstack(tf.shape(tokens_BT))
    B = P * samples if samples > 1 else P
    sampled = tf.reduce_any(knobs.temperature > 0)
    uniform_BN = tf.cond(
        sampled, lambda: sampling.uniforms(knobs.seed, N), lambda: tf.zeros((B, N))
    )
    penalised = tf.reduce_any(knobs.repetition_penalty != 1)
    logits_BV, state = started or model.start(
        tokens_BT, lengths_B, T + N + speculation.room(B, drafts)
    )
    logits_BV = _repeated(logits_BV, samples)
    state = [_repeated(x, samples) if len(x.shape) else x for x in state]
    rows = logits_BV.shape[-1]
    V = min(vocab_size or rows, rows)
    prompt_BT, known_B = History.first(model, tokens_BT, lengths_B)
    prompt_BT, known_B = _repeated(prompt_BT, samples), _repeated(known_B, samples)
    seen_BV = tf.cond(
        penalised,
        lambda: History(prompt_BT, known_B, tf.zeros((B, 1), tf.int32), 0).seen(V),
        lambda: tf.zeros((B, 0), tf.bool),
    )

    wide = N + 1  # a row that does not go on writes behind its last place
    first_B = tf.range(B) * wide

    def cut(x):
        """What was written, [B, N]."""
        return tf.reshape(x, (B, wide))[:, :N]

    def written(out):
        return History(prompt_BT, known_B, cut(out.tokens), out.count)

    def pick(logits_BV, out):
        """The next token of each row, and its log-probabilities."""
        # only the choice leaves out the rows behind the tokenizer's tokens
        known_BV = logits_BV if V == rows else logits_BV[:, :V]
        adjusted_BV = tf.cond(
            penalised,
            lambda: sampling.penalise(known_BV, out.seen, knobs.repetition_penalty),
            lambda: known_BV,
        )
        if rules is not None:
            last_B = knobs.max_new_tokens == out.count + 1
            adjusted_BV = rules.apply(adjusted_BV, written(out), last_B)

        def choose():
            # a row that is done may have no place left
            at_B = tf.minimum(out.count, N - 1)
            uniform_B = tf.gather(uniform_BN, at_B, batch_dims=1)
            return sampling.choose(adjusted_BV, knobs, uniform_B)

        token_B = tf.cond(
            sampled,
            choose,
            lambda: tf.argmax(adjusted_BV, -1, output_type=tf.int32),
        )
        chosen_B = tf.gather(logits_BV, token_B, batch_dims=1)
        logprobs = [chosen_B - batch_invariant.log_sum_exp(logits_BV)]
        if sampled_logprobs:
            logprobs.append(sampling.log_probability(adjusted_BV, knobs, token_B))
        return token_B, logprobs

    def take(logits_BV, out, going_B, in_place=in_place):
        """Chooses and writes the next token of the rows that go on."""
        token_B, logprobs = pick(logits_BV, out)
        token_B = tf.where(going_B, token_B, out.last)
        at_B = first_B + tf.where(going_B, out.count, N)

        def write(x, new_B):
            if in_place:
                return tf.raw_ops.InplaceUpdate(x=x, i=at_B, v=new_B)
            return tf.tensor_scatter_nd_update(x, at_B[:, None], new_B)

        tokens = write(out.tokens, token_B)
        count_B = out.count + tf.cast(going_B, tf.int32)
        ended = [token_B == end_id for end_id in end_ids]
        if stop is not None:
            ended.append(stop(cut(tokens), count_B))
        stopped_B = out.stopped
        for ended_B in ended:
            stopped_B |= going_B & ended_B
        return _Out(
            token_B,
            tf.cond(penalised, lambda: _marked(out.seen, token_B), lambda: out.seen),
            tokens,
            [
                write(old, new_B)
                for old, new_B in zip(out.logprobs, logprobs, strict=True)
            ],
            count_B,
            stopped_B,
            stopped_B | (count_B >= knobs.max_new_tokens),
        )

    # XLA would compile both traces, and gain nothing
    maybe_one = in_place and samples == 1 and tokens_BT.shape[0] in (None, 1)

    def step(out, *state):
        if maybe_one:
            logits_BV, state = one_row.apart(model, out.last, state, in_place)
        else:
            logits_BV, state = model.step(out.last, state, in_place)
        return take(logits_BV, out, ~out.done), *state

    nothing = tf.zeros((B,), tf.bool)
    out = _Out(
        tf.zeros((B,), tf.int32),
        seen_BV,
        tf.zeros((B * wide,), tf.int32),
        [tf.zeros((B * wide,)) for _ in range(1 + sampled_logprobs)],
        tf.zeros((B,), tf.int32),
        nothing,
        nothing,
    )
    # the zeros may be one constant of the graph: they are not overwritten
    out = take(logits_BV, out, tf.ones((B,), tf.bool), in_place=False)
    several = B > 1

    def goes_on(out, *_):
        # with drafts, a row's last bits would depend on the drafts of other rows
        return ~out.done & several if drafts else ~out.done

    out, *state = speculation.loop(goes_on, step, (out, *state))
    if drafts:
        prompt_T = tf.reshape(prompt_BT[:1, : tf.reduce_max(known_B)], [-1])
        inputs = model, drafts, step, take, out, prompt_T, knobs.max_new_tokens
        out = speculation.run(*inputs, state, in_place)
    return Decoded(cut(out.tokens), out.count, out.stopped, *map(cut, out.logprobs))


class _Out(NamedTuple):
    """What the rows have written; rows that are `done` write no more."""

    last: Any  # the last token of each row
    seen: Any  # [B, V], the tokens of prompt and answer; [B, 0] without a penalty
    tokens: Any  # [B * (N + 1)], as the log-probabilities
    logprobs: Any  # a list: the model's own, and those of the samples if asked for
    count: Any
    stopped: Any
    done: Any


def _repeated(x, samples):
    """Each row so many times, one after the other."""
    return tf.repeat(x, samples, 0) if samples > 1 else x


def _marked(seen_BV, token_B):
    """The tokens that a row has seen, with one more."""
    at = tf.stack([tf.range(tf.shape(token_B)[0]), token_B], 1)
    return tf.tensor_scatter_nd_update(seen_BV, at, tf.ones_like(token_B, tf.bool))
