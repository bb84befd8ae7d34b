"""A language model as a SavedModel: text in, text out.

The signatures are plain functions over batches of rows. The tokenizer, the decode loop
and sampling are parts of the graph. The functions close over the model, and the
tf.Module owns the raw variables and the tables: so each weight is stored once, and no
Keras object is.
"""

import tensorflow as tf

from zoo.layers import one_row
from zoo.saved_model import chat_template, scoring, token_rows
from zoo.saved_model import request_checks as checks
from zoo.saved_model.answers import Answers
from zoo.saved_model.batching import Batching
from zoo.saved_model.shared_parts import Shared, SharedParts
from zoo.saved_model.token_rows import lengths as lengths_of
from zoo.text import framing
from zoo.text.in_graph import tokenizer as graph_tokenizer

_TEXT = tf.TensorSpec([None], tf.string)
_TEXTS = tf.TensorSpec([None, None], tf.string)
_IDS = tf.TensorSpec([None, None], tf.int32)
_ROW = tf.TensorSpec([None], tf.int32)
_FLAG = tf.TensorSpec([None], tf.bool)


class TextGenerator(tf.Module):
    """The signatures of a language model.

    Args:
      model: a Decoder with `features` and `logits`.
      tokenizer: its Tokenizer.
      generation: the defaults of the knobs.
      batch: the most rows of an in-graph batch; 0 is no batching.
      capacity: the number of positions in the state of `start` and `step`.
      most_new_tokens: the largest max_new_tokens of a request; 0 is the limit.
      date_string: the default date of `chat`, for a chat template that writes a date;
        "" is today, as the template writes it.
      beams: the most beams of a request; 0 leaves search out.
      drafts: the most tokens of a draft, as `zoo.decode.speculation` has it; 0 is off,
        and with beams.

    Attributes:
      no_chat: why there is no signature `chat`; "" where there is one.
      limit: the most tokens of a prompt and its answer.
      capacity: as given, at most `limit`.
      generation: as given, with numbers that the model has room for.

    Raises:
      ValueError: the tokenizer cannot be put in the graph exactly.
    """

    def __init__(
        self,
        model,
        tokenizer,
        generation,
        batch=0,
        capacity=1024,
        most_new_tokens=0,
        date_string="",
        beams=0,
        drafts=0,
    ):
        super().__init__()
        self.weights = [v.value for v in model.weights]
        graph = self.graph_tokenizer = graph_tokenizer.build(tokenizer.json)
        self._parts = SharedParts(model, graph.encode)
        self._frame = framing.frame(tokenizer, model.config)
        self._vocab_size = min(tokenizer.vocab_size, model.config.vocab_size)
        self.limit = model.limit or checks.MOST_TOKENS
        self.capacity = min(capacity, self.limit)
        self._start = Shared(
            lambda tokens, lengths: model.start(tokens, lengths, self.capacity),
            _IDS,
            _ROW,
            apart=True,
        )
        most, size = min(most_new_tokens or self.limit, self.limit), self._vocab_size
        # a default that fills the context leaves half of it to the prompt
        fills = generation.max_new_tokens >= self.limit
        room = max(self.limit // 2, 1) if fills else self.limit
        self.generation = generation.fitted(min(room, most), size, max(beams, 1))
        self._batching = Batching(batch)
        self._answering = Answers(
            model,
            graph,
            tokenizer.end_ids,
            size,
            self.generation,
            most,
            beams,
            self._batching,
            drafts,
        )
        self._date_string = date_string
        self.graph_chat, self.no_chat = chat_template.build(
            tokenizer, self.graph_tokenizer
        )

    def signatures(self) -> dict:
        """Name to (function, specs of its inputs, defaults of its inputs)."""
        specs, knobs = self._answering.specs, self._answering.defaults

        def serving_default(prompt):
            return {"text": self.generate(prompt, fit=True)["text"]}

        state = self._state_specs()
        return {
            **self._chat_signature(specs, knobs),
            "serving_default": (serving_default, {"prompt": _TEXT}, {}),
            "generate": (self.generate, {"prompt": _TEXT, **specs}, knobs),
            "score": (self.score, {"prompt": _TEXT, "completion": _TEXT}, {}),
            "embed": (self.embed, {"text": _TEXT}, {}),
            "tokenize": (self.tokenize, {"text": _TEXT}, {}),
            "detokenize": (
                self.detokenize,
                {"tokens": _IDS, "lengths": _ROW, "continuing": _FLAG},
                {"continuing": tf.constant([False])},
            ),
            "start": (self.start, {"prompt": _TEXT}, {}),
            "step": (self.step, {"token": _ROW, **state}, {}),
        }

    def _chat_signature(self, specs, knobs) -> dict:
        """The signature `chat`, if the graph can run the chat template."""
        if not self.graph_chat:
            return {}
        specs, defaults = {"roles": _TEXTS, "contents": _TEXTS, **specs}, dict(knobs)
        if self.graph_chat.uses_date:
            date = self._date_string or self.graph_chat.date_default()
            specs["date_string"], defaults["date_string"] = _TEXT, tf.constant([date])
        return {"chat": (self.chat, specs, defaults)}

    def generate(self, prompt, fit=False, **given):
        """Continues each prompt; the knobs are those of `GenerationConfig`.

        Args:
          prompt: string [B].
          fit: whether max_new_tokens shrinks to the room behind each prompt.
          **given: the knobs; without any the defaults.
        """
        ids, continuing_B = self._prompts("prompt", prompt), prompt != ""
        return self._answers("prompt", ids, continuing_B, given, fit)

    def chat(self, roles, contents, date_string=None, **given):
        """Answers the last message of each history.

        Args:
          roles: string [B, M]; "" is no message.
          contents: string [B, M].
          date_string: string [B], or [1] for all rows, for a template with a date.
          **given: the knobs.
        """
        assert self.graph_chat
        contents = checks.rows_of("contents", contents)
        size_B = tf.reduce_sum(tf.strings.length(contents), 1)
        contents = checks.small("contents", size_B, "bytes in all", contents)
        if date_string is not None:
            date_string = checks.broadcast(
                "date_string", date_string, tf.shape(contents)[0]
            )
        ids = self.graph_chat(roles, contents, checks.require, date_string)
        continuing_B = tf.fill([ids.nrows()], True)
        return self._answers("contents", ids, continuing_B, given)

    def score(self, prompt, completion):
        """The log-probability of each completion after its prompt."""
        left = self._prompts("prompt", prompt)
        right = self._parts.encode(checks.texts("completion", completion))
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
        return token_rows.tokenize(self._parts.encode, text)

    def detokenize(self, tokens, lengths, continuing):
        """The text of each row's first `lengths` ids; see `token_rows.detokenize`."""
        return token_rows.detokenize(
            self.graph_tokenizer.decode, self._vocab_size, tokens, lengths, continuing
        )

    def start(self, prompt):
        """The Decoder's first call: logits and state after each prompt."""
        ids = self._prompts("prompt", prompt)
        lengths_B = lengths_of(ids)
        tokens_BT, lengths_B = checks.at_most(
            "prompt", lengths_B, self.capacity, "tokens", (ids.to_tensor(), lengths_B)
        )
        logits_BV, state = self._start(tokens_BT, lengths_B)
        return {"logits": logits_BV, **_named(state)}

    def step(self, token, **state):
        """The Decoder's next call: one more token for each row."""
        token = checks.below("token", token, self._vocab_size)
        tensors = [state[name] for name in _named(state)]
        if self._parts.model.limit:  # the first one is the position of each row
            tensors[0] = checks.below("state_0", tensors[0], self.capacity)
        logits_BV, state = one_row.apart(self._parts.model, token, tensors)
        return {"logits": logits_BV, **_named(state)}

    def _answers(self, name, ids, continuing_B, given, fit=False):
        """Continues tokens; `name` is the input that messages name."""
        request = self._answering.request(given, ids.nrows(tf.int32))
        lengths_B, limit_B = lengths_of(ids), request.knobs.max_new_tokens
        if fit:
            limit_B = tf.clip_by_value(self.limit - lengths_B, 1, limit_B)
        ids, limit_B = self._within(
            name, lengths_B + limit_B, "tokens with max_new_tokens", (ids, limit_B)
        )
        knobs = request.knobs._replace(max_new_tokens=limit_B)
        return self._answering(ids, continuing_B, request._replace(knobs=knobs))

    def _score(self, ids, left_B):
        """The outputs of `score` for prompts of `left_B` tokens and completions."""
        return scoring.score(self._parts.model, self._vocab_size, ids, left_B)

    def _embed(self, ids):
        """The output of `embed` for token ids."""
        vector_BD = self._parts.model.embed(ids.to_tensor(), lengths_of(ids))
        return {"embedding": vector_BD}

    def _prompts(self, name, text):
        """Ids of checked texts after the prefix; an empty row gets the end token."""
        ids = self._parts.encode(checks.texts(name, text))
        ids = token_rows.framed(ids, self._frame)
        if self._frame.around([]):
            return ids
        return checks.at_least_one(name, lengths_of(ids), "tokens", ids)

    def _within(self, name, total_B, what, result):
        """The tensors of `result`, if the tokens of each row fit the model."""
        return checks.at_most(name, total_B, self.limit, what, result)

    def _state_specs(self):
        """The specs of a Decoder's state, as `start` returns it."""
        state = _named(self._start.outputs()[1])
        return {
            name: tf.TensorSpec([None, *x.shape[1:]], x.dtype)
            for name, x in state.items()
        }


def _named(state):
    """The tensors of a state by the names of the signatures: state_0, state_1, ..."""
    return {f"state_{i}": x for i, x in enumerate(state)}
