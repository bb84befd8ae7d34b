"""What an answer must contain and must not contain: n-grams, bad words, forced tokens.

The rules and their order are those of the logits processors of Hugging Face
transformers: the repetition penalty, n-grams, bad words, the least length, the forced
first token and the forced last one.

Sources: Keskar et al. 2019 (repetition penalty, arXiv:1909.05858); Paulus et al. 2017
(no n-gram twice, arXiv:1705.04304).
"""

from typing import Any, NamedTuple

import tensorflow as tf

from zoo.decode import sampling
from zoo.generation_config import GenerationConfig


class History(NamedTuple):
    """The tokens that each row has so far: its prompt, then its answer.

    Attributes:
      prompt: int32 [R, T], right-padded.
      lengths: int32 [R], the tokens of the prompts.
      answer: int32 [R, N].
      count: int32, the tokens of the answers: one number, or [R].
    """

    prompt: Any
    lengths: Any
    answer: Any
    count: Any

    @classmethod
    def first(cls, model, tokens_BT, lengths_B):
        """The history before the first token: `prompt` and `lengths`.

        A model that reads a source writes a text of its own, which begins with its
        start token. The source is no part of that text.
        """
        if not getattr(model, "reads_source", False):
            return tokens_BT, lengths_B
        ones_B = tf.ones_like(lengths_B)
        return tf.fill([tf.shape(lengths_B)[0], 1], model.config.start_id), ones_B

    def total(self):
        """The number of tokens of each row, int32 [R]."""
        return self.lengths + self.count

    def at(self, place_RX):
        """The tokens at places of the history; any token at places outside."""
        after_RX = place_RX - self.lengths[:, None]
        prompt_RX = _inside(self.prompt, place_RX)
        return tf.where(after_RX < 0, prompt_RX, _inside(self.answer, after_RX))

    def all(self):
        """The tokens at all places, int32 [R, T + N]; any token behind the end."""
        size = tf.shape(self.prompt)[1] + tf.shape(self.answer)[1]
        rows = tf.shape(self.lengths)[0]
        return self.at(tf.broadcast_to(tf.range(size)[None], (rows, size)))

    def seen(self, V):
        """Which tokens the history has, bool [R, V]."""
        tokens_RS = self.all()
        real_RS = tf.sequence_mask(self.total(), tf.shape(tokens_RS)[1])
        return _marked(tokens_RS, real_RS, V)

    def repeated(self, n_R, V):
        """Which tokens complete an n-gram that the history has, bool [R, V].

        Args:
          n_R: int32, the size of the n-grams; 0 is none.
          V: the number of tokens.
        """
        tokens_RS, total_R = self.all(), self.total()
        size = tf.shape(tokens_RS)[1]
        place_S = tf.range(size)[None]

        def compare(k, same_RS):
            # Places before k compare with tokens of the end. No n-gram ends there.
            last_R1 = self.at(total_R[:, None] - k)
            same_RS &= (tf.roll(tokens_RS, k, 1) == last_R1) | (k >= n_R[:, None])
            return k + 1, same_RS

        ends_RS = (place_S >= n_R[:, None] - 1) & (place_S < total_R[:, None])
        ends_RS &= n_R[:, None] > 0
        most = tf.minimum(tf.reduce_max(n_R), size + 1)
        loop = (tf.constant(1), ends_RS)
        _, ends_RS = tf.while_loop(lambda k, _: k < most, compare, loop)
        return _marked(tokens_RS, ends_RS, V)


class Rules(NamedTuple):
    """The rules of a batch.

    Attributes:
      no_repeat_ngram: int32 [B], n: no n-gram twice in a row's history; 0 is off. None:
        off for all rows.
      forced_bos_token_id: the token after a history of one token; -1 is none.
      forced_eos_token_id: the tokens of which one is the last that max_new_tokens
        allows; may be empty.
      bad_words_ids: sequences of tokens that no answer completes.
      end_ids: the tokens that end an answer.
      min_length: the tokens of a row's history before one of `end_ids` is allowed.
      min_new_tokens: the tokens of an answer before that.
    """

    no_repeat_ngram: Any = None
    forced_bos_token_id: int = -1
    forced_eos_token_id: tuple[int, ...] = ()
    bad_words_ids: tuple[tuple[int, ...], ...] = ()
    end_ids: tuple[int, ...] = ()
    min_length: int = 0
    min_new_tokens: int = 0

    @classmethod
    def of(cls, generation: GenerationConfig, end_ids, no_repeat_ngram=None) -> "Rules":
        """The rules of a model directory; an end token alone is no bad word."""
        words = generation.bad_words_ids
        return cls(
            no_repeat_ngram,
            generation.forced_bos_token_id,
            generation.forced_eos_token_id,
            tuple(w for w in words if w not in {(i,) for i in end_ids}),
            tuple(end_ids),
            generation.min_length,
            generation.min_new_tokens,
        )

    def repeated(self, times) -> "Rules":
        """The rules of a batch that has each row so many times."""
        if self.no_repeat_ngram is None:
            return self
        n_R = tf.repeat(self.no_repeat_ngram, times, 0)
        return self._replace(no_repeat_ngram=n_R)

    def always(self) -> bool:
        """Whether there are rules beside those of n-grams, which rows may not have."""
        least = self.end_ids and (self.min_length or self.min_new_tokens)
        forced = self.forced_bos_token_id >= 0 or self.forced_eos_token_id
        return bool(least or forced or self.bad_words_ids)

    def apply(self, scores_RV, history: History, last_R):
        """The scores, -infinity where a rule forbids the token.

        Args:
          scores_RV: logits or log-probabilities.
          history: before the token.
          last_R: bool, whether max_new_tokens allows only this token.

        Raises:
          ValueError: a forced token is none of the V tokens.
        """
        V = scores_RV.shape[-1]
        n_R = self.no_repeat_ngram
        if n_R is not None:
            scores_RV = tf.cond(
                tf.reduce_any(n_R > 0),
                lambda: _without(scores_RV, history.repeated(n_R, V)),
                lambda: scores_RV,
            )
        for word in self.bad_words_ids:
            if word[-1] >= V:
                continue  # the token is never chosen
            ends_R1 = self._begun(word[:-1], history)
            one_V = tf.one_hot(word[-1], V, True, False)
            scores_RV = _without(scores_RV, one_V[None] & ends_R1)
        if self.end_ids and (self.min_length or self.min_new_tokens):
            early_R = history.total() < self.min_length
            early_R |= history.count < self.min_new_tokens
            ends_V = _some(self.end_ids, V)
            scores_RV = _without(scores_RV, ends_V[None] & early_R[:, None])
        if self.forced_bos_token_id >= 0:
            first_R = history.total() == 1
            only_V = _only("forced_bos_token_id", (self.forced_bos_token_id,), V)
            scores_RV = tf.where(first_R[:, None], only_V, scores_RV)
        if self.forced_eos_token_id:
            only_V = _only("forced_eos_token_id", self.forced_eos_token_id, V)
            scores_RV = tf.where(last_R[:, None], only_V, scores_RV)
        return scores_RV

    @staticmethod
    def _begun(tokens, history):
        """Whether the history ends with these tokens, bool [R, 1]."""
        back_X = tf.range(-len(tokens), 0)
        ends_RX = history.at(history.total()[:, None] + back_X[None])
        same_R = tf.reduce_all(ends_RX == tf.constant(tokens, tf.int32), 1)
        return (same_R & (history.total() >= len(tokens)))[:, None]


def penalised(scores_RV, history: History, penalty_R):
    """The scores after the repetition penalty of the history's tokens."""
    return tf.cond(
        tf.reduce_any(penalty_R != 1),
        lambda: sampling.penalise(
            scores_RV, history.seen(scores_RV.shape[-1]), penalty_R
        ),
        lambda: scores_RV,
    )


def _inside(x_RS, place_RX):
    """The elements at places; any element where the place is outside."""
    last = tf.shape(x_RS)[1] - 1
    return tf.gather(x_RS, tf.clip_by_value(place_RX, 0, last), batch_dims=1)


def _marked(tokens_RS, chosen_RS, V):
    """Which tokens stand at the chosen places, bool [R, V]."""
    at = tf.where(chosen_RS)
    tokens = tf.cast(tf.gather_nd(tokens_RS, at), tf.int64)
    at, known = tf.stack([at[:, 0], tokens], 1), tokens < V
    at = tf.boolean_mask(at, known)
    nothing_RV = tf.zeros((tf.shape(tokens_RS)[0], V), tf.bool)
    return tf.tensor_scatter_nd_update(nothing_RV, at, tf.fill([tf.shape(at)[0]], True))


def _without(scores_RV, banned_RV):
    """The scores, -infinity for banned tokens."""
    return tf.where(banned_RV, float("-inf"), scores_RV)


def _only(name, tokens, V):
    """Scores [V]: 0 for some tokens, -infinity for all others."""
    for token in tokens:
        if not 0 <= token < V:
            raise ValueError(f"{name}: {token}, 0 to {V - 1} allowed.")
    return tf.where(_some(tokens, V), 0.0, float("-inf"))


def _some(tokens, V):
    """Which tokens are among some, bool [V]; those from V on are left out."""
    return tf.reduce_any(tf.one_hot(tokens, V, True, False), 0)
