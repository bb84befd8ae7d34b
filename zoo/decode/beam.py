"""Beam search with any Decoder, as a loop of plain graph operations.

The search is that of Hugging Face transformers 5 (`generate` with `num_beams`), for
each row on its own: a row stops when its own search ends. Rows have their own number of
beams. The batch runs with the largest, and the beams that a row does not have are never
continued.

Each row has K places for its beams. The first child of a beam takes its parent's place,
and the other children take places of beams that died. So the state of a step moves only
from a living beam to a dead one, in place.

Sources: Graves 2012 (beam search, arXiv:1211.3711); Wu et al. 2016 (length penalty,
arXiv:1609.08144).
"""

from typing import Any, NamedTuple

import tensorflow as tf

from zoo.decode.rules import History, Rules, penalised
from zoo.layers import batch_invariant

# of transformers: the score of a place without an answer, and far below any answer's
_NO_ANSWER = -1e9
_NEVER = float("-inf")  # of a beam that the row does not have


class Found(NamedTuple):
    """The answers of a search, the best first.

    K is the largest number of beams. A row with fewer beams has fewer answers.

    Attributes:
      tokens: int32 [B, K, N], with the end token; 0 after an answer's last token.
      num_tokens: int32 [B, K]; 0 where there is no answer.
      stopped: bool [B, K], whether an end token or a stop string ended the answer.
      logprobs: float32 [B, K, N], from the softmax over all logits of the model before
        any knob; 0 after the last token.
      scores: float32 [B, K], the sum of the log-probabilities after the repetition
        penalty and the rules, divided by length ** length_penalty; at most -1e9 where
        there is no answer.
    """

    tokens: Any
    num_tokens: Any
    stopped: Any
    logprobs: Any
    scores: Any


class _Beams(NamedTuple):
    """What the beams have written, each in its place."""

    tokens: Any
    logprobs: Any
    scores: Any  # sums


def beam_decode(
    model,
    tokens_BT,
    lengths_B,
    knobs,
    search,
    end_ids,
    vocab_size=0,
    new_tokens=None,
    stop=None,
    rules=None,
    started=None,
):
    """Searches the likeliest answers of each row.

    Args:
      model: a Decoder. The first `model.fixed_state` tensors of its state are those of
        the source: all beams of a row share them, and no step changes them.
      tokens_BT: int32, right-padded prompts of at least one token.
      lengths_B: int32.
      knobs: `sampling.Knobs`; max_new_tokens and repetition_penalty are read.
      search: `Search`. A row of one beam takes the best token in each step, as greedy
        decoding does.
      end_ids: the tokens that end a text; there may be none.
      vocab_size: as `loop.decode` has it.
      new_tokens: N, at least the largest limit; by default the largest limit.
      stop: `Stops` of the rows, or None.
      rules: `Rules` of the rows. Its n-grams are those of `search`.
      started: what `model.start` gave for a capacity of T + N, or None to call it.

    Returns:
      `Found`.
    """
    N = tf.reduce_max(knobs.max_new_tokens) if new_tokens is None else new_tokens
    B, T = tf.unstack(tf.shape(tokens_BT))
    K = tf.reduce_max(search.beams)
    logits_BV, state = started or model.start(tokens_BT, lengths_B, T + N)
    V = min(vocab_size or logits_BV.shape[-1], logits_BV.shape[-1])
    # so many candidates have K that go on, even if every beam has ended in every way
    times = max(2, 1 + len(end_ids))
    C = tf.minimum(times * K, K * V)
    prompt_RT, lengths_R = (
        tf.repeat(x, K, 0) for x in History.first(model, tokens_BT, lengths_B)
    )
    limit_R = tf.repeat(knobs.max_new_tokens, K, 0)
    penalty_R = tf.repeat(knobs.repetition_penalty, K, 0)
    rules = (rules or Rules())._replace(no_repeat_ngram=search.no_repeat_ngram)
    rules = rules.repeated(K)
    stop = stop and stop.repeated(C)
    has_BK = tf.range(K)[None] < search.beams[:, None]
    has_BC = tf.range(C)[None] < times * search.beams[:, None]
    one_beam_R1 = tf.repeat(search.beams == 1, K, 0)[:, None]
    fixed = range(getattr(model, "fixed_state", 0))

    def pick(i, logits_RV, beams, found, done_B):
        logprob_RV = logits_RV - batch_invariant.log_sum_exp(logits_RV)[:, None]
        logprob_RV, known_RV = logprob_RV[:, :V], logits_RV[:, :V]
        history = History(prompt_RT, lengths_R, _flat(beams.tokens), i)
        # greedy decoding penalises logits, and a search log-probabilities
        known_RV = tf.where(one_beam_R1, known_RV, logprob_RV)
        known_RV = penalised(known_RV, history, penalty_R)
        known_RV = rules.apply(known_RV, history, limit_R == i + 1)
        sums_BKV = tf.reshape(known_RV, (B, K, V)) + beams.scores[:, :, None]
        sum_BC, at_BC = tf.math.top_k(tf.reshape(sums_BKV, (B, K * V)), C)
        sum_BC = tf.where(has_BC, sum_BC, _NEVER)
        parent_BC, token_BC = at_BC // V, at_BC % V
        chosen_BC = tf.gather(tf.reshape(logprob_RV, (B, K * V)), at_BC, batch_dims=1)
        here_N = tf.range(N) == i

        def written(x_BKN, new_BX, parent_BX):
            x_BXN = tf.gather(x_BKN, parent_BX, batch_dims=1)
            return tf.where(here_N, new_BX[:, :, None], x_BXN)

        ended_BC = _any_of(token_BC, end_ids)
        if stop is not None:
            text_BCN = written(beams.tokens, token_BC, parent_BC)
            count = tf.fill([B * C], i + 1)
            ended_BC |= tf.reshape(stop(_flat(text_BCN), count), (B, C))
        over_BC = ended_BC | (knobs.max_new_tokens <= i + 1)[:, None]

        # those of the first K that are over become answers
        first = (parent_BC[:, :K], token_BC[:, :K], chosen_BC[:, :K])
        score_BK = sum_BC[:, :K] / _power(i + 1, search.length_penalty)
        score_BK = tf.where(over_BC[:, :K], score_BK, score_BK + _NO_ANSWER)
        new = Found(
            written(beams.tokens, first[1], first[0]),
            tf.where(over_BC[:, :K] & has_BK & (sum_BC[:, :K] > _NEVER), i + 1, 0),
            ended_BC[:, :K],
            written(beams.logprobs, first[2], first[0]),
            tf.where(has_BK, score_BK, _NEVER),
        )
        found = _where(done_B, found, _best(found, new, has_BK))

        # the best K that are not over go on
        going_BC = tf.where(over_BC, sum_BC + _NO_ANSWER, sum_BC)
        sum_BK, which_BK = tf.math.top_k(going_BC, K)
        sum_BK = tf.where(has_BK, sum_BK, _NEVER)
        best_B = sum_BK[:, 0]
        all_found_B = tf.reduce_all((found.num_tokens > 0) | ~has_BK, 1)
        worst_B = tf.reduce_min(tf.where(has_BK, found.scores, float("inf")), 1)
        worst_B = tf.where(all_found_B, worst_B, _NO_ANSWER)
        full_B = all_found_B & ((search.early_stopping == 1) | (search.beams == 1))
        length_B = tf.fill([B], i + 1)
        longest_B = (search.early_stopping == 2) & (search.length_penalty > 0)
        length_B = tf.where(longest_B, knobs.max_new_tokens, length_B)
        hope_B = best_B / _power(length_B, search.length_penalty)[:, 0]
        done_B |= full_B | (hope_B <= worst_B) | tf.reduce_all(over_BC | ~has_BC, 1)

        parent_BK = tf.gather(parent_BC, which_BK, batch_dims=1)
        order_BK, moves_BK = _places(parent_BK, has_BK)
        which_BK = tf.gather(which_BK, order_BK, batch_dims=1)
        parent_BK = tf.gather(parent_BC, which_BK, batch_dims=1)
        token_BK = tf.gather(token_BC, which_BK, batch_dims=1)
        chosen_BK = tf.gather(chosen_BC, which_BK, batch_dims=1)
        beams = _Beams(
            written(beams.tokens, token_BK, parent_BK),
            written(beams.logprobs, chosen_BK, parent_BK),
            tf.gather(sum_BK, order_BK, batch_dims=1),
        )
        to = tf.where(moves_BK & ~done_B[:, None])
        source = tf.gather_nd(parent_BK, to)
        rows = tf.cast(to[:, 0], tf.int32) * K
        to = rows + tf.cast(to[:, 1], tf.int32)
        return _flat(token_BK), beams, found, done_B, (to, rows + source)

    def move(state, to, source):
        return [
            x
            if i in fixed or not len(x.shape)
            else tf.raw_ops.InplaceUpdate(x=x, i=to, v=tf.gather(x, source))
            for i, x in enumerate(state)
        ]

    def body(i, logits_RV, beams, found, done_B, *state):
        token_R, beams, found, done_B, places = pick(i, logits_RV, beams, found, done_B)

        def step():
            logits_RV, after = model.step(token_R, move(state, *places), True)
            return logits_RV, *after

        goes_on = (i + 1 < N) & ~tf.reduce_all(done_B)
        after = tf.cond(goes_on, step, lambda: (logits_RV, *state))
        return i + 1, after[0], beams, found, done_B, *after[1:]

    beams, found = _nothing(B, K, N, has_BK)
    # only the first beam goes on from the prompt: K equal beams would stay equal
    scores_BK = tf.where(tf.range(K)[None] > 0, beams.scores + _NO_ANSWER, beams.scores)
    beams = beams._replace(scores=scores_BK)
    state = [
        x if i in fixed or not len(x.shape) else tf.repeat(x, K, 0)
        for i, x in enumerate(state)
    ]
    logits_RV = tf.repeat(logits_BV, K, 0)
    done_B = tf.zeros((B,), tf.bool)
    loop = (tf.constant(0), logits_RV, beams, found, done_B, *state)
    loop = tf.while_loop(
        lambda i, *loop: (i < N) & ~tf.reduce_all(loop[3]),
        body,
        loop,
        shape_invariants=tf.nest.map_structure(_any_size, loop),
        parallel_iterations=1,
    )
    return _cut(loop[3])


def _nothing(B, K, N, has_BK):
    """Beams without tokens, and places without answers."""
    tokens_BKN, logprobs_BKN = tf.zeros((B, K, N), tf.int32), tf.zeros((B, K, N))
    no_BK = tf.zeros((B, K), tf.int32)
    scores_BK = tf.where(has_BK, _NO_ANSWER, _NEVER)
    beams = _Beams(tokens_BKN, logprobs_BKN, tf.where(has_BK, 0.0, _NEVER))
    found = Found(tokens_BKN, no_BK, no_BK > 0, logprobs_BKN, scores_BK)
    return beams, found


def _best(found, new, has_BK):
    """The best K of two sets of K answers."""
    K = tf.shape(has_BK)[1]
    both = Found(*(tf.concat(pair, 1) for pair in zip(found, new, strict=True)))
    _, at_BK = tf.math.top_k(both.scores, K)
    best = Found(*(tf.gather(x, at_BK, batch_dims=1) for x in both))
    return best._replace(
        num_tokens=tf.where(has_BK, best.num_tokens, 0),
        scores=tf.where(has_BK, best.scores, _NEVER),
    )


def _where(done_B, old, new):
    """The old answers of rows that are done, and the new ones of others."""

    def one(x, y):
        done = tf.reshape(done_B, [-1] + [1] * (len(x.shape) - 1))
        return tf.where(done, x, y)

    return tf.nest.map_structure(one, old, new)


def _places(parent_BK, has_BK):
    """Chooses a place for each beam that goes on.

    Args:
      parent_BK: int32, the place of each beam's parent.
      has_BK: bool, which beams the row has.

    Returns:
      For each place, int32 [B, K]: which beam takes it. And bool [B, K]: whether the
      state of its parent must move there.
    """
    K = tf.shape(parent_BK)[1]
    same_BKK = (parent_BK[:, :, None] == parent_BK[:, None]) & has_BK[:, None]
    before_KK = tf.range(K)[:, None] > tf.range(K)[None]
    stays_BK = has_BK & ~tf.reduce_any(same_BKK & before_KK, -1)
    taken_BKP = (parent_BK[:, :, None] == tf.range(K)) & stays_BK[:, :, None]
    taken_BP = tf.cast(tf.reduce_any(taken_BKP, 1), tf.int32)
    free_BP = tf.argsort(taken_BP, stable=True)  # the free places first
    number_BK = tf.cumsum(tf.cast(~stays_BK, tf.int32), 1, exclusive=True)
    number_BK = tf.minimum(number_BK, K - 1)
    place_BK = tf.gather(free_BP, number_BK, batch_dims=1)
    place_BK = tf.where(stays_BK, parent_BK, place_BK)
    here_BPK = tf.cast(place_BK[:, None] == tf.range(K)[:, None], tf.int32)
    order_BP = tf.argmax(here_BPK, -1, output_type=tf.int32)
    moves_BP = tf.gather(has_BK & ~stays_BK, order_BP, batch_dims=1)
    return order_BP, moves_BP


def _power(length, penalty_B):
    """length ** penalty of each row, float32 [B, 1], in the precision of Python."""
    length_B1 = tf.cast(tf.broadcast_to(length, tf.shape(penalty_B)), tf.float64)
    penalty_B1 = tf.cast(penalty_B, tf.float64)[:, None]
    power_B1 = batch_invariant.apply(
        lambda x: tf.pow(x, penalty_B1), length_B1[:, None]
    )
    return tf.cast(power_B1, tf.float32)


def _any_of(token_BC, end_ids):
    """Whether each token is an end token."""
    ended_BC = tf.zeros_like(token_BC, tf.bool)
    for end_id in end_ids:
        ended_BC |= token_BC == end_id
    return ended_BC


def _flat(x):
    """[B, K, ...] as [B * K, ...]."""
    return tf.reshape(x, tf.concat([[-1], tf.shape(x)[2:]], 0))


def _any_size(x):
    """The shape of a loop variable: the number of rows and beams is unknown."""
    return tf.TensorShape([None, *x.shape[1:]] if len(x.shape) else [])


def _cut(found):
    """The answers with 0 after the last token, and in places without an answer."""
    N = tf.shape(found.tokens)[2]
    real_BKN = tf.sequence_mask(found.num_tokens, N)
    return found._replace(
        tokens=tf.where(real_BKN, found.tokens, 0),
        logprobs=tf.where(real_BKN, found.logprobs, 0.0),
        stopped=found.stopped & (found.num_tokens > 0),
    )
