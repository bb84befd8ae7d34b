"""What a beam search has found: the best answers of each row."""

from typing import Any, NamedTuple

import tensorflow as tf

# of transformers: the score of a place without an answer, and far below any answer's
NO_ANSWER = -1e9
NEVER = float("-inf")  # of a beam that the row does not have


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


def best(found, new, has_BK):
    """The best K of two sets of K answers."""
    K = tf.shape(has_BK)[1]
    both = Found(*(tf.concat(pair, 1) for pair in zip(found, new, strict=True)))
    _, at_BK = tf.math.top_k(both.scores, K)
    best = Found(*(tf.gather(x, at_BK, batch_dims=1) for x in both))
    return best._replace(
        num_tokens=tf.where(has_BK, best.num_tokens, 0),
        scores=tf.where(has_BK, best.scores, NEVER),
    )


def kept(done_B, old, new):
    """The old answers of rows that are done, and the new ones of others."""

    def one(x, y):
        done = tf.reshape(done_B, [-1] + [1] * (len(x.shape) - 1))
        return tf.where(done, x, y)

    return tf.nest.map_structure(one, old, new)


def cut(found):
    """The answers with 0 after the last token, and in places without an answer."""
    N = tf.shape(found.tokens)[2]
    real_BKN = tf.sequence_mask(found.num_tokens, N)
    return found._replace(
        tokens=tf.where(real_BKN, found.tokens, 0),
        logprobs=tf.where(real_BKN, found.logprobs, 0.0),
        stopped=found.stopped & (found.num_tokens > 0),
    )
