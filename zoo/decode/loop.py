"""The one loop that generates tokens with any Decoder.

A Decoder is a model with `start(tokens_BT, lengths_B, capacity)` and
`step(token_B, state, in_place)`. The loop consists of plain graph operations: the same
function runs under `generate` and inside an exported SavedModel.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from zoo.decode import sampling
from zoo.decode.rules import History
from zoo.layers import batch_invariant


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
      started: what `model.start` gave for a capacity of T + N, or None to call it.

    Returns:
      `Decoded`.
    """
    N = tf.reduce_max(knobs.max_new_tokens) if new_tokens is None else new_tokens
    P, T = tf.unstack(tf.shape(tokens_BT))
    B = P * samples if samples > 1 else P
    sampled = tf.reduce_any(knobs.temperature > 0)
    uniform_BN = tf.cond(
        sampled, lambda: sampling.uniforms(knobs.seed, N), lambda: tf.zeros((B, N))
    )
    penalised = tf.reduce_any(knobs.repetition_penalty != 1)
    logits_BV, state = started or model.start(tokens_BT, lengths_B, T + N)
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

    first_B = tf.range(B) * N

    def pick(i, logits_BV, seen_BV, tokens):
        # only the choice leaves out the rows behind the tokenizer's tokens
        known_BV = logits_BV if V == rows else logits_BV[:, :V]
        adjusted_BV = tf.cond(
            penalised,
            lambda: sampling.penalise(known_BV, seen_BV, knobs.repetition_penalty),
            lambda: known_BV,
        )
        if rules is not None:
            last_B = knobs.max_new_tokens == i + 1
            history = History(prompt_BT, known_B, tf.reshape(tokens, (B, N)), i)
            adjusted_BV = rules.apply(adjusted_BV, history, last_B)
        token_B = tf.cond(
            sampled,
            lambda: sampling.choose(adjusted_BV, knobs, uniform_BN[:, i]),
            lambda: tf.argmax(adjusted_BV, -1, output_type=tf.int32),
        )
        chosen_B = tf.gather(logits_BV, token_B, batch_dims=1)
        logprobs = [chosen_B - batch_invariant.log_sum_exp(logits_BV)]
        if sampled_logprobs:
            logprobs.append(sampling.log_probability(adjusted_BV, knobs, token_B))
        seen_BV = tf.cond(
            penalised,
            lambda: tf.tensor_scatter_nd_update(
                seen_BV, tf.stack([tf.range(B), token_B], 1), tf.fill([B], True)
            ),
            lambda: seen_BV,
        )
        return token_B, logprobs, seen_BV

    def written(x, i, new_B, in_place):
        """[B * N] with new numbers at place i of each row."""
        if in_place:
            return tf.raw_ops.InplaceUpdate(x=x, i=first_B + i, v=new_B)
        return tf.tensor_scatter_nd_update(x, (first_B + i)[:, None], new_B)

    def write(i, out, token_B, logprobs, in_place=in_place):
        alive_B = ~out.done
        tokens = written(out.tokens, i, token_B, in_place)
        logprobs = [
            written(old, i, new_B, in_place)
            for old, new_B in zip(out.logprobs, logprobs, strict=True)
        ]
        count_B = out.count + tf.cast(alive_B, tf.int32)
        ended = [token_B == end_id for end_id in end_ids]
        if stop is not None:
            ended.append(stop(tf.reshape(tokens, (B, N)), count_B))
        stopped_B = out.stopped
        for ended_B in ended:
            stopped_B |= alive_B & ended_B
        done_B = stopped_B | (count_B >= knobs.max_new_tokens)
        return _Out(tokens, logprobs, count_B, stopped_B, done_B)

    def body(i, token_B, seen_BV, out, *state):
        logits_BV, state = model.step(token_B, state, in_place)
        token_B, logprobs, seen_BV = pick(i, logits_BV, seen_BV, out.tokens)
        return i + 1, token_B, seen_BV, write(i, out, token_B, logprobs), *state

    nothing = tf.zeros((B,), tf.bool)
    out = _Out(
        tf.zeros((B * N,), tf.int32),
        [tf.zeros((B * N,)) for _ in range(1 + sampled_logprobs)],
        tf.zeros((B,), tf.int32),
        nothing,
        nothing,
    )
    token_B, logprobs, seen_BV = pick(0, logits_BV, seen_BV, out.tokens)
    # the zeros may be one constant of the graph: they are not overwritten
    out = write(0, out, token_B, logprobs, in_place=False)
    loop = (tf.constant(1), token_B, seen_BV, out, *state)
    loop = tf.while_loop(
        lambda i, token_B, seen_BV, out, *state: (i < N) & ~tf.reduce_all(out.done),
        body,
        loop,
        shape_invariants=tf.nest.map_structure(_any_batch, loop),
        parallel_iterations=1,
    )
    out = loop[3]
    real_BN = tf.sequence_mask(out.count, N)
    tokens_BN, *logprobs = (
        tf.where(real_BN, tf.reshape(x, (B, N)), tf.zeros([], x.dtype))
        for x in (out.tokens, *out.logprobs)
    )
    return Decoded(tokens_BN, out.count, out.stopped, *logprobs)


class _Out(NamedTuple):
    """The loop variables that `Decoded` is made of.

    Rows that are done go on to write, and `decode` cuts that off.
    """

    tokens: Any  # [B * N]
    logprobs: Any  # a list: the model's own, and those of the samples if asked for
    count: Any
    stopped: Any
    done: Any


def _repeated(x, samples):
    """Each row so many times, one after the other."""
    return tf.repeat(x, samples, 0) if samples > 1 else x


def _any_batch(x):
    """The shape of a tensor with an unknown number of rows; () of a scalar."""
    return tf.TensorShape([None, *x.shape[1:]] if len(x.shape) else [])
