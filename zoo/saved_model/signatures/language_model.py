"""A language model as a SavedModel: text in, text out.

The signatures are plain functions over batches of rows, with the tokenizer, the loop
and the samplers inside. They close over the model; the tf.Module owns the raw
variables and the tables, so that each weight is stored once and no Keras object is.
"""

import tensorflow as tf

from zoo.decode import loop
from zoo.decode.sampling import Knobs
from zoo.decode.stop_strings import Stops
from zoo.layers import batch_invariant
from zoo.saved_model import request_checks as knobs_lib
from zoo.saved_model.batching import Batching
from zoo.saved_model.request_checks import require, rows_of
from zoo.text.chat import learn, rendering
from zoo.text.chat.in_graph import GraphChat
from zoo.text.in_graph import tokenizer as graph_tokenizer

_MOST_BYTES = 2**20  # of one text: a longer one is an error, not a long wait
_MOST_TOKENS = 2**16  # of a prompt and what follows, where the model sets no limit

_TEXT = tf.TensorSpec([None], tf.string)
_TEXTS = tf.TensorSpec([None, None], tf.string)
_IDS = tf.TensorSpec([None, None], tf.int32)
_ROW = tf.TensorSpec([None], tf.int32)


class TextGenerator(tf.Module):
    """The signatures of a language model.

    Args:
      model: a Decoder with `features` and `logits`.
      tokenizer: its Tokenizer.
      generation: the defaults of the knobs.
      batch: the most rows of an in-graph batch; 0 is none.
      capacity: how many positions `start` and `step` have room for.

    Attributes:
      no_chat: why there is no signature `chat`; "" where there is one.

    Raises:
      ValueError: the tokenizer cannot be put in the graph exactly.
    """

    def __init__(self, model, tokenizer, generation, batch=0, capacity=1024):
        super().__init__()
        self.weights = [v.value for v in model.weights]
        self.graph_tokenizer = graph_tokenizer.build(tokenizer.json)
        self._decoder = _Untracked(model)
        self._prefix = tokenizer.prefix
        self._end_id, self._end_ids = tokenizer.end_id, tuple(tokenizer.end_ids)
        self._vocab_size = tokenizer.vocab_size
        self._limit = model.limit or _MOST_TOKENS
        self._capacity = min(capacity, self._limit)
        self._generation = generation
        self._batching = Batching(batch)
        self.graph_chat, self.no_chat = None, "the tokenizer has no chat template"
        if tokenizer.chat_template:
            try:
                machine = learn.compile_template(
                    rendering.template(tokenizer), **rendering.named_tokens(tokenizer)
                )
                self.graph_chat = GraphChat(tokenizer, self.graph_tokenizer, machine)
                self.no_chat = ""
            except ValueError as error:
                self.no_chat = str(error)

    def signatures(self) -> dict:
        """Name to (function, specs of its inputs, defaults of its inputs)."""
        knobs = knobs_lib.defaults(self._generation)
        specs = knobs_lib.SPECS

        def serving_default(prompt):
            return {"text": self.generate(prompt, **knobs)["text"]}

        state = self._state_specs()
        history = {"roles": _TEXTS, "contents": _TEXTS}
        chats = {"chat": (self.chat, {**history, **specs}, knobs)}
        return {
            **(chats if self.graph_chat else {}),
            "serving_default": (serving_default, {"prompt": _TEXT}, {}),
            "generate": (self.generate, {"prompt": _TEXT, **specs}, knobs),
            "score": (self.score, {"prompt": _TEXT, "completion": _TEXT}, {}),
            "embed": (self.embed, {"text": _TEXT}, {}),
            "tokenize": (self.tokenize, {"text": _TEXT}, {}),
            "detokenize": (self.detokenize, {"tokens": _IDS, "lengths": _ROW}, {}),
            "start": (self.start, {"prompt": _TEXT}, {}),
            "step": (self.step, {"token": _ROW, **state}, {}),
        }

    def generate(self, prompt, **given):
        """Continues each prompt; the knobs are those of `GenerationConfig`."""
        return self._answers("prompt", self._prompts(prompt), given)

    def chat(self, roles, contents, **given):
        """Answers the last message of each history; "" is no message."""
        size_B = tf.reduce_sum(tf.strings.length(rows_of("contents", contents)), 1)
        allowed = f"bytes in all, at most {_MOST_BYTES} allowed"
        contents = require(size_B <= _MOST_BYTES, "contents", size_B, allowed, contents)
        ids = self.graph_chat(roles, contents, require)
        return self._answers("contents", ids, given)

    def score(self, prompt, completion):
        """The log-probability of each completion after its prompt."""
        left = self._prompts(prompt)
        right = self.graph_tokenizer.encode(_text(completion, "completion"))
        left_B, right_B = _lengths(left), _lengths(right)
        total_B = left_B + right_B
        with self._within("completion", total_B, "tokens with the prompt"):
            ids = tf.identity(tf.concat([left, right], 1))
        out = self._batching(self._score, [ids, left_B])
        out["token_logprobs"] = out["token_logprobs"][:, : tf.reduce_max(right_B)]
        return out

    def embed(self, text):
        """The mean of what the head sees over the tokens of each text."""
        ids = self._prompts(text, "text")
        with self._within("text", _lengths(ids), "tokens"):
            ids = tf.identity(ids)
        return self._batching(self._embed, [ids])

    def tokenize(self, text):
        """The ids of each text, 0 after its end."""
        ids = self.graph_tokenizer.encode(_text(text, "text"))
        return {"tokens": ids.to_tensor(), "lengths": _lengths(ids)}

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

    def start(self, prompt):
        """The Decoder's first call: logits and state after each prompt."""
        ids = self._prompts(prompt)
        lengths_B = _lengths(ids)
        fits_B = lengths_B <= self._capacity
        allowed = f"tokens, at most {self._capacity} allowed"
        lengths_B = require(fits_B, "prompt", lengths_B, allowed)
        with tf.control_dependencies([lengths_B]):
            tokens_BT = tf.identity(ids.to_tensor())
        logits_BV, state = self._decoder.model.start(
            tokens_BT, lengths_B, self._capacity
        )
        return {"logits": logits_BV, **_named(state)}

    def step(self, token, **state):
        """The Decoder's next call: one more token a row."""
        V = self._vocab_size
        inside_B = (token >= 0) & (token < V)
        token = require(inside_B, "token", token, f"0 to {V - 1} allowed")
        state = [state[name] for name in _named(state)]
        if self._decoder.model.limit:
            position_B = state[0]
            inside_B = (position_B >= 0) & (position_B < self._capacity)
            allowed = f"0 to {self._capacity - 1} allowed"
            state[0] = require(inside_B, "state_0", position_B, allowed)
        logits_BV, state = self._decoder.model.step(token, state)
        return {"logits": logits_BV, **_named(state)}

    def _answers(self, name, ids, given):
        """Continues tokens by the loop."""
        rows, lengths_B = ids.nrows(tf.int32), _lengths(ids)
        knobs = knobs_lib.checked(given, rows, self._vocab_size, self._limit)
        stop_BS = knobs_lib.stops(given["stop"], rows)
        total_B = lengths_B + knobs.max_new_tokens
        with self._within(name, total_B, "tokens with max_new_tokens"):
            ids, limit_B = tf.identity(ids), tf.identity(knobs.max_new_tokens)
        knobs = knobs._replace(max_new_tokens=limit_B)
        out = self._batching(self._decode, [ids, stop_BS, *knobs], limit_B)
        N = tf.reduce_max(limit_B)  # of the batch it may be more
        for key in ("tokens", "token_logprobs"):
            out[key] = out[key][:, :N]
        return out

    def _decode(self, ids, stop_BS, *knobs):
        stops = Stops(stop_BS, self.graph_tokenizer.token_bytes)
        out = loop.decode(
            self._decoder.model,
            ids.to_tensor(),
            _lengths(ids),
            Knobs(*knobs),
            self._end_ids,
            self._vocab_size,
            stop=stops,
        )
        tokens = tf.RaggedTensor.from_tensor(out.tokens, lengths=out.num_tokens)
        text_B = self.graph_tokenizer.decode(tokens)
        return {
            "text": stops.cut(text_B, out.tokens, out.num_tokens),
            "num_tokens": out.num_tokens,
            "finish_reason": tf.where(out.stopped, "stop", "length"),
            "logprob": tf.reduce_sum(out.logprobs, -1),
            "tokens": out.tokens,
            "token_logprobs": out.logprobs,
        }

    def _score(self, ids, left_B):
        # position t predicts token t + 1; every row has all N positions, although some
        # are padding: packed, a row's place would depend on its mates
        tokens_BT, right_B = ids.to_tensor(), _lengths(ids) - left_B
        x_BTD = self._decoder.model.features(tokens_BT[:, :-1])
        N = tf.reduce_max(right_B)
        real_BN = tf.sequence_mask(right_B, N)
        at_BN = tf.where(real_BN, tf.range(N)[None] + left_B[:, None] - 1, 0)
        logits_BNV = self._decoder.model.logits(tf.gather(x_BTD, at_BN, batch_dims=1))
        target_BN = tf.gather(tokens_BT, at_BN + 1, batch_dims=1)
        hit_BN = tf.gather(logits_BNV, target_BN, batch_dims=2)
        V = logits_BNV.shape[-1]
        total_M = batch_invariant.log_sum_exp(tf.reshape(logits_BNV, (-1, V)))
        logprob_BN = hit_BN - tf.reshape(total_M, tf.shape(hit_BN))
        logprob_BN = tf.where(real_BN, logprob_BN, 0.0)
        best_BN = tf.argmax(logits_BNV, -1, output_type=tf.int32)
        return {
            "logprob": tf.reduce_sum(logprob_BN, -1),
            "num_tokens": right_B,
            "token_logprobs": logprob_BN,
            "is_greedy": tf.reduce_all((best_BN == target_BN) | ~real_BN, -1),
        }

    def _embed(self, ids):
        lengths_B = _lengths(ids)
        x_BTD = tf.cast(self._decoder.model.features(ids.to_tensor()), tf.float32)
        real_BT = tf.sequence_mask(lengths_B, tf.shape(x_BTD)[1])
        sum_BD = tf.reduce_sum(tf.where(real_BT[..., None], x_BTD, 0.0), 1)
        return {"embedding": sum_BD / tf.cast(lengths_B, tf.float32)[:, None]}

    def _prompts(self, text, name="prompt"):
        """Ids, ragged, each row with a start: the tokenizer's, or an end if empty."""
        ids = self.graph_tokenizer.encode(_text(text, name))
        if self._prefix:
            start = tf.tile(tf.constant([self._prefix]), [ids.nrows(), 1])
            return tf.concat([tf.RaggedTensor.from_tensor(start), ids], 1)
        empty_B = tf.cast(ids.row_lengths() == 0, tf.int64)
        ends = tf.RaggedTensor.from_row_lengths(
            tf.fill([tf.reduce_sum(empty_B)], self._end_id), empty_B
        )
        return tf.concat([ends, ids], 1)

    def _within(self, name, total_B, what):
        """Inside of this context nothing runs before the check has passed."""
        allowed = f"{what}, at most {self._limit} allowed"
        passed = require(total_B <= self._limit, name, total_B, allowed)
        return tf.control_dependencies([passed])

    def _state_specs(self):
        traced = tf.function(self.start, autograph=False)
        out = traced.get_concrete_function(_TEXT).structured_outputs
        del out["logits"]
        return {k: tf.TensorSpec([None, *x.shape[1:]], x.dtype) for k, x in out.items()}


class _Untracked:
    """Hides a Keras model from tf.Module, which would store it a second time."""

    def __init__(self, model):
        self.model = model


def _named(state):
    return {f"state_{i}": x for i, x in enumerate(state)}


def _lengths(ids):
    return tf.cast(ids.row_lengths(), tf.int32)


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
