"""Labels of words to spans of a text.

Labels such as B-PER, I-PER and O (IOB, IOBES, BILOU) mark spans of several words, as
CoNLL-2003 and seqeval read them. With any other labels, such as parts of speech, each
word is a span of its own.

    words      Anna    Smith    sees   Paris
    labels     B-PER   I-PER    O      B-LOC
    spans      Anna Smith: PER, Paris: LOC

A span goes on while the words have its type, and until a label that begins a span (B,
S, U) or ends one (E, L, S, U). So a span may begin with an I that follows another type.

Sources: Tjong Kim Sang and De Meulder 2003 (CoNLL-2003); Nakayama 2018 (seqeval).
"""

from typing import Any

import tensorflow as tf

from zoo.text.in_graph import ragged_ops

OUTSIDE = "O"
_FIRST, _LAST = "BSU", "ELSU"  # prefixes that begin a span, and that end one
_PREFIXES = "BIELSU"
_NONE = -1


class Spans(tf.Module):
    """Joins labelled words to spans.

    Args:
      labels: the names of the classes.
    """

    def __init__(self, labels: tuple[str, ...]):
        super().__init__()
        marked = [label for label in labels if label != OUTSIDE]
        joins = bool(marked) and all(_is_marked(label) for label in marked)
        if joins:
            types = [_NONE if x == OUTSIDE else x[2:] for x in labels]
            names = list(dict.fromkeys(x for x in types if x != _NONE))
            numbers = [_NONE if x == _NONE else names.index(x) for x in types]
            begins = [x[0] in _FIRST and x != OUTSIDE for x in labels]
            ends = [x[0] in _LAST and x != OUTSIDE for x in labels]
        else:
            names, numbers = list(labels), list(range(len(labels)))
            begins = ends = [True] * len(labels)
        # the last row is that of a word without a label
        self._types = tf.constant([*numbers, _NONE])
        self._begins = tf.constant([*begins, False])
        self._ends = tf.constant([*ends, False])
        self._names = tf.constant(names)

    def __call__(self, class_BW, probability_BW, start_BW, end_BW) -> dict[str, Any]:
        """The spans of each text, in their order.

        Args:
          class_BW: ragged int32 [B, None], the class of each word; -1 is none.
          probability_BW: float32, the probability of each class.
          start_BW, end_BW: ragged int32 [B, None], the bytes of each word.

        Returns:
          `starts` and `ends`, int32 [B, S]; `labels`, string [B, S]; `probabilities`,
          float32 [B, S], those of the least certain word of each span; and `num_spans`,
          int32 [B]. Behind the last span of a text stand 0 and "".
        """
        row_W = ragged_ops.row_of_each(class_BW)
        class_W = class_BW.values
        class_W = tf.where(class_W < 0, tf.size(self._types) - 1, class_W)
        type_W = tf.gather(self._types, class_W)
        inside_W = type_W != _NONE
        ended_W = ragged_ops.before(tf.gather(self._ends, class_W), True)
        begins_W = (
            tf.gather(self._begins, class_W)
            | ended_W
            | (type_W != ragged_ops.before(type_W, _NONE))
            | ragged_ops.changes(row_W)
        ) & inside_W
        span_W = tf.cumsum(tf.cast(begins_W, tf.int32)) - 1
        count = tf.reduce_sum(tf.cast(begins_W, tf.int32))
        span_I, end_I, probability_I = ragged_ops.keep(
            inside_W, span_W, end_BW.values, probability_BW.values
        )
        start_S, type_S, row_S = ragged_ops.keep(
            begins_W, start_BW.values, type_W, row_W
        )
        end_S = tf.math.unsorted_segment_max(end_I, span_I, count)
        least_S = tf.math.unsorted_segment_min(probability_I, span_I, count)
        start_BS = ragged_ops.ragged(start_S, row_S, class_BW.nrows())
        return {
            "starts": start_BS.to_tensor(),
            "ends": start_BS.with_values(end_S).to_tensor(),
            "labels": start_BS.with_values(tf.gather(self._names, type_S)).to_tensor(),
            "probabilities": start_BS.with_values(least_S).to_tensor(),
            "num_spans": tf.cast(start_BS.row_lengths(), tf.int32),
        }


def _is_marked(label: str) -> bool:
    """Whether a label is a prefix and a type, such as B-PER."""
    return label[:1] in _PREFIXES and label[1:2] == "-" and len(label) > 2
