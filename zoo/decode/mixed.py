"""Answers rows that ask for different things: greedy, sampled, or of a beam search."""

import tensorflow as tf

from zoo.decode import loop, speculation
from zoo.decode.beam import beam_decode
from zoo.decode.found import Found


def decode(
    model,
    tokens_BT,
    lengths_B,
    knobs,
    search,
    end_ids,
    vocab_size=0,
    stop=None,
    rules=None,
    drafts=0,
):
    """Answers each row: by beam search where it has several beams, else by the loop.

    Prompts are read once. The loop and the search each run only if a row needs it.

    Args:
      model, tokens_BT, lengths_B, knobs, end_ids, vocab_size, stop, rules: as
        `beam_decode` has them.
      search: `Search`, or None where no row has several beams.
      drafts: as `loop.decode` has it; 0 where a row has several beams.

    Returns:
      `Found`. K is the largest number of beams, and 1 without `search`. A row of one
      beam has one answer, whose score is its log-probability.
    """
    N = tf.reduce_max(knobs.max_new_tokens)
    B, T = tf.unstack(tf.shape(tokens_BT))
    capacity = T + N + speculation.room(B, drafts)
    started = model.start(tokens_BT, lengths_B, capacity)
    inputs = model, tokens_BT, lengths_B, knobs
    options = {"new_tokens": N, "stop": stop, "rules": rules}

    def one(started):
        out = loop.decode(
            *inputs, end_ids, vocab_size, started=started, drafts=drafts, **options
        )
        score_B = tf.reduce_sum(out.logprobs, -1)
        alone = Found(out.tokens, out.num_tokens, out.stopped, out.logprobs, score_B)
        return tf.nest.map_structure(lambda x: x[:, None], alone)

    if search is None:
        return one(started)
    K, several_B = tf.reduce_max(search.beams), search.beams > 1

    def none():
        count_BK, zeros_BKN = tf.zeros((B, K), tf.int32), tf.zeros((B, K, N))
        tokens_BKN = tf.zeros((B, K, N), tf.int32)
        return Found(tokens_BKN, count_BK, count_BK > 0, zeros_BKN, tf.zeros((B, K)))

    def several():
        rest = search, end_ids, vocab_size
        return beam_decode(*inputs, *rest, started=started, **options)

    def widened(x):  # K - 1 empty places behind the only answer
        return tf.pad(x, [[0, 0], [0, K - 1]] + [[0, 0]] * (len(x.shape) - 2))

    def chosen(x, y):
        return tf.where(tf.reshape(several_B, [-1] + [1] * (len(x.shape) - 1)), x, y)

    found = tf.cond(tf.reduce_any(several_B), several, none)
    # the loop overwrites the state, of which the search makes copies
    with tf.control_dependencies([found.num_tokens]):
        started = tf.nest.map_structure(tf.identity, started)
    plain = tf.cond(
        tf.reduce_all(several_B),
        none,
        lambda: tf.nest.map_structure(widened, one(started)),
    )
    return tf.nest.map_structure(chosen, found, plain)
