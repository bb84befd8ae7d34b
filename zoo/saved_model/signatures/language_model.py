"""A language model as a SavedModel: text in, text out.

The signatures are plain functions over batches of rows. The tokenizer, the decode loop
and sampling are parts of the graph. The functions close over the model, and the
tf.Module owns the raw variables and the tables: so each weight is stored once, and no
Keras object is.
"""

import tensorflow as tf

from zoo.decode import loop
from zoo.decode.sampling import Knobs
from zoo.decode.stop_strings import Stops
from zoo.layers import batch_invariant
from zoo.saved_model import request_checks as checks
from zoo.saved_model import token_rows
from zoo.saved_model.batching import Batching
from zoo.saved_model.token_rows import lengths as lengths_of
from zoo.text.chat import learn, rendering
from zoo.text.chat.in_graph import GraphChat
from zoo.text.in_graph import tokenizer as graph_tokenizer

_MOST_TOKENS = 2**16  # of a prompt and its answer, where the model sets no limit

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
      batch: the most rows of an in-graph batch; 0 is no batching.
      capacity: the number of positions in the state of `start` and `step`.

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
        knobs = checks.defaults(self._generation)
        specs = checks.SPECS

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
        return self._answers("prompt", self._prompts("prompt", prompt), given)

    def chat(self, roles, contents, **given):
        """Answers the last message of each history; the role "" is no message."""
        assert self.graph_chat
        contents = checks.rows_of("contents", contents)
        size_B = tf.reduce_sum(tf.strings.length(contents), 1)
        contents = checks.small("contents", size_B, "bytes in all", contents)
        ids = self.graph_chat(roles, contents, checks.require)
        return self._answers("contents", ids, given)

    def score(self, prompt, completion):
        """The log-probability of each completion after its prompt."""
        left = self._prompts("prompt", prompt)
        right = self.graph_tokenizer.encode(checks.texts("completion", completion))
        left_B, right_B = lengths_of(left), lengths_of(right)
        ids = tf.concat([left, right], 1)
        ids = self._within(
            "completion", left_B + right_B, "tokens with the prompt", ids
        )
        out = self._batching(self._score, [ids, left_B])
        out["token_logprobs"] = out["token_logprobs"][:, : tf.reduce_max(right_B)]
        return out

    def embed(self, text):
        """The mean over the tokens of each text of what the head gets."""
        ids = self._prompts("text", text)
        ids = self._within("text", lengths_of(ids), "tokens", ids)
        return self._batching(self._embed, [ids])

    def tokenize(self, text):
        """The ids of each text, 0 after its end."""
        ids = self.graph_tokenizer.encode(checks.texts("text", text))
        return {"tokens": ids.to_tensor(), "lengths": lengths_of(ids)}

    def detokenize(self, tokens, lengths):
        """The text of each row's first `lengths` ids, without special tokens."""
        tokens = checks.rows_of("tokens", tokens)
        V, T = self._vocab_size, tf.shape(tokens)[1]
        lengths = checks.require(
            (lengths >= 0) & (lengths <= T),
            "lengths",
            lengths,
            "0 to the width of tokens allowed",
        )
        odd_BT = tf.sequence_mask(lengths, T) & ((tokens < 0) | (tokens >= V))
        at_B = tf.argmax(tf.cast(odd_BT, tf.int32), 1)
        first_B = tf.gather(tf.where(odd_BT, tokens, 0), at_B, batch_dims=1)
        lengths = checks.below("tokens", first_B, V, lengths)
        ids = token_rows.ragged(tokens, lengths)
        return {"text": self.graph_tokenizer.decode(ids)}

    def start(self, prompt):
        """The Decoder's first call: logits and state after each prompt."""
        ids = self._prompts("prompt", prompt)
        lengths_B = lengths_of(ids)
        tokens_BT, lengths_B = checks.at_most(
            "prompt", lengths_B, self._capacity, "tokens", (ids.to_tensor(), lengths_B)
        )
        logits_BV, state = self._decoder.model.start(
            tokens_BT, lengths_B, self._capacity
        )
        return {"logits": logits_BV, **_named(state)}

    def step(self, token, **state):
        """The Decoder's next call: one more token for each row."""
        token = checks.below("token", token, self._vocab_size)
        tensors = [state[name] for name in _named(state)]
        if self._decoder.model.limit:  # the first one is the position of each row
            tensors[0] = checks.below("state_0", tensors[0], self._capacity)
        logits_BV, state = self._decoder.model.step(token, tensors)
        return {"logits": logits_BV, **_named(state)}

    def _answers(self, name, ids, given):
        """Continues tokens by the loop; `name` is the input that messages name."""
        rows, lengths_B = ids.nrows(tf.int32), lengths_of(ids)
        knobs = checks.checked(given, rows, self._vocab_size, self._limit)
        stop_BS = checks.stops(given["stop"], rows)
        limit_B = knobs.max_new_tokens
        ids, limit_B = self._within(
            name, lengths_B + limit_B, "tokens with max_new_tokens", (ids, limit_B)
        )
        knobs = knobs._replace(max_new_tokens=limit_B)
        out = self._batching(self._decode, [ids, stop_BS, *knobs], limit_B)
        N = tf.reduce_max(limit_B)  # another row of a merged batch may have more
        for key in ("tokens", "token_logprobs"):
            out[key] = out[key][:, :N]
        return out

    def _decode(self, ids, stop_BS, *knobs):
        """The outputs of `generate` for checked inputs."""
        stops = Stops(stop_BS, self.graph_tokenizer.token_bytes)
        out = loop.decode(
            self._decoder.model,
            ids.to_tensor(),
            lengths_of(ids),
            Knobs(*knobs),
            self._end_ids,
            self._vocab_size,
            stop=stops,
        )
        tokens = token_rows.ragged(out.tokens, out.num_tokens)
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
        """The outputs of `score` for prompts of `left_B` tokens and completions."""
        # Position t predicts token t + 1. Every row computes all N positions, padding
        # too: packed rows would make a row's bits depend on the other rows.
        tokens_BT, right_B = ids.to_tensor(), lengths_of(ids) - left_B
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
        """The output of `embed` for token ids."""
        lengths_B = lengths_of(ids)
        x_BTD = tf.cast(self._decoder.model.features(ids.to_tensor()), tf.float32)
        real_BT = tf.sequence_mask(lengths_B, tf.shape(x_BTD)[1])
        sum_BD = tf.reduce_sum(tf.where(real_BT[..., None], x_BTD, 0.0), 1)
        return {"embedding": sum_BD / tf.cast(lengths_B, tf.float32)[:, None]}

    def _prompts(self, name, text):
        """Ids of checked texts after the prefix; an empty row gets the end token."""
        ids = self.graph_tokenizer.encode(checks.texts(name, text))
        if self._prefix:
            return tf.concat([token_rows.repeated(self._prefix, ids), ids], 1)
        return token_rows.filled(self._end_id, ids)

    def _within(self, name, total_B, what, result):
        """The tensors of `result`, if the tokens of each row fit the model."""
        return checks.at_most(name, total_B, self._limit, what, result)

    def _state_specs(self):
        """The specs of a Decoder's state, as `start` returns it."""
        traced = tf.function(self.start, autograph=False)
        out = traced.get_concrete_function(_TEXT).structured_outputs
        del out["logits"]
        return {k: tf.TensorSpec([None, *x.shape[1:]], x.dtype) for k, x in out.items()}


class _Untracked:
    """Hides a Keras model from tf.Module, which would store it a second time."""

    def __init__(self, model):
        self.model = model


def _named(state):
    """The tensors of a state by the names of the signatures: state_0, state_1, ..."""
    return {f"state_{i}": x for i, x in enumerate(state)}
