"""WordPiece (BERT): words are cut into the longest tokens from left to right.

Everything is done on characters. The longest token that starts at a place is found for
all places of all words at once, by walks through the tree of all tokens.
"""

import functools

import tensorflow as tf
from tokenizers import decoders, pre_tokenizers

from zoo.text.in_graph import (
    bert_normalizer,
    ragged_ops,
)
from zoo.text.in_graph import (
    pre_tokenizers as graph_patterns,
)
from zoo.text.in_graph.nfc import POINTS

_FIRST, _NEXT = 0, 1
_WHITE, _PUNCTUATION = 1, 2
_STEP = 512


class WordPiece(tf.Module):
    """Text without added tokens to tokens, and back."""

    def __init__(self, model, normalizer, decoder, vocabulary, skipped):
        """Builds the tables.

        Args:
          model: `model` of a tokenizer.json.
          normalizer: its `normalizer`, of type BertNormalizer.
          decoder: its `decoder`, of type WordPiece.
          vocabulary: the id of each token, added ones among them.
          skipped: the ids of special tokens.

        Raises:
          ValueError: the model has no token for unknown words.
        """
        super().__init__()
        words, prefix = model["vocab"], model["continuing_subword_prefix"]
        if model["unk_token"] not in words:
            raise ValueError(f"model.unk_token {model['unk_token']!r} not in the vocab")
        self._unknown = words[model["unk_token"]]
        self._longest = model["max_input_chars_per_word"]
        self._normal = bert_normalizer.Bert(normalizer)
        self._class = ragged_ops.table(_classes(), tf.int32, tf.int32, 0)
        tree, tokens = {}, [-1, -1]
        for token, number in words.items():
            _grow(tree, tokens, _FIRST, token, number)
            if token.startswith(prefix):
                _grow(tree, tokens, _NEXT, token[len(prefix) :], number)
        self._tree = ragged_ops.table(
            {node * POINTS + point: new for (node, point), new in tree.items()},
            tf.int64,
            tf.int64,
            -1,
        )
        self._tokens = tf.constant(tokens)
        text = decoders.WordPiece(decoder["prefix"], decoder["cleanup"]).decode
        first, later = ([""] * (max(vocabulary.values()) + 2) for _ in range(2))
        known = [False] * len(first)
        for token, number in vocabulary.items():
            known[number] = number not in skipped
            first[number] = text([token])
            later[number] = text(["a", token])[1:]
        self._first, self._later = tf.constant(first), tf.constant(later)
        self._known = tf.constant(known)

    def encode(self, text_B: tf.Tensor, starts_B: tf.Tensor) -> tf.RaggedTensor:
        """The tokens of texts, int32 [B, None]."""
        del starts_B  # A text behind an added token is encoded like any other.
        point_N, row_N = self._normal(text_B)
        class_N = self._class.lookup(point_N)
        joins_N = (class_N == 0) & (ragged_ops.before(class_N, 0) == 0)
        starts_N = ~joins_N | ragged_ops.changes(row_N)
        used_N = class_N != _WHITE
        point_N, row_N, starts_N = ragged_ops.keep(used_N, point_N, row_N, starts_N)
        word_N = tf.cumsum(tf.cast(starts_N, tf.int32)) - 1
        start_W = tf.cast(tf.squeeze(tf.where(starts_N), 1), tf.int32)
        end_W = tf.concat([start_W[1:], tf.size(word_N)[None]], 0)
        end_W = end_W[: tf.size(start_W)]
        # A longer word is unknown, whatever it is.
        short_W = end_W - start_W <= self._longest
        place_A = tf.cast(tf.where(tf.gather(short_W, word_N))[:, 0], tf.int32)
        token_N, end_N = self._longest_tokens(point_N, word_N, starts_N, place_A)
        on_path_N, known_W = _path(start_W, end_W, short_W, token_N, end_N)
        known_N = tf.gather(known_W, word_N)
        token_N = tf.where(known_N, token_N, self._unknown)
        taken_N = tf.where(known_N, on_path_N, starts_N)
        token, row = ragged_ops.keep(taken_N, token_N, row_N)
        return ragged_ops.ragged(token, row, tf.size(text_B, tf.int64))

    def decode(self, tokens_BT: tf.RaggedTensor) -> tf.Tensor:
        """The texts of tokens, string [B]."""
        nothing = tf.size(self._known) - 1
        tokens = tokens_BT.values
        tokens = tf.where((tokens >= 0) & (tokens < nothing), tokens, nothing)
        tokens_BT = ragged_ops.keep_ragged(
            tf.gather(self._known, tokens), tokens_BT.with_values(tokens)
        )
        tokens, row = tokens_BT.values, ragged_ops.row_of_each(tokens_BT)
        first, later = tf.gather(self._first, tokens), tf.gather(self._later, tokens)
        text = tf.where(ragged_ops.changes(row), first, later)
        return ragged_ops.join(text, row, tokens_BT.nrows())

    def _longest_tokens(self, point_N, word_N, starts_N, place_A):
        """The longest token that starts at some places, and the place behind it."""
        count = tf.size(point_N)
        node_N = tf.where(starts_N, tf.constant(_FIRST, tf.int64), _NEXT)
        key_N = tf.cast(point_N, tf.int64)

        def go(length, place_A, node_A, token_N, end_N):
            return tf.size(place_A) > 0

        def step(length, place_A, node_A, token_N, end_N):
            at_A = place_A + length
            inside_A = (at_A < count) & (
                tf.gather(word_N, tf.minimum(at_A, count - 1))
                == tf.gather(word_N, place_A)
            )
            key_A = node_A * POINTS + tf.gather(key_N, tf.minimum(at_A, count - 1))
            node_A = self._tree.lookup(tf.where(inside_A, key_A, -1))
            place_A, node_A = ragged_ops.keep(node_A >= 0, place_A, node_A)
            found_A = tf.gather(self._tokens, node_A)
            at, found = ragged_ops.keep(found_A >= 0, place_A, found_A)
            token_N = tf.tensor_scatter_nd_update(token_N, at[:, None], found)
            end_N = tf.tensor_scatter_nd_update(end_N, at[:, None], at + length + 1)
            return length + 1, place_A, node_A, token_N, end_N

        one = tf.TensorShape([None])
        return tf.while_loop(
            go,
            step,
            [
                0,
                place_A,
                tf.gather(node_N, place_A),
                tf.fill([count], -1),
                tf.range(count),
            ],
            shape_invariants=[tf.TensorShape([]), one, one, one, one],
        )[3:]


@functools.cache
def _classes():
    """The characters at which BertPreTokenizer splits."""
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    classes = {}
    points = list(graph_patterns.code_points())
    for start in range(0, len(points), _STEP):
        part = points[start : start + _STEP]
        # Each stands between two letters, which it splits or not.
        pieces = split("".join(f"a{chr(point)}" for point in part) + "a")
        inside = set()
        for _, (first, end) in pieces:
            if end - first == 1 and first % 2:
                classes[part[first // 2]] = _PUNCTUATION
            inside.update(range(first, end))
        for place, point in enumerate(part):
            if 2 * place + 1 not in inside:
                classes[point] = _WHITE
    return classes


def _grow(tree, tokens, node, text, number):
    """Adds a token to the tree below a node."""
    for letter in text:
        node = tree.setdefault((node, ord(letter)), len(tokens))
        if node == len(tokens):
            tokens.append(-1)
    tokens[node] = number if text else -1


def _path(start_W, end_W, short_W, token_N, end_N):
    """The places at which tokens start, and whether each short word ends with one."""

    def go(place_A, word_A, on_path_N, known_W):
        return tf.size(place_A) > 0

    def step(place_A, word_A, on_path_N, known_W):
        on_path_N = tf.tensor_scatter_nd_update(
            on_path_N, place_A[:, None], tf.ones_like(place_A, tf.bool)
        )
        fails_A = tf.gather(token_N, place_A) < 0
        known_W = tf.tensor_scatter_nd_update(known_W, word_A[:, None], ~fails_A)
        place_A = tf.gather(end_N, place_A)
        more_A = ~fails_A & (place_A < tf.gather(end_W, word_A))
        place_A, word_A = ragged_ops.keep(more_A, place_A, word_A)
        return place_A, word_A, on_path_N, known_W

    one = tf.TensorShape([None])
    return tf.while_loop(
        go,
        step,
        [
            *ragged_ops.keep(short_W, start_W, tf.range(tf.size(start_W))),
            tf.zeros_like(token_N, tf.bool),
            short_W,
        ],
        shape_invariants=[one, one, one, one],
    )[2:]
