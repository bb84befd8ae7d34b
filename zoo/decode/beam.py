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

from zoo.decode.found import NEVER, NO_ANSWER, Found, best, cut, kept
from zoo.decode.rules import History, Rules, penalised
from zoo.layers import batch_invariant


class _Beams(NamedTuple):
    """What the beams have written, each in its place."""

    tokens: Any  # [B * K, N]
    logprobs: Any
    scores: Any  # [B, K], sums


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
    changes = tf.reduce_any(penalty_R != 1) | tf.reduce_any(search.no_repeat_ngram > 0)
    changes |= rules.always()
    few = tf.minimum(C, V)  # candidates of a beam
    fixed = range(getattr(model, "fixed_state", 0))
    first_R = tf.range(B * K) * N

    def pick(i, logits_RV, beams, found, done_B):
        total_R1 = batch_invariant.log_sum_exp(logits_RV)[:, None]
        known_RV = logits_RV if V == logits_RV.shape[-1] else logits_RV[:, :V]
        # greedy decoding penalises logits, and a search log-probabilities
        less_R1 = tf.where(one_beam_R1, 0.0, total_R1)

        def changed():
            history = History(prompt_RT, lengths_R, beams.tokens, i)
            scores_RV = penalised(known_RV - less_R1, history, penalty_R)
            scores_RV = rules.apply(scores_RV, history, limit_R == i + 1)
            return scores_RV, tf.zeros_like(less_R1)

        scores_RV, less_R1 = tf.cond(changes, changed, lambda: (known_RV, less_R1))
        # the best of all beams are among the best of each
        score_RF, token_RF = tf.math.top_k(scores_RV, few)
        sums_BKF = tf.reshape(score_RF - less_R1, (B, K, few))
        sums_BKF += beams.scores[:, :, None]
        sum_BC, at_BC = tf.math.top_k(tf.reshape(sums_BKF, (B, K * few)), C)
        sum_BC = tf.where(has_BC, sum_BC, NEVER)
        parent_BC = at_BC // few
        logprob_RF = tf.gather(known_RV, token_RF, batch_dims=1) - total_R1
        token_BC, chosen_BC = (
            tf.gather(tf.reshape(x_RF, (B, K * few)), at_BC, batch_dims=1)
            for x_RF in (token_RF, logprob_RF)
        )

        def written(x_RN, new_BX, parent_BX):
            x_BXN = tf.gather(tf.reshape(x_RN, (B, K, N)), parent_BX, batch_dims=1)
            return tf.where(tf.range(N) == i, new_BX[:, :, None], x_BXN)

        ended_BC = _any_of(token_BC, end_ids)
        if stop is not None:
            text_BCN = written(beams.tokens, token_BC, parent_BC)
            count = tf.fill([B * C], i + 1)
            ended_BC |= tf.reshape(stop(_flat(text_BCN), count), (B, C))
        over_BC = ended_BC | (knobs.max_new_tokens <= i + 1)[:, None]

        # those of the first K that are over become answers
        new_BK = over_BC[:, :K] & has_BK & (sum_BC[:, :K] > NEVER) & ~done_B[:, None]

        def answered():
            parent_BK = parent_BC[:, :K]
            score_BK = sum_BC[:, :K] / _power(i + 1, search.length_penalty)
            score_BK = tf.where(new_BK, score_BK, score_BK + NO_ANSWER)
            new = Found(
                written(beams.tokens, token_BC[:, :K], parent_BK),
                tf.where(new_BK, i + 1, 0),
                ended_BC[:, :K],
                written(beams.logprobs, chosen_BC[:, :K], parent_BK),
                tf.where(has_BK, score_BK, NEVER),
            )
            return kept(done_B, found, best(found, new, has_BK))

        found = tf.cond(tf.reduce_any(new_BK), answered, lambda: found)

        # the best K that are not over go on
        going_BC = tf.where(over_BC, sum_BC + NO_ANSWER, sum_BC)
        sum_BK, which_BK = tf.math.top_k(going_BC, K)
        sum_BK = tf.where(has_BK, sum_BK, NEVER)
        best_B = sum_BK[:, 0]
        all_found_B = tf.reduce_all((found.num_tokens > 0) | ~has_BK, 1)
        worst_B = tf.reduce_min(tf.where(has_BK, found.scores, float("inf")), 1)
        worst_B = tf.where(all_found_B, worst_B, NO_ANSWER)
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
        to = tf.where(moves_BK & ~done_B[:, None])
        source = tf.gather_nd(parent_BK, to)
        rows = tf.cast(to[:, 0], tf.int32) * K
        places = rows + tf.cast(to[:, 1], tf.int32), rows + source

        def moved(x_RN, new_BK):
            x_N = tf.reshape(move(x_RN, *places), [-1])
            x_N = tf.raw_ops.InplaceUpdate(x=x_N, i=first_R + i, v=_flat(new_BK))
            return tf.reshape(x_N, (-1, N))

        # what was found is made of the tokens before they are overwritten
        with tf.control_dependencies([found.tokens, found.logprobs]):
            beams = _Beams(
                moved(beams.tokens, token_BK),
                moved(beams.logprobs, chosen_BK),
                tf.gather(sum_BK, order_BK, batch_dims=1),
            )
        return _flat(token_BK), beams, found, done_B, places

    def move(x, to, source):
        return tf.raw_ops.InplaceUpdate(x=x, i=to, v=tf.gather(x, source))

    def moving(state, places):
        return [
            x if i in fixed or not len(x.shape) else move(x, *places)
            for i, x in enumerate(state)
        ]

    def body(i, logits_RV, beams, found, done_B, *state):
        token_R, beams, found, done_B, places = pick(i, logits_RV, beams, found, done_B)

        def step():
            logits_RV, after = model.step(token_R, moving(state, places), True)
            return logits_RV, *after

        goes_on = (i + 1 < N) & ~tf.reduce_all(done_B)
        after = tf.cond(goes_on, step, lambda: (logits_RV, *state))
        return i + 1, after[0], beams, found, done_B, *after[1:]

    beams, found = _nothing(B, K, N, has_BK)
    # only the first beam goes on from the prompt: K equal beams would stay equal
    scores_BK = tf.where(tf.range(K)[None] > 0, beams.scores + NO_ANSWER, beams.scores)
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
    return cut(loop[3])


def _nothing(B, K, N, has_BK):
    """Beams without tokens, and places without answers."""
    # steps overwrite these, so they are copies: the zeros may be a constant
    tokens_RN, logprobs_RN = (
        tf.raw_ops.DeepCopy(x=tf.zeros((B * K, N), dtype))
        for dtype in (tf.int32, tf.float32)
    )
    tokens_BKN, logprobs_BKN = tf.zeros((B, K, N), tf.int32), tf.zeros((B, K, N))
    no_BK = tf.zeros((B, K), tf.int32)
    scores_BK = tf.where(has_BK, NO_ANSWER, NEVER)
    beams = _Beams(tokens_RN, logprobs_RN, tf.where(has_BK, 0.0, NEVER))
    found = Found(tokens_BKN, no_BK, no_BK > 0, logprobs_BKN, scores_BK)
    return beams, found


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
