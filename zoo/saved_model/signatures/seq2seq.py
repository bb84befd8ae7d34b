"""An encoder-decoder as a SavedModel: a source in, its target out.

As in `language_model`, the functions close over the model, and the tf.Module owns the
raw variables and the tables. Greedy decoding, sampling and beam search are parts of the
graph; rows of one request may ask for different ones.
"""

import tensorflow as tf

from zoo.generation_config import MOST_BEAMS
from zoo.saved_model import request_checks as checks
from zoo.saved_model import scoring, token_rows
from zoo.saved_model.answers import Answers
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
      beams: the most beams of a request; 0 leaves search out.

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
        beams=MOST_BEAMS,
    ):
        super().__init__()
        source = source_tokenizer or tokenizer
        self.weights = [v.value for v in model.weights]
        self.target_tokenizer = graph_tokenizer.build(tokenizer.json)
        self.source_tokenizer = self.target_tokenizer
        if source.json != tokenizer.json:
            self.source_tokenizer = graph_tokenizer.build(source.json)
        self._parts = SharedParts(model, self.source_tokenizer.encode)
        self._frame = framing.frame(source, model.config)
        self._target_frame = framing.frame(tokenizer, model.config)
        self._vocab_size = min(tokenizer.vocab_size, model.config.vocab_size)
        self._source_vocab_size = min(source.vocab_size, model.config.source_ids)
        self.limit = model.limit or checks.MOST_TOKENS
        room = model.target_limit or checks.MOST_TOKENS
        self._most = min(most_new_tokens or room, room)
        size, most = self._vocab_size, self._most
        self.generation = generation.fitted(most, size, max(beams, 1))
        self._batching = Batching(batch)
        self._answers = Answers(
            model,
            self.target_tokenizer,
            tokenizer.end_ids,
            size,
            self.generation,
            most,
            beams,
            self._batching,
        )

    def signatures(self) -> dict:
        """Name to (function, specs of its inputs, defaults of its inputs)."""
        specs, knobs = self._answers.specs, self._answers.defaults

        def serving_default(text):
            return {"text": self.generate(text)["text"]}

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
          **given: the knobs; without any the defaults.
        """
        ids = self._sources("text", text)
        request = self._answers.request(given, ids.nrows(tf.int32))
        no_B = tf.zeros([ids.nrows()], tf.bool)  # no answer continues its source
        return self._answers(ids, no_B, request)

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

    def _score(self, source, target):
        """The outputs of `score` for framed ids."""
        return scoring.score_target(self._parts.model, self._vocab_size, source, target)


def _longest(ids):
    """The length of the longest row."""
    return tf.reduce_max(lengths_of(ids))
