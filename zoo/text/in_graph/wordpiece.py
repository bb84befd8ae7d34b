"""WordPiece (BERT): words are cut into the longest tokens from left to right.

Devlin et al. 2018 (arXiv:1810.04805). The cuts are found for all words at once. A walk
through the prefix tree of all tokens finds the longest token at each place of each
word. A second walk goes from the start of each word from token to token. A word is
unknown if it meets a place where no token starts.

Example: the tokens `un`, `##aff`, `##able`, `##a`, and the word "unaffable".

    first walk     place 0: `un`, place 2: `##aff`, place 5: `##able`
    second walk    0, 2, 5, and the end: the word is `un ##aff ##able`.

The word "unaffab" is unknown: at place 5 it has `##a`, and at place 6 no token.
"""

import functools

import tensorflow as tf
from tokenizers import decoders
from tokenizers.pre_tokenizers import BertPreTokenizer

from zoo.text.in_graph import bert_normalizer, pre_tokenizers, ragged_ops
from zoo.text.in_graph.nfc import POINTS

_FIRST, _NEXT = 0, 1
_WHITE, _PUNCTUATION = 1, 2
_STEP = 512


class WordPiece(tf.Module):
    """Text without added tokens to tokens, and back."""

    def __init__(self, model, normalizer, decoder, tokens, skipped):
        """Builds the tables.

        Args:
          model: `model` of a tokenizer.json.
          normalizer: its `normalizer`, of type BertNormalizer.
          decoder: its `decoder`, of type WordPiece.
          tokens: the text of each id, added tokens included.
          skipped: the ids of special tokens, which have no text.

        Raises:
          ValueError: the model has no token for unknown words.
        """
        super().__init__()
        ids, prefix = model["vocab"], model["continuing_subword_prefix"]
        if model["unk_token"] not in ids:
            raise ValueError(f"model.unk_token {model['unk_token']!r} not in the vocab")
        self._unknown = ids[model["unk_token"]]
        self._longest = model["max_input_chars_per_word"]
        self._normal = bert_normalizer.Bert(normalizer)
        self._class = ragged_ops.table(_classes(), tf.int32, tf.int32, 0)
        tree, ends = {}, [-1, -1]
        for token, number in ids.items():
            _grow(tree, ends, _FIRST, token, number)
            if token.startswith(prefix):
                _grow(tree, ends, _NEXT, token[len(prefix) :], number)
        self._tree = ragged_ops.table(
            {node * POINTS + point: new for (node, point), new in tree.items()},
            tf.int64,
            tf.int64,
            -1,
        )
        self._tokens = tf.constant(ends)
        text = decoders.WordPiece(decoder["prefix"], decoder["cleanup"]).decode
        first, later = ([""] * (max(tokens) + 2) for _ in range(2))
        known = [False] * len(first)
        for number, token in tokens.items():
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
        # Every longer word is unknown.
        short_W = end_W - start_W <= self._longest
        place_A = tf.cast(tf.where(tf.gather(short_W, word_N))[:, 0], tf.int32)
        token_N, end_N = self._longest_tokens(point_N, word_N, starts_N, place_A)
        on_path_N, known_W = _path(start_W, end_W, short_W, token_N, end_N)
        known_N = tf.gather(known_W, word_N)
        token_N = tf.where(known_N, token_N, self._unknown)
        taken_N = tf.where(known_N, on_path_N, starts_N)
        token, row = ragged_ops.keep(taken_N, token_N, row_N)
        return ragged_ops.ragged(token, row, tf.size(text_B, tf.int64))

    def decode(self, tokens_BT: tf.RaggedTensor, continuing) -> tf.Tensor:
        """The texts of tokens, string [B]; see `GraphTokenizer.decode`."""
        tokens = self._in_range(tokens_BT.values)
        tokens_BT = ragged_ops.keep_ragged(
            tf.gather(self._known, tokens), tokens_BT.with_values(tokens)
        )
        tokens, row = tokens_BT.values, ragged_ops.row_of_each(tokens_BT)
        first, later = tf.gather(self._first, tokens), tf.gather(self._later, tokens)
        continuing_B = tf.broadcast_to(continuing, tokens_BT.nrows()[None])
        starts = ragged_ops.changes(row) & ~tf.gather(continuing_B, row)
        text = tf.where(starts, first, later)
        return ragged_ops.join(text, row, tokens_BT.nrows())

    def token_bytes(self, tokens: tf.Tensor) -> tf.Tensor:
        """The bytes of each token behind another; special and unknown ids have none."""
        tokens = self._in_range(tokens)
        return tf.where(
            tf.gather(self._known, tokens), tf.gather(self._later, tokens), ""
        )

    def _in_range(self, tokens):
        """Replaces ids out of range by one that has no text."""
        nothing = tf.size(self._known) - 1
        return tf.where((tokens >= 0) & (tokens < nothing), tokens, nothing)

    def _longest_tokens(self, point_N, word_N, starts_N, place_A):
        """The longest token at each place A, and the place behind it, both [N]."""
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
    split = BertPreTokenizer().pre_tokenize_str
    classes = {}
    points = list(pre_tokenizers.code_points())
    for start in range(0, len(points), _STEP):
        part = points[start : start + _STEP]
        # Each character stands between two letters, and splits them or not.
        found = split("".join(f"a{chr(point)}" for point in part) + "a")
        inside = set()
        for _, (first, end) in found:
            if end - first == 1 and first % 2:
                classes[part[first // 2]] = _PUNCTUATION
            inside.update(range(first, end))
        for place, point in enumerate(part):
            if 2 * place + 1 not in inside:
                classes[point] = _WHITE
    return classes


def _grow(tree, ends, node, text, number):
    """Adds a token to the prefix tree below a node."""
    for letter in text:
        node = tree.setdefault((node, ord(letter)), len(ends))
        if node == len(ends):
            ends.append(-1)
    ends[node] = number if text else -1


def _path(start_W, end_W, short_W, token_N, end_N):
    """The places where tokens start, bool [N]; and which words are known, bool [W]."""

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
