"""Finds the family of a `tokenizer.json` part by part, and refuses unknown parts."""

import functools
import re

from zoo.text.importers import named_pieces
from zoo.text.in_graph import byte_level, nfc, pre_tokenizers, sentencepiece, wordpiece
from zoo.text.in_graph.piece_texts import SPACE
from zoo.text.in_graph.unigram import model as unigram
from zoo.text.in_graph.unigram import normalizers

# The decoder of pieces that may be bytes.
_BYTES_TO_TEXT = [
    {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
    {"type": "ByteFallback"},
    {"type": "Fuse"},
]
_DROPPING = ("Precompiled", "Strip", "StripAccents", "Replace")


def read(fields: dict, tokens: dict[int, str]):
    """Builds the normalizer, and the family that encodes text between added tokens.

    Args:
      fields: a tokenizer.json.
      tokens: the text of each id, added tokens included.

    Returns:
      A function from texts to normalized texts, or None; and the family, such as a
      `byte_level.ByteLevel`.

    Raises:
      ValueError: names the part that has no exact form in the graph.
    """
    model = fields["model"]
    skipped = {token["id"] for token in fields["added_tokens"] if token["special"]}
    if model["type"] == "WordPiece":
        return None, _wordpiece(fields, tokens, skipped)
    if model["type"] == "Unigram":
        return _unigram(fields, tokens, skipped)
    _only("model.type", model["type"], "BPE", "WordPiece", "Unigram")
    _only("model.dropout", model["dropout"], None)
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        _only(f"model.{name}", model[name], None, "")
    if model["byte_fallback"]:
        return _sentencepiece(fields, tokens, skipped)
    normalize = None
    normalizers = _parts(fields["normalizer"], "normalizers")
    if normalizers:
        _only("normalizer", normalizers, [{"type": "NFC"}])
        normalize = nfc.Composed()
    return normalize, _byte_level(fields, tokens, skipped)


def _byte_level(fields, tokens, skipped):
    """The family of GPT-2: bytes, and words by regular expressions."""
    _only("model.unk_token", fields["model"]["unk_token"], None)
    _only("decoder", (fields["decoder"] or {}).get("type"), "ByteLevel")
    replacements = []
    parts = _parts(fields["pre_tokenizer"], "pretokenizers")
    for part in parts:
        found = None
        if part["type"] == "Split" and "Regex" in part["pattern"]:
            # GPT-4o's files keep the words by "remove what is no word"
            removed = (part["behavior"], part["invert"]) == ("Removed", True)
            if removed or (part["behavior"], part["invert"]) == ("Isolated", False):
                pattern = part["pattern"]["Regex"]
                found = pre_tokenizers.split_pattern(pattern, matches_only=removed)
        elif part["type"] == "Digits" and part["individual_digits"]:
            found = pre_tokenizers.digits()
        elif part["type"] == "ByteLevel" and part is parts[-1]:
            found = pre_tokenizers.gpt2() if part["use_regex"] else []
        if found is None:
            raise ValueError(f"pre_tokenizer {part}")
        replacements += found
    _only("pre_tokenizer", parts[-1]["type"] if parts else None, "ByteLevel")
    prefix_space = parts[-1]["add_prefix_space"]
    if prefix_space and len(parts) > 1:
        raise ValueError("pre_tokenizer with add_prefix_space behind another one")
    return byte_level.ByteLevel(
        fields["model"], replacements, prefix_space, tokens, skipped
    )


def _sentencepiece(fields, tokens, skipped):
    """The normalizer and the family of Llama 2: characters, and "▁" for spaces."""
    _only("model.ignore_merges", fields["model"]["ignore_merges"], False)
    space = SPACE.encode()
    to_space = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    prepend = {"type": "Prepend", "prepend": SPACE}
    normal, before, at_start, after = [], [], [], []
    normalizers = _parts(fields["normalizer"], "normalizers")
    for part in normalizers:
        _only("normalizer", part, to_space, prepend)
        if part == prepend:
            normal.append((r"^((?s:.))", space + rb"\1"))
        else:
            normal.append((" ", space))
    part = fields["pre_tokenizer"]
    if part is not None and part["type"] == "Metaspace":
        _only("pre_tokenizer.replacement", part["replacement"], SPACE)
        before.append((" ", space))
        missing = (f"^([^{SPACE}])", space + rb"\1")
        if part["prepend_scheme"] == "always":
            before.append(missing)
        elif part["prepend_scheme"] == "first":
            at_start.append(missing)
        if part["split"]:
            after.append((SPACE, pre_tokenizers.SEPARATOR + space))
    elif part is not None:
        # A split at spaces does nothing behind a normalizer that replaces them all.
        nothing = {"type": "Split", "pattern": {"String": " "}}
        nothing |= {"behavior": "MergedWithPrevious", "invert": False}
        _only("pre_tokenizer", part, *([nothing] if to_space in normalizers else []))
    decoders = _parts(fields["decoder"], "decoders")
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    strips = bool(decoders) and decoders[-1] == strip
    _only("decoder", decoders[:-1] if strips else decoders, _BYTES_TO_TEXT)
    family = sentencepiece.SentencePiece(
        fields["model"], before, at_start, after, strips, tokens, skipped
    )
    if not normal:
        return None, family
    return functools.partial(pre_tokenizers.replace, replacements=normal), family


def _wordpiece(fields, tokens, skipped):
    """The family of BERT."""
    normalizer = fields["normalizer"] or {}
    _only("normalizer", normalizer.get("type"), "BertNormalizer")
    for token in fields["added_tokens"]:
        if token["normalized"]:
            raise ValueError(f"added token {token['content']!r} with normalized")
    _only("pre_tokenizer", fields["pre_tokenizer"], {"type": "BertPreTokenizer"})
    decoder = fields["decoder"] or {}
    _only("decoder", decoder.get("type"), "WordPiece")
    return wordpiece.WordPiece(fields["model"], normalizer, decoder, tokens, skipped)


def _unigram(fields, tokens, skipped):
    """The normalizer and the family of T5: pieces with scores, and "▁" for spaces."""
    space, edge = SPACE.encode(), pre_tokenizers.SEPARATOR
    before, at_start, after = [], [], []
    parts = _parts(fields["pre_tokenizer"], "pretokenizers")
    cut = named_pieces.cut(fields)
    kept_out = cut is not None and cut in parts[-1:]
    parts = parts[:-1] if kept_out else parts
    kinds = [part["type"] for part in parts]
    _only("pre_tokenizer", kinds, [], ["Metaspace"], ["WhitespaceSplit", "Metaspace"])
    apart = len(parts) == 2
    if parts:
        part, white = parts[-1], normalizers.white() if apart else ""
        _only("pre_tokenizer.replacement", part["replacement"], SPACE)
        scheme = part["prepend_scheme"]
        if apart and scheme == "first":
            raise ValueError("pre_tokenizer.prepend_scheme 'first' in a Sequence")
        # The library prepends nothing where a normalizer dropped the first character.
        for step in _parts(fields["normalizer"], "normalizers"):
            if scheme == "first" and step["type"] in _DROPPING:
                raise ValueError(
                    f"pre_tokenizer.prepend_scheme 'first' behind {step['type']}"
                )
        missing = (f"^([^{SPACE}{white}])", space + rb"\1")
        if not apart:
            before.append((" ", space))
        if scheme == "always":
            before.append(missing)
        elif scheme == "first":
            at_start.append(missing)
        if apart:
            if scheme == "always":
                word = (f"[{white}]+([^{SPACE}{white}])", edge + space + rb"\1")
                before.append(word)
            before.append((f"[{white}]+", edge))
        if part["split"]:
            after.append((SPACE, edge + space))
    if apart and not after:
        raise ValueError("pre_tokenizer.split false in a Sequence")
    decoders = _parts(fields["decoder"], "decoders")
    for decoder in decoders if decoders != _BYTES_TO_TEXT else []:
        _only("decoder", decoder["type"], "Metaspace", "Replace")
    if cut is not None and not kept_out:
        raise ValueError(
            f"special tokens that text becomes, {named_pieces.names(fields)[:3]}; "
            "zoo.text.importers.named_pieces.keep_out prevents it"
        )
    for group in named_pieces.groups(named_pieces.names(fields)):
        for first in sorted({name[0] for name in group}):
            rest = "|".join(re.escape(n[1:]) for n in group if n[0] == first)
            found = f"({re.escape(first)})({rest})"
            after.append((found, rb"\1" + edge + rb"\2"))
    family = unigram.Unigram(fields, before, at_start, after, tokens, skipped)
    return normalizers.read(_parts(fields["normalizer"], "normalizers")), family


def _parts(part, name):
    """The parts of a Sequence and of those in it; of None no part."""
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [part]
    return [inner for outer in part[name] for inner in _parts(outer, name)]


def _only(name, value, *allowed):
    """Raises ValueError where a field has another value than those allowed."""
    if value not in allowed:
        raise ValueError(f"{name} {value!r}, allowed: {', '.join(map(repr, allowed))}")
