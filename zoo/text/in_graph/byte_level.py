"""Byte-level BPE (GPT-2, Llama 3, Qwen): BPE merges the UTF-8 bytes of words.

Radford et al. 2019.
"""

import tensorflow as tf

from zoo.text.in_graph import pre_tokenizers, ragged_ops, words
from zoo.text.in_graph.bpe import merges as bpe_merges
from zoo.text.in_graph.bpe import model as bpe

# The first bytes of a character whose last bytes are missing, as Latin-1.
_CUT = (
    r"(?:[\x{c2}-\x{df}]|\x{e0}[\x{a0}-\x{bf}]?"
    r"|[\x{e1}-\x{ec}\x{ee}\x{ef}][\x{80}-\x{bf}]?|\x{ed}[\x{80}-\x{9f}]?"
    r"|\x{f0}(?:[\x{90}-\x{bf}][\x{80}-\x{bf}]?)?"
    r"|[\x{f1}-\x{f3}](?:[\x{80}-\x{bf}][\x{80}-\x{bf}]?)?"
    r"|\x{f4}(?:[\x{80}-\x{8f}][\x{80}-\x{bf}]?)?)$"
)


class ByteLevel(tf.Module):
    """Text without added tokens to tokens, and back."""

    def __init__(self, model, replacements, prefix_space, tokens, skipped):
        """Builds the tables.

        Args:
          model: `model` of a tokenizer.json.
          replacements: the pre-tokenizer, see `pre_tokenizers`.
          prefix_space: whether to put a space before a text that starts with none.
          tokens: the text of each id, added tokens included.
          skipped: the ids of special tokens, which have no text.

        Raises:
          ValueError: the graph does not support a part of the model.
        """
        super().__init__()
        self._replacements = replacements
        self._prefix_space = prefix_space
        ids = model["vocab"]
        letters = byte_letters()
        byte_of = {letter: byte for byte, letter in enumerate(letters)}
        texts = [b""] * (max(tokens) + 2)
        for number, token in tokens.items():
            if number not in skipped:
                is_bytes = all(letter in byte_of for letter in token)
                texts[number] = (
                    bytes(byte_of[letter] for letter in token)
                    if is_bytes
                    else token.encode()
                )
        self._texts = tf.constant(texts)
        symbols = {
            number: [ids[letter] for letter in token]
            for token, number in ids.items()
            if all(letter in byte_of and letter in ids for letter in token)
        }
        merges = bpe_merges.prepare(symbols, bpe_merges.read(model))
        # The symbols are all bytes but 0xFF, which no UTF-8 text holds: it separates.
        byte_ids = [ids.get(letter, -1) for letter in letters[:-1]]
        self._known = None if min(byte_ids) >= 0 else tf.constant([*byte_ids, 0])
        self._pairs = bpe.Pairs(merges, byte_ids)
        single = merges.single_token_words
        if model.get("ignore_merges"):
            single = set(symbols) - skipped
        self._single_tokens = words.table(
            {
                bytes(byte_of[letter] for letter in token): number
                for token, number in ids.items()
                if number in single
            }
        )

    def encode(self, text_B: tf.Tensor, starts_B: tf.Tensor) -> tf.RaggedTensor:
        """The tokens of texts, int32 [B, None]."""
        del starts_B  # A text behind an added token is encoded like any other.
        if self._prefix_space:
            text_B = tf.strings.regex_replace(text_B, "^([^ ])", r" \1")
        word_N, row_N = pre_tokenizers.words(text_B, self._replacements)
        return words.encode(word_N, row_N, self._single_tokens, self._merge)

    def decode(self, tokens_BT: tf.RaggedTensor, continuing) -> tf.Tensor:
        """The texts of tokens, string [B]."""
        del continuing  # The text of a token is the same wherever it stands.
        row = ragged_ops.row_of_each(tokens_BT)
        text = self.token_bytes(tokens_BT.values)
        return to_utf8(ragged_ops.join(text, row, tokens_BT.nrows()))

    def token_bytes(self, tokens: tf.Tensor) -> tf.Tensor:
        """The bytes of each token; special ones and ids out of range have none."""
        nothing = tf.size(self._texts) - 1
        known = (tokens >= 0) & (tokens < nothing)
        return tf.gather(self._texts, tf.where(known, tokens, nothing))

    def _merge(self, words_M):
        """The `merge` of `words.encode`."""
        edge = pre_tokenizers.SEPARATOR
        text = tf.strings.reduce_join(words_M, separator=edge)
        byte = tf.io.decode_raw(tf.strings.join([edge, text, edge]), tf.uint8)
        symbol = tf.cast(byte, tf.int64)
        if self._known is not None:
            (symbol,) = ragged_ops.keep(tf.gather(self._known, symbol) >= 0, symbol)
        return self._pairs.words(symbol)


def to_utf8(text_B: tf.Tensor) -> tf.Tensor:
    """Makes bytes valid UTF-8: drops a character cut at the end, else writes U+FFFD."""
    length_B = tf.strings.length(text_B) - cut(text_B)
    text_B = tf.strings.substr(text_B, tf.zeros_like(length_B), length_B)
    return tf.strings.unicode_transcode(text_B, "UTF-8", "UTF-8", "replace")


def cut(text_B: tf.Tensor) -> tf.Tensor:
    """How many bytes at the end are the start of a character, int32 [B]."""
    latin_B = tf.strings.unicode_transcode(text_B, "ISO-8859-1", "UTF-8")
    rest_B = tf.strings.regex_replace(latin_B, _CUT, "")
    length_B, rest_B = (tf.strings.length(x, "UTF8_CHAR") for x in (latin_B, rest_B))
    return length_B - rest_B


def valid(text_B: tf.Tensor) -> tf.Tensor:
    """Whether texts are valid UTF-8, bool [B]."""
    # RE2 accepts surrogates unless the class excludes them.
    return tf.strings.regex_full_match(text_B, r"[\x{0}-\x{d7ff}\x{e000}-\x{10ffff}]*")


def byte_letters() -> list[str]:
    """The letter for each of the 256 bytes in byte-level vocabularies."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [
        chr(byte if byte in shown else 256 + hidden.index(byte)) for byte in range(256)
    ]
