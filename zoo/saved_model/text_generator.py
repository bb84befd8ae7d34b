"""A language model as a SavedModel: text in, text out.

The signatures are plain functions over batches of rows, with the tokenizer, the loop
and the samplers inside. They close over the model; the tf.Module owns the raw
variables and the tables, so that each weight is stored once and no Keras object is.
"""

import tensorflow as tf

from zoo.decode import loop
from zoo.layers import per_row
from zoo.saved_model import knobs as knobs_lib
from zoo.saved_model.knobs import require, rows_of
from zoo.text import graph_tokenizer

_MOST_BYTES = 2**20  # of one text: a longer one is an error, not a long wait
_MOST_TOKENS = 2**16  # of a prompt and what follows, where the model sets no limit

_TEXT = tf.TensorSpec([None], tf.string)
_IDS = tf.TensorSpec([None, None], tf.int32)
_ROW = tf.TensorSpec([None], tf.int32)


class TextGenerator(tf.Module):
    """The signatures of a language model.

    Args:
      model: a Decoder with `features` and `logits`.
      tokenizer: its Tokenizer.
      generation: the defaults of the knobs.

    Raises:
      ValueError: the tokenizer cannot be put in the graph exactly.
    """

    def __init__(self, model, tokenizer, generation):
        super().__init__()
        self.weights = [v.value for v in model.weights]
        self.graph_tokenizer = graph_tokenizer.build(tokenizer.json)
        self._decoder = _Untracked(model)
        self._end_id = tokenizer.end_id
        self._vocab_size = tokenizer.vocab_size
        self._limit = model.limit or _MOST_TOKENS
        self._generation = generation

    def signatures(self) -> dict:
        """Name to (function, specs of its inputs, defaults of its inputs)."""
        knobs = knobs_lib.defaults(self._generation)
        specs = {
            name: tf.TensorSpec([None], kind) for name, kind in knobs_lib.KINDS.items()
        }

        def serving_default(prompt):
            return {"text": self.generate(prompt, **knobs)["text"]}

        return {
            "serving_default": (serving_default, {"prompt": _TEXT}, {}),
            "generate": (self.generate, {"prompt": _TEXT, **specs}, knobs),
            "score": (self.score, {"prompt": _TEXT, "completion": _TEXT}, {}),
            "tokenize": (self.tokenize, {"text": _TEXT}, {}),
            "detokenize": (self.detokenize, {"tokens": _IDS, "lengths": _ROW}, {}),
        }

    def generate(self, prompt, **given):
        """Continues each prompt; the knobs are those of `Generation`."""
        ids, lengths_B = self._prompts(prompt)
        rows = tf.shape(prompt)[0]
        knobs = knobs_lib.checked(given, rows, self._vocab_size, self._limit)
        total_B = lengths_B + knobs.max_new_tokens
        with self._within("prompt", total_B, "tokens with max_new_tokens"):
            tokens_BT, lengths_B, limit_B = map(
                tf.identity, (ids.to_tensor(), lengths_B, knobs.max_new_tokens)
            )
        knobs = knobs._replace(max_new_tokens=limit_B)
        out = loop.decode(
            self._decoder.model,
            tokens_BT,
            lengths_B,
            knobs,
            self._end_id,
            self._vocab_size,
        )
        tokens = tf.RaggedTensor.from_tensor(out.tokens, lengths=out.num_tokens)
        return {
            "text": self.graph_tokenizer.decode(tokens),
            "num_tokens": out.num_tokens,
            "finish_reason": tf.where(out.stopped, "stop", "length"),
            "logprob": tf.reduce_sum(out.logprobs, -1),
            "tokens": out.tokens,
            "token_logprobs": out.logprobs,
        }

    def score(self, prompt, completion):
        """The log-probability of each completion after its prompt."""
        left, left_B = self._prompts(prompt)
        right = self.graph_tokenizer.encode(_text(completion, "completion"))
        ids = tf.concat([left, right], 1)
        right_B = tf.cast(right.row_lengths(), tf.int32)
        # position t predicts token t + 1; every row has all N positions, although some
        # are padding: packed, a row's place would depend on its mates
        total_B = left_B + right_B
        with self._within("completion", total_B, "tokens with the prompt"):
            tokens_BT = tf.identity(ids.to_tensor())
        x_BTD = self._decoder.model.features(tokens_BT[:, :-1])
        N = tf.reduce_max(right_B)
        real_BN = tf.sequence_mask(right_B, N)
        at_BN = tf.where(real_BN, tf.range(N)[None] + left_B[:, None] - 1, 0)
        logits_BNV = self._decoder.model.logits(tf.gather(x_BTD, at_BN, batch_dims=1))
        target_BN = tf.gather(tokens_BT, at_BN + 1, batch_dims=1)
        hit_BN = tf.gather(logits_BNV, target_BN, batch_dims=2)
        V = logits_BNV.shape[-1]
        total_M = per_row.log_sum_exp(tf.reshape(logits_BNV, (-1, V)))
        logprob_BN = hit_BN - tf.reshape(total_M, tf.shape(hit_BN))
        logprob_BN = tf.where(real_BN, logprob_BN, 0.0)
        best_BN = tf.argmax(logits_BNV, -1, output_type=tf.int32)
        return {
            "logprob": tf.reduce_sum(logprob_BN, -1),
            "num_tokens": right_B,
            "token_logprobs": logprob_BN,
            "is_greedy": tf.reduce_all((best_BN == target_BN) | ~real_BN, -1),
        }

    def tokenize(self, text):
        """The ids of each text, 0 after its end."""
        ids = self.graph_tokenizer.encode(_text(text, "text"))
        lengths_B = tf.cast(ids.row_lengths(), tf.int32)
        return {"tokens": ids.to_tensor(), "lengths": lengths_B}

    def detokenize(self, tokens, lengths):
        """The text of each row's first `lengths` ids, without special tokens."""
        tokens = rows_of("tokens", tokens)
        V, T = self._vocab_size, tf.shape(tokens)[1]
        lengths = require(
            (lengths >= 0) & (lengths <= T),
            "lengths",
            lengths,
            "0 to the width of tokens allowed",
        )
        odd_BT = tf.sequence_mask(lengths, T) & ((tokens < 0) | (tokens >= V))
        at_B = tf.argmax(tf.cast(odd_BT, tf.int32), 1)
        lengths = require(
            ~tf.reduce_any(odd_BT, 1),
            "tokens",
            tf.gather(tokens, at_B, batch_dims=1),
            f"0 to {V - 1} allowed",
            result=lengths,
        )
        ids = tf.RaggedTensor.from_tensor(tokens, lengths=lengths)
        return {"text": self.graph_tokenizer.decode(ids)}

    def _prompts(self, prompt):
        """Ids (ragged) and lengths; an empty prompt begins a new document."""
        ids = self.graph_tokenizer.encode(_text(prompt, "prompt"))
        empty_B = tf.cast(ids.row_lengths() == 0, tf.int64)
        ends = tf.RaggedTensor.from_row_lengths(
            tf.fill([tf.reduce_sum(empty_B)], self._end_id), empty_B
        )
        ids = tf.concat([ends, ids], 1)
        return ids, tf.cast(ids.row_lengths(), tf.int32)

    def _within(self, name, total_B, what):
        """Inside of this context nothing runs before the check has passed."""
        allowed = f"{what}, at most {self._limit} allowed"
        passed = require(total_B <= self._limit, name, total_B, allowed)
        return tf.control_dependencies([passed])


class _Untracked:
    """Hides a Keras model from tf.Module, which would store it a second time."""

    def __init__(self, model):
        self.model = model


def _text(text_B, name):
    """The texts, checked for their size and for UTF-8."""
    text_B = rows_of(name, text_B)
    size_B = tf.strings.length(text_B)
    text_B = require(
        size_B <= _MOST_BYTES,
        name,
        size_B,
        f"bytes, at most {_MOST_BYTES} allowed",
        text_B,
    )
    valid_B = graph_tokenizer.valid_utf8(text_B)
    return require(valid_B, name, text_B, "valid UTF-8 allowed")
