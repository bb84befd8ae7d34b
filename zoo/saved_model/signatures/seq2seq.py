"""An encoder-decoder as a SavedModel: a source in, its target out.

As in `language_model`, the functions close over the model, and the tf.Module owns the
raw variables and the tables. Greedy decoding, sampling and beam search are parts of the
graph; rows of one request may ask for different ones.
"""

import tensorflow as tf

from zoo.decode import loop
from zoo.decode.beam import Found, beam_decode
from zoo.decode.rules import Rules
from zoo.decode.sampling import Knobs
from zoo.decode.search import Search
from zoo.decode.stop_strings import Stops
from zoo.saved_model import request_checks as checks
from zoo.saved_model import scoring, token_rows
from zoo.saved_model.batching import Batching
from zoo.saved_model.shared_parts import SharedParts
from zoo.saved_model.token_rows import lengths as lengths_of
from zoo.text import framing
from zoo.text.in_graph import tokenizer as graph_tokenizer

_TEXT = tf.TensorSpec([None], tf.string)
_IDS = tf.TensorSpec([None, None], tf.int32)
_ROW = tf.TensorSpec([None], tf.int32)
_FLAG = tf.TensorSpec([None], tf.bool)


class Seq2SeqGenerator(tf.Module):
    """The signatures of an encoder-decoder.

    Args:
      model: a `Seq2Seq`.
      tokenizer: the Tokenizer of targets.
      generation: the defaults of the knobs, and the rules of all answers.
      batch: the most rows of an in-graph batch; 0 is no batching.
      most_new_tokens: the largest max_new_tokens of a request; 0 is the limit.
      source_tokenizer: the Tokenizer of sources; None is that of targets.

    Attributes:
      limit: the most tokens of a source.
      generation: as given, with numbers that the model has room for.

    Raises:
      ValueError: a tokenizer cannot be put in the graph exactly, or a rule of
        `generation` names a token that the model does not have.
    """

    def __init__(
        self,
        model,
        tokenizer,
        generation,
        batch=0,
        most_new_tokens=0,
        source_tokenizer=None,
    ):
        super().__init__()
        source = source_tokenizer or tokenizer
        self.weights = [v.value for v in model.weights]
        self.target_tokenizer = graph_tokenizer.build(tokenizer.json)
        self.source_tokenizer = self.target_tokenizer
        if source.json != tokenizer.json:
            self.source_tokenizer = graph_tokenizer.build(source.json)
        self._parts = SharedParts(
            model, self.source_tokenizer.encode, self._decode, Search.specs()
        )
        self._frame = framing.frame(source, model.config)
        self._target_frame = framing.frame(tokenizer, model.config)
        self._end_ids = tuple(tokenizer.end_ids)
        self._vocab_size = min(tokenizer.vocab_size, model.config.vocab_size)
        self._source_vocab_size = min(source.vocab_size, model.config.source_ids)
        self.limit = model.limit or checks.MOST_TOKENS
        room = model.target_limit or checks.MOST_TOKENS
        self._most = min(most_new_tokens or room, room)
        self.generation = generation.fitted(self._most, self._vocab_size)
        self._batching = Batching(batch)

    def signatures(self) -> dict:
        """Name to (function, specs of its inputs, defaults of its inputs)."""
        generation = self.generation
        knobs = checks.defaults(generation) | checks.search_defaults(generation)
        specs = {**checks.SPECS, **checks.SEARCH_SPECS}

        def serving_default(text):
            return {"text": self.generate(text, **knobs)["text"]}

        ids = {"tokens": _IDS, "lengths": _ROW, "continuing": _FLAG}
        begins = {"continuing": tf.constant([False])}
        return {
            "serving_default": (serving_default, {"text": _TEXT}, {}),
            "generate": (self.generate, {"text": _TEXT, **specs}, knobs),
            "score": (self.score, {"source": _TEXT, "target": _TEXT}, {}),
            "tokenize": (self.tokenize, {"text": _TEXT}, {}),
            "detokenize": (self.detokenize, ids, begins),
            "tokenize_source": (self.tokenize_source, {"text": _TEXT}, {}),
            "detokenize_source": (self.detokenize_source, ids, begins),
        }

    def generate(self, text, **given):
        """Answers each source; the knobs are those of `GenerationConfig`.

        Args:
          text: string [B].
          **given: the knobs, with those of beam search.
        """
        ids = self._sources("text", text)
        rows = ids.nrows(tf.int32)
        knobs = checks.checked(given, rows, self._vocab_size, self._most)
        search = checks.searched(given, rows, knobs.temperature)
        stop_BS = checks.stops(given["stop"], rows)
        no_B = tf.zeros_like(stop_BS[:, 0], tf.bool)  # no answer continues its source
        inputs = [ids, no_B, stop_BS, *knobs, *search]
        out = self._batching(self._parts.decode, inputs, knobs.max_new_tokens)
        # another row of a merged batch may have more tokens or answers
        N = tf.reduce_max(knobs.max_new_tokens)
        R = tf.reduce_max(search.num_return_sequences)
        for key in ("tokens", "token_logprobs"):
            out[key] = out[key][:, :N]
        for key in ("texts", "scores"):
            out[key] = out[key][:, :R]
        return out

    def score(self, source, target):
        """The log-probability of each target, with its end token, after its source."""
        left = self._sources("source", source)
        right = self.target_tokenizer.encode(checks.texts("target", target))
        right = token_rows.framed(right, self._target_frame)
        right = checks.at_most("target", lengths_of(right), self._most, "tokens", right)
        out = self._batching(self._score, [left, right])
        out["token_logprobs"] = out["token_logprobs"][:, : _longest(right)]
        return out

    def tokenize(self, text):
        """The ids of each target, 0 after its end."""
        return token_rows.tokenize(self.target_tokenizer.encode, text)

    def detokenize(self, tokens, lengths, continuing):
        """The target of each row's ids; see `token_rows.detokenize`."""
        decode = self.target_tokenizer.decode
        return token_rows.detokenize(
            decode, self._vocab_size, tokens, lengths, continuing
        )

    def tokenize_source(self, text):
        """The ids of each source, 0 after its end."""
        return token_rows.tokenize(self._parts.encode, text)

    def detokenize_source(self, tokens, lengths, continuing):
        """The source of each row's ids; see `token_rows.detokenize`."""
        decode = self.source_tokenizer.decode
        return token_rows.detokenize(
            decode, self._source_vocab_size, tokens, lengths, continuing
        )

    def _sources(self, name, text):
        """Ids of checked sources, of one token at least, in their frame."""
        ids = self._parts.encode(checks.texts(name, text))
        ids = checks.at_least_one(name, lengths_of(ids), "tokens", ids)
        ids = token_rows.framed(ids, self._frame)
        return checks.at_most(name, lengths_of(ids), self.limit, "tokens", ids)

    def _decode(self, ids, continuing_B, stop_BS, *values):
        """The outputs of `generate` for checked inputs."""
        split = len(Knobs._fields)
        knobs, search = Knobs(*values[:split]), Search(*values[split:])
        stops = Stops(stop_BS, self.target_tokenizer.token_bytes)
        found = self._found(ids, knobs, search, stops)
        B, K, N = tf.unstack(tf.shape(found.tokens))
        wanted_BK = tf.range(K)[None] < search.num_return_sequences[:, None]
        count_BK = tf.where(wanted_BK, found.num_tokens, 0)
        tokens_RN, count_R = (
            tf.reshape(found.tokens, (-1, N)),
            tf.reshape(count_BK, [-1]),
        )
        text_R = self.target_tokenizer.decode(
            token_rows.ragged(tokens_RN, count_R), tf.repeat(continuing_B, K)
        )
        text_R = stops.repeated(K).cut(text_R, tokens_RN, count_R)
        text_BK = tf.reshape(text_R, (B, K))
        return {
            "text": text_BK[:, 0],
            "num_tokens": found.num_tokens[:, 0],
            "finish_reason": tf.where(found.stopped[:, 0], "stop", "length"),
            "logprob": tf.reduce_sum(found.logprobs[:, 0], -1),
            "tokens": found.tokens[:, 0],
            "token_logprobs": found.logprobs[:, 0],
            "texts": text_BK,
            "scores": tf.where(count_BK > 0, found.scores, 0.0),
        }

    def _found(self, ids, knobs, search, stops) -> Found:
        """The answers of each row: by beam search where it has several beams."""
        model, ends = self._parts.model, self._end_ids
        tokens_BS, lengths_B = ids.to_tensor(), lengths_of(ids)
        N, K = tf.reduce_max(knobs.max_new_tokens), tf.reduce_max(search.beams)
        rules = Rules.of(self.generation, ends, search.no_repeat_ngram)
        options = ends, self._vocab_size, N
        several_B = search.beams > 1

        def one():
            out = loop.decode(
                model, tokens_BS, lengths_B, knobs, *options, stop=stops, rules=rules
            )
            alone = Found(
                out.tokens,
                out.num_tokens,
                out.stopped,
                out.logprobs,
                tf.reduce_sum(out.logprobs, -1),
            )
            return tf.nest.map_structure(first_of, alone)

        def first_of(x):  # the only answer, and K - 1 empty places
            return tf.pad(
                x[:, None], [[0, 0], [0, K - 1]] + [[0, 0]] * (x.shape.rank - 1)
            )

        def none():
            B = tf.shape(tokens_BS)[0]
            count = tf.zeros((B, K), tf.int32)
            numbers = tf.zeros((B, K, N))
            return Found(
                tf.zeros((B, K, N), tf.int32),
                count,
                count > 0,
                numbers,
                tf.zeros((B, K)),
            )

        def several():
            return beam_decode(
                model, tokens_BS, lengths_B, knobs, search, *options, stops, rules
            )

        def chosen(x, y):
            shape = [-1] + [1] * (x.shape.rank - 1)
            return tf.where(tf.reshape(several_B, shape), x, y)

        plain = tf.cond(tf.reduce_all(several_B), none, one)
        found = tf.cond(tf.reduce_any(several_B), several, none)
        return tf.nest.map_structure(chosen, found, plain)

    def _score(self, source, target):
        """The outputs of `score` for framed ids."""
        return scoring.score_target(self._parts.model, self._vocab_size, source, target)


def _longest(ids):
    """The length of the longest row."""
    return tf.reduce_max(lengths_of(ids))
