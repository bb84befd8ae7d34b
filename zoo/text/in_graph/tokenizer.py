"""A tokenizer as a part of a TensorFlow graph, read from a `tokenizer.json`.

It gives exactly the ids of the `tokenizers` library. It consists of core TensorFlow
operations and immutable tables, so a SavedModel with it runs on any stock server.
`build` refuses a tokenizer whose ids would differ.

`added_tokens` cuts added tokens out of a text. The text between them goes to one of
four families, which `parse` finds: `byte_level`, `sentencepiece`, `unigram` or
`wordpiece`.
"""

import functools
import json

import tensorflow as tf
from tokenizers import Tokenizer

from zoo.text.in_graph import (
    added_tokens,
    byte_level,
    parse,
    pre_tokenizers,
    ragged_ops,
    sentencepiece,
    wordpiece,
)
from zoo.text.in_graph.unigram import model as unigram

_CPU = "/CPU:0"


def build(tokenizer_json: str) -> "GraphTokenizer":
    """Builds the graph tokenizer of a `tokenizer.json`.

    Args:
      tokenizer_json: the text of the file.

    Raises:
      ValueError: the graph does not support a part of the file.
    """
    try:
        return GraphTokenizer(tokenizer_json)
    except ValueError as error:
        message = f"tokenizer.json cannot be put in the graph: {error}"
        raise ValueError(message) from error


def valid_utf8(text_B: tf.Tensor) -> tf.Tensor:
    """Whether each text is valid UTF-8 (NUL is a character), bool [B]."""
    with tf.device(_CPU):
        return byte_level.valid(text_B)


class GraphTokenizer(tf.Module):
    """Text to tokens and back, for use in a `tf.function`.

    Attributes:
      vocab_size: the highest id and 1, added tokens included.
    """

    def __init__(self, tokenizer_json: str):
        """See `build`."""
        super().__init__()
        try:
            reference = Tokenizer.from_str(tokenizer_json)
        except Exception as error:  # The library raises no narrower class.
            raise ValueError(f"no tokenizer: {error}") from error
        # The library writes old files with the fields of new ones.
        fields = json.loads(reference.to_str())
        # The library decodes the normalized text of an added token.
        ids = reference.get_vocab().values()
        texts = {number: reference.id_to_token(number) or "" for number in ids}
        self.vocab_size: int = max(texts) + 1
        with tf.device(_CPU):
            self._normalize, self._family = parse.read(fields, texts)
            early, late = fields["added_tokens"], []
            if self._normalize is not None:
                # The library looks for these in the normalized text.
                late = [
                    token
                    | {"content": reference.normalizer.normalize_str(token["content"])}
                    for token in early
                    if token["normalized"]
                ]
                early = [token for token in early if not token["normalized"]]
            self._early, self._late = _tables(early), _tables(late)

    def encode(self, text_B: tf.Tensor, special: bool = False) -> tf.RaggedTensor:
        """Encodes texts, without the tokens that a post-processor adds.

        Args:
          text_B: string, valid UTF-8.
          special: whether the name of a special token becomes that token. False for
            what a user wrote: the name is then text.

        Returns:
          int32 [B, None].
        """
        with tf.device(_CPU):
            added = self._early[special]
            if not added:
                return self._encode(text_B, tf.ones_like(text_B, tf.bool), special)
            return self.encode_parts(*added.split(text_B), special=special)

    def split(self, text_B: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
        """Cuts texts at the byte 0xFF and at added tokens that are not special.

        Args:
          text_B: string; may hold bytes that UTF-8 has not.

        Returns:
          The arguments of `encode_parts`.
        """
        with tf.device(_CPU):
            if self._early[False]:
                return self._early[False].split(text_B)
            parts_BP = pre_tokenizers.split(text_B)
            return parts_BP, tf.fill(tf.shape(parts_BP.values), -1)

    def encode_parts(
        self, parts_BP: tf.RaggedTensor, token_P: tf.Tensor, special: bool = False
    ) -> tf.RaggedTensor:
        """Encodes texts that are cut into parts.

        Args:
          parts_BP: string [B, None], valid UTF-8; added tokens in it are plain text.
          token_P: int32 [P], the id of the token that replaces each part, or -1 where
            the part is text.
          special: as in `encode`, for tokens that are looked for in normalized text.

        Returns:
          int32 [B, None].
        """
        with tf.device(_CPU):
            encode = functools.partial(self._encode, special=special)
            return _join(parts_BP, token_P, encode)

    def decode(
        self, tokens_BT: tf.RaggedTensor, continuing: bool | tf.Tensor = False
    ) -> tf.Tensor:
        """Decodes ids; special tokens and ids out of range have no text.

        Args:
          tokens_BT: int32 [B, None].
          continuing: whether the tokens follow other text, for all rows or bool [B].
            The first space of a text that follows another one is kept.

        Returns:
          string [B], valid UTF-8: a character that is cut at the end is dropped, other
          broken bytes become U+FFFD.
        """
        with tf.device(_CPU):
            return self._family.decode(tokens_BT, continuing)

    def token_bytes(self, tokens: tf.Tensor) -> tf.Tensor:
        """The bytes that each token adds to a text, string, of the shape of `tokens`.

        A character may be spread over several tokens. Special tokens and ids out of
        range have none.
        """
        with tf.device(_CPU):
            return self._family.token_bytes(tokens)

    @property
    def words_apart(self) -> bool:
        """Whether the tokens of a text are those of each of its words alone."""
        return isinstance(self._family, wordpiece.WordPiece)

    def spelled(self, text_B: tf.Tensor) -> tf.Tensor:
        """What the tokens of a text spell: their bytes (`token_bytes`) in a row.

        Some tokenizers put one more space before a text. A text has to hold no spaces,
        and no added tokens that take those beside them. Not for a tokenizer with
        `words_apart`, whose tokens do not spell a text.
        """
        with tf.device(_CPU):
            if isinstance(self._family, sentencepiece.SentencePiece):
                return tf.strings.regex_replace(text_B, sentencepiece.SPACE, " ")
            if self._normalize is not None:
                text_B = self._normalize(text_B)
            if isinstance(self._family, unigram.Unigram):
                return tf.strings.regex_replace(text_B, sentencepiece.SPACE, " ")
            return text_B

    def _encode(self, text_B, starts_B, special):
        """Normalizes texts, cuts them at the late added tokens, and encodes them."""
        if self._normalize is not None:
            text_B = self._normalize(text_B)
        if not self._late[special]:
            return self._family.encode(text_B, starts_B)

        def encode(text_P, first_P):
            starts_P = tf.gather(starts_B, ragged_ops.row_of_each(parts_BP))
            return self._family.encode(text_P, first_P & starts_P)

        parts_BP, token_P = self._late[special].split(text_B)
        return _join(parts_BP, token_P, encode)


def _tables(tokens):
    """The table without the special tokens, and the table of all; by `special`."""
    added_tokens.check(tokens)
    plain = [token for token in tokens if not token["special"]]
    return added_tokens.AddedTokens(plain), added_tokens.AddedTokens(tokens)


def _join(parts_BP, token_P, encode):
    """The ids of parts, int32 [B, None].

    Args:
      parts_BP: string [B, None].
      token_P: int32 [P], the token that replaces each part, or -1.
      encode: a function of texts, string [P], and of which parts are first in a row,
        bool [P]. It returns ids, int32 [P, None].
    """
    text_P = tf.where(token_P < 0, parts_BP.values, "")
    start_P = tf.gather(parts_BP.row_starts(), ragged_ops.row_of_each(parts_BP))
    part_P = tf.range(parts_BP.row_splits[-1])
    text_PT = encode(text_P, start_P == part_P)
    token, part = ragged_ops.keep(token_P >= 0, token_P, part_P)
    token_PT = ragged_ops.ragged(token, part, tf.size(part_P, tf.int64))
    tokens_PT = tf.concat([text_PT, token_PT], 1)
    return parts_BP.with_values(tokens_PT).merge_dims(1, 2)
