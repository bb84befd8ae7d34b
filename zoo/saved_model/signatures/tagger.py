"""A model that labels tokens as a SavedModel: text in, labelled spans out.

A word has the label of its first token, as in training. Spans are places in the bytes
of the text given. The tf.Module owns the raw variables and the tables; its functions
close over the model (see `language_model`).
"""

import tensorflow as tf

from zoo.saved_model import request_checks, token_rows
from zoo.saved_model.batching import Batching
from zoo.saved_model.shared_parts import Shared
from zoo.saved_model.spans import Spans
from zoo.saved_model.text_rows import LENGTHS, TEXT, TOKENS, TextRows
from zoo.text.in_graph import tokenizer as graph_tokenizer
from zoo.text.in_graph.word_tokens import WordTokens


class Tagger(tf.Module):
    """The signatures of a model that labels tokens.

    Args:
      model: reads text; its Config's task is "tag".
      tokenizer: its Tokenizer.
      batch: the most rows of an in-graph batch; 0 is no batching.

    Raises:
      ValueError: the tokenizer cannot be put in the graph exactly.
    """

    def __init__(self, model, tokenizer, batch=0):
        super().__init__()
        self.weights = [v.value for v in model.weights]
        c = model.config
        self.graph_tokenizer = graph_tokenizer.build(tokenizer.json)
        self._rows = TextRows(tokenizer, self.graph_tokenizer, c, model.limit)
        words = self.word_tokens = WordTokens(self.graph_tokenizer)
        self._words = Shared(lambda text_B: words(text_B, request_checks.require), TEXT)
        self._spans = Spans(tuple(c.labels) or tuple(str(i) for i in range(c.classes)))
        self._call = Shared(lambda *tensors: model(*tensors), TOKENS, LENGTHS)
        self._batching = Batching(batch)

    def signatures(self) -> dict:
        """Name to (function, specs of its inputs, defaults of its inputs)."""
        specs = {"text": TEXT}
        return {
            "serving_default": (self.tag, specs, {}),
            "tag": (self.tag, specs, {}),
            "tokenize": (self._rows.tokenize, specs, {}),
        }

    def tag(self, text):
        """The labelled spans of each text; see `Spans`."""
        words = self._words(self._rows.checked(text))
        ids, first_W = self._rows.fitting(
            self._rows.framed(words.ids), words.first.values
        )
        first_BW = words.first.with_values(first_W)
        found = self._batching(self._classes, [ids, first_BW])
        count_B = token_rows.lengths(first_BW)
        class_BW, probability_BW = (
            token_rows.ragged(found[name], count_B) for name in ("class", "probability")
        )
        return self._spans(class_BW, probability_BW, words.start, words.end)

    def _classes(self, ids, first_BW):
        """The likeliest class of each word and its probability, [B, W].

        Args:
          ids: ragged int32 [B, None].
          first_BW: ragged int32 [B, None], the place of the first token of each word
            behind the tokens before the text; -1 is none.
        """
        logits_BTC = self._call(ids.to_tensor(), token_rows.lengths(ids))
        at_BW = first_BW.to_tensor(-1)
        place_BW = tf.maximum(at_BW, 0) + self._rows.before
        probability_BWC = tf.nn.softmax(tf.gather(logits_BTC, place_BW, batch_dims=1))
        best_BW = tf.argmax(probability_BWC, -1, tf.int32)
        return {
            "class": tf.where(at_BW >= 0, best_BW, -1),
            "probability": tf.reduce_max(probability_BWC, -1),
        }
