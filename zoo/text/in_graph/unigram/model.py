"""Unigram tokenizers: text without added tokens to pieces, and back."""

import json
from typing import Any

import tensorflow as tf
import tokenizers

from zoo.text.in_graph import pre_tokenizers, ragged_ops, words
from zoo.text.in_graph.piece_texts import SPACE, PieceTexts
from zoo.text.in_graph.sentencepiece import _NEVER_IN_UTF8, _utf8
from zoo.text.in_graph.unigram import best_path


class Unigram(tf.Module):
    """Text without added tokens to tokens, and back."""

    def __init__(self, fields, before, at_start, after, tokens, skipped):
        """Builds the tables.

        Args:
          fields: a tokenizer.json; its `decoder` works token by token, or joins bytes.
          before: replacements, see `pre_tokenizers`.
          at_start: the next replacements, for a text that is not behind an added token.
          after: the last replacements.
          tokens: the text of each id, added tokens included.
          skipped: the ids of special tokens, which have no text.

        Raises:
          ValueError: the graph does not support a part of the model.
        """
        super().__init__()
        model = fields["model"]
        pieces = [(text, score) for text, score in model["vocab"]]
        self._unknown = model["unk_id"]
        _check(pieces, self._unknown)
        self._pieces = best_path.Pieces(pieces, self._unknown)
        ids = {text: number for number, (text, _) in enumerate(pieces)}
        self._byte_ids = None
        byte_ids = [ids.get(f"<0x{byte:02X}>", -1) for byte in range(256)]
        if model.get("byte_fallback") and max(byte_ids) >= 0:
            for byte, number in enumerate(byte_ids):
                if number < 0 and byte not in _NEVER_IN_UTF8:
                    raise ValueError(f"model.vocab without <0x{byte:02X}>")
            self._byte_ids = tf.constant(byte_ids)
        self._before, self._at_start, self._after = before, at_start, after
        inner = any(SPACE in text.lstrip(SPACE) for text, _ in pieces)
        if not after and self._pieces.exact and SPACE in ids and not inner:
            # No piece holds a space behind another character, so words end there.
            edge = pre_tokenizers.SEPARATOR + SPACE.encode()
            self._after = [(f"([^{SPACE}]){SPACE}", rb"\1" + edge)]
        self._single = words.table(_single(model, pieces))
        self._texts = None
        if "ByteFallback" in json.dumps(fields["decoder"]):
            self._texts = PieceTexts(tokens, skipped, strip=False)
        engine = tokenizers.Tokenizer.from_str(json.dumps(fields))
        decode = engine.decoder.decode if engine.decoder else "".join
        size = max(tokens) + 2
        first, later, known = [""] * size, [""] * size, [False] * size
        for number, token in tokens.items():
            known[number] = number not in skipped
            first[number] = decode([token])
            later[number] = decode(["a", token])[1:]
        self._first, self._later = tf.constant(first), tf.constant(later)
        self._known = tf.constant(known)

    def encode(self, text_B: tf.Tensor, starts_B: tf.Tensor) -> tf.RaggedTensor:
        """The ids of texts, int32 [B, None]; `starts_B`: not behind an added token."""
        text_B = pre_tokenizers.replace(text_B, self._before)
        changed_B = pre_tokenizers.replace(text_B, self._at_start)
        text_B = tf.where(starts_B, changed_B, text_B)
        word_N, row_N = pre_tokenizers.words(text_B, self._after)
        return words.encode(word_N, row_N, self._single, self._cut)

    def decode(self, tokens_BT: tf.RaggedTensor, continuing) -> tf.Tensor:
        """The texts of tokens, string [B]; see `GraphTokenizer.decode`."""
        if self._texts is not None:
            return self._texts.decode(tokens_BT, continuing)
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
        if self._texts is not None:
            return self._texts.token_bytes(tokens)
        tokens = self._in_range(tokens)
        return tf.where(
            tf.gather(self._known, tokens), tf.gather(self._later, tokens), ""
        )

    def _in_range(self, tokens):
        """Replaces ids out of range by one that has no text."""
        nothing = tf.size(self._known) - 1
        return tf.where((tokens >= 0) & (tokens < nothing), tokens, nothing)

    def _cut(self, words_M):
        """The `merge` of `words.encode`."""
        edge = pre_tokenizers.SEPARATOR
        text = tf.strings.reduce_join(words_M, separator=edge)
        text = tf.strings.join([edge, text, edge])
        point_N, start_N = tf.strings.unicode_decode_with_offsets(text, "UTF-8")
        # A separator decodes to U+FFFD, but has one byte, and that character three.
        size_N = ragged_ops.behind(start_N, -1) - start_N
        edge_N = tf.equal(point_N, 0xFFFD) & (size_N <= 1)
        start_Q, end_Q, token_Q = self._pieces(point_N, edge_N)
        unknown_Q = tf.equal(token_Q, self._unknown)
        token = tf.cond(
            tf.reduce_any(unknown_Q),
            lambda: self._joined(point_N, start_Q, end_Q, token_Q, unknown_Q),
            lambda: token_Q,
        )
        return token, tf.squeeze(tf.where(tf.equal(token, -1)), 1)

    def _joined(self, point_N, start_Q, end_Q, token_Q, unknown_Q):
        """Makes a run of unknown characters one token, or the tokens of its bytes."""
        before_Q: Any = ragged_ops.before(unknown_Q, False)
        behind_Q: Any = ragged_ops.behind(unknown_Q, False)
        if self._byte_ids is None:
            return ragged_ops.keep(~(unknown_Q & before_Q), token_Q)[0]
        # The text of the unknown token itself is that token where it stands alone.
        alone_Q = ~before_Q & ~behind_Q & (end_Q > start_Q)
        bytes_Q = unknown_Q & ~alone_Q
        limit_Q = tf.where(bytes_Q, end_Q, start_Q) + 1
        taken = ragged_ops.ranges(start_Q, limit_Q)
        piece_R = ragged_ops.row_of_each(taken)
        byte_R4, size_R = _utf8(tf.gather(point_N, taken.values))
        as_bytes_R = tf.gather(bytes_Q, piece_R)
        token_R4 = tf.gather(self._byte_ids, byte_R4)
        first_R1 = tf.where(as_bytes_R, token_R4[:, 0], tf.gather(token_Q, piece_R))
        token_R4 = tf.concat([first_R1[:, None], token_R4[:, 1:]], 1)
        size_R = tf.where(as_bytes_R, size_R, 1)
        return tf.boolean_mask(token_R4, tf.range(4) < size_R[:, None])


def _check(pieces, unknown):
    """Refuses what the library gives a meaning that the graph does not have."""
    if unknown is None:
        raise ValueError("model.unk_id None, a number allowed")
    name = pieces[unknown][0]
    if len(name) == 1:
        raise ValueError(f"model.vocab: the unknown token {name!r} is one character")
    if len({text for text, _ in pieces}) < len(pieces):
        raise ValueError("model.vocab: two pieces are equal")
    for text, score in pieces:
        if name and name in text and text != name:
            raise ValueError(f"model.vocab: {text!r} holds the unknown token {name!r}")
        if score > 10:
            raise ValueError(f"model.vocab: the score {score} of {text!r}, at most 10")


def _single(model, pieces):
    """The pieces that the library encodes as themselves, and their ids."""
    engine = tokenizers.Tokenizer(
        tokenizers.models.Unigram(pieces, model["unk_id"], bool(model["byte_fallback"]))
    )
    texts = [text for text, _ in pieces]
    found = engine.encode_batch_fast(texts, add_special_tokens=False)
    return {
        text: number
        for number, (text, one) in enumerate(zip(texts, found, strict=True))
        if text and one.ids == [number]
    }
