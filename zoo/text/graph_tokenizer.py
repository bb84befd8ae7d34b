"""A tokenizer as a part of a TensorFlow graph, read from a `tokenizer.json`.

It gives exactly the ids of the `tokenizers` library with core TensorFlow operations and
immutable tables only, so that a SavedModel with it runs on any stock server. What cannot
be done exactly is refused when it is built.

Words are split by regular expressions (`graph_patterns`) and then encoded all at once
(`graph_bpe`).
"""

import json
import re

import tensorflow as tf
from tokenizers import Tokenizer

from zoo.text import graph_bpe, graph_merges, graph_patterns, graph_words

_CPU = "/CPU:0"
# The first bytes of a character that its last bytes would have followed, as Latin-1.
_INCOMPLETE = (
    r"(?:[\x{c2}-\x{df}]|\x{e0}[\x{a0}-\x{bf}]?|[\x{e1}-\x{ec}\x{ee}\x{ef}][\x{80}-\x{bf}]?"
    r"|\x{ed}[\x{80}-\x{9f}]?|\x{f0}(?:[\x{90}-\x{bf}][\x{80}-\x{bf}]?)?"
    r"|[\x{f1}-\x{f3}](?:[\x{80}-\x{bf}][\x{80}-\x{bf}]?)?"
    r"|\x{f4}(?:[\x{80}-\x{8f}][\x{80}-\x{bf}]?)?)$"
)


def build(tokenizer_json: str) -> "GraphTokenizer":
    """Builds the graph tokenizer of a `tokenizer.json`.

    Args:
      tokenizer_json: the text of the file.

    Raises:
      ValueError: a part of it has no exact form in the graph.
    """
    return GraphTokenizer(tokenizer_json)


def valid_utf8(text_B: tf.Tensor) -> tf.Tensor:
    """Whether each text is valid UTF-8 (NUL is a character), bool [B]."""
    with tf.device(_CPU):
        return tf.strings.regex_full_match(
            text_B, r"[\x{0}-\x{d7ff}\x{e000}-\x{10ffff}]*"
        )


class GraphTokenizer(tf.Module):
    """Text to tokens and back, for use in a `tf.function`."""

    def __init__(self, tokenizer_json: str):
        """See `build`."""
        super().__init__()
        fields = json.loads(tokenizer_json)
        reference = Tokenizer.from_str(tokenizer_json)
        self._added = fields.get("added_tokens") or []
        vocabulary = reference.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocabulary.values()) + 1
        self._prefix_space, self._replacements = _pre_tokenizer(fields)
        if fields.get("normalizer"):
            raise _refusal(f"normalizer {fields['normalizer']['type']}")
        if (fields.get("decoder") or {}).get("type") != "ByteLevel":
            raise _refusal(f"decoder {fields.get('decoder')}")
        with tf.device(_CPU):
            self._model = _byte_level_model(fields["model"], self.vocab_size)
            self._special = _AddedTokens(self._added)
            self._others = _AddedTokens([t for t in self._added if not t["special"]])
            self._bytes = tf.constant(_token_bytes(vocabulary, self._added))

    def encode(self, text_B: tf.Tensor, special: bool = False) -> tf.RaggedTensor:
        """The tokens of texts, without those that a post-processor adds.

        Args:
          text_B: string, valid UTF-8.
          special: whether the text of a special token stands for that token; else it
            is text like any other.

        Returns:
          int32 [B, None].
        """
        with tf.device(_CPU):
            added = self._special if special else self._others
            if not added:
                return self._encode_text(text_B)
            parts_BP, fixed_P = added.split(text_B)
            text_P = tf.where(fixed_P < 0, parts_BP.values, "")
            tokens_PN = tf.concat(
                [
                    self._encode_text(text_P),
                    tf.ragged.boolean_mask(fixed_P[:, None], fixed_P[:, None] >= 0),
                ],
                1,
            )
            return parts_BP.with_values(tokens_PN).merge_dims(1, 2)

    def decode(self, tokens_BT: tf.RaggedTensor) -> tf.Tensor:
        """The text of tokens; special tokens and ids out of range have none.

        Args:
          tokens_BT: int32 [B, None].

        Returns:
          string [B], valid UTF-8: a character cut off at the end is dropped, other
          broken bytes become U+FFFD.
        """
        with tf.device(_CPU):
            tokens = tokens_BT.values
            known = (tokens >= 0) & (tokens < self.vocab_size)
            parts = tf.gather(self._bytes, tf.where(known, tokens, self.vocab_size))
            text_B = tf.strings.reduce_join(tokens_BT.with_values(parts), axis=-1)
            latin_B = tf.strings.unicode_transcode(text_B, "ISO-8859-1", "UTF-8")
            whole_B = tf.strings.regex_replace(latin_B, _INCOMPLETE, "")
            length_B = tf.strings.length(whole_B, "UTF8_CHAR")
            text_B = tf.strings.substr(text_B, tf.zeros_like(length_B), length_B)
            return tf.strings.unicode_transcode(text_B, "UTF-8", "UTF-8", "replace")

    def _encode_text(self, text_B):
        if self._prefix_space:
            text_B = tf.strings.regex_replace(text_B, "^([^ ])", r" \1")
        words_BN = graph_patterns.split(text_B, self._replacements)
        tokens_NT = self._model.encode(words_BN.values)
        return tf.RaggedTensor.from_row_splits(
            tokens_NT.values,
            tf.gather(tokens_NT.row_splits, words_BN.row_splits),
            validate=False,
        )


class _AddedTokens(tf.Module):
    """Splits the text of added tokens out of a text."""

    def __init__(self, tokens):
        super().__init__()
        self._tokens = tokens
        if not tokens:
            return
        space = graph_patterns.character_class(r"\s")
        strips = any(t["lstrip"] or t["rstrip"] for t in tokens)
        patterns = []
        for token in sorted(tokens, key=lambda t: -len(t["content"])):
            text = token["content"]
            if token["single_word"] or (strips and text != text.strip()):
                raise _refusal(f"added token {token}")
            before = f"[{space}]*" if token["lstrip"] else ""
            after = f"[{space}]*" if token["rstrip"] else ""
            patterns.append(before + _escape(text) + after)
        self._pattern = "|".join(patterns)
        self._edges = f"^[{space}]+|[{space}]+$" if strips else ""
        self._ids = graph_bpe.table(
            [t["content"] for t in tokens], tf.string,
            [t["id"] for t in tokens], tf.int32, -1,
        )  # fmt: skip

    def __bool__(self):
        return bool(self._tokens)

    def split(self, text_B):
        """Parts string [B, None], and of each part its token [P] or -1 for text."""
        around = graph_patterns.SEPARATOR
        text_B = tf.strings.regex_replace(
            text_B, self._pattern, around + rb"\0" + around
        )
        parts_BP = graph_patterns.pieces(text_B)
        key_P = parts_BP.values
        if self._edges:
            key_P = tf.strings.regex_replace(key_P, self._edges, "")
        return parts_BP, self._ids.lookup(key_P)


def _pre_tokenizer(fields):
    part = fields.get("pre_tokenizer") or {}
    if part.get("type") == "ByteLevel" and part.get("use_regex", True):
        return part["add_prefix_space"], graph_patterns.gpt2()
    raise _refusal(f"pre_tokenizer {part}")


def _byte_level_model(model, size):
    if model["type"] != "BPE":
        raise _refusal(f"model {model['type']}")
    wanted = {
        "dropout": (None,),
        "unk_token": (None,),
        "continuing_subword_prefix": (None, ""),
        "end_of_word_suffix": (None, ""),
        "byte_fallback": (False,),
    }
    for name, allowed in wanted.items():
        if model.get(name, allowed[0]) not in allowed:
            raise _refusal(f"model.{name} {model[name]!r}")
    vocabulary = model["vocab"]
    letters = byte_letters()
    byte_of = {letter: byte for byte, letter in enumerate(letters)}
    symbols, text = {}, {}
    for token, number in vocabulary.items():
        if all(c in byte_of and c in vocabulary for c in token):
            symbols[number] = [vocabulary[c] for c in token]
            text[number] = bytes(byte_of[c] for c in token)
    merges = []
    for merge in model["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        merges.append((vocabulary[left], vocabulary[right], vocabulary[left + right]))
    merges = graph_merges.prepare(symbols, merges)
    whole = text if model.get("ignore_merges") else merges.whole
    byte_ids = [vocabulary.get(letter, -1) for letter in letters]
    return graph_words.ByteWords(
        byte_ids, graph_bpe.Pairs(merges, size), {text[i]: i for i in whole}
    )


def byte_letters() -> list[str]:
    """The letter that byte-level vocabularies write for each of the 256 bytes."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [
        chr(byte if byte in shown else 256 + hidden.index(byte)) for byte in range(256)
    ]


def _token_bytes(vocabulary, added):
    """The bytes of each id, and at last b"" for ids out of range."""
    to_byte = {letter: byte for byte, letter in enumerate(byte_letters())}
    skipped = {t["id"] for t in added if t["special"]}
    parts = [b""] * (max(vocabulary.values()) + 2)
    for token, number in vocabulary.items():
        if number not in skipped:
            if all(c in to_byte for c in token):
                parts[number] = bytes(to_byte[c] for c in token)
            else:
                parts[number] = token.encode()
    return parts


def _escape(text):
    return re.sub(r"[^\w<>]", lambda m: rf"\x{{{ord(m[0]):x}}}", text)


def _refusal(part):
    return ValueError(f"tokenizer.json cannot be put in the graph: {part}")
