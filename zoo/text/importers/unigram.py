"""SentencePiece's Unigram models (T5, XLM-R, ALBERT, Marian) as a tokenizer.json.

The pipelines are those that transformers 5 makes of the same files. Kudo 2018
(arXiv:1804.10959).
"""

import os
import warnings
from collections.abc import Sequence
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from zoo import files
from zoo.text.importers import named_pieces, sentencepiece

_SPACE = "▁"
_UNIGRAM = 1
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_UNKNOWN_PENALTY = 10.0  # SentencePiece's, below the lowest score
_UNKNOWN = "\ufdd0"  # a code point that is no character
_MASKS = {"XLMRobertaTokenizer": "<mask>", "AlbertTokenizer": "[MASK]"}
_FAMILIES = ("T5Tokenizer", "XLMRobertaTokenizer", "AlbertTokenizer")


def read(path: str, family: str, settings: dict[str, Any]) -> tokenizers.Tokenizer:
    """Reads the SentencePiece file of a family.

    Args:
      path: the path of the file, such as spiece.model.
      family: `tokenizer_class`: T5Tokenizer (mT5's too), XLMRobertaTokenizer or
        AlbertTokenizer.
      settings: the fields of tokenizer_config.json.

    Raises:
      ValueError: the file is not a Unigram model, or the family is another one.
    """
    family = family.removesuffix("Fast")
    if family not in _FAMILIES:
        raise ValueError(
            f"tokenizer_class {family!r}; allowed: {', '.join(_FAMILIES)}."
        )
    proto = _parse(path)
    pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    extra: list[str] = []
    if family == "T5Tokenizer":
        count = settings.get("extra_ids", 100)
        extra = [f"<extra_id_{i}>" for i in range(count - 1, -1, -1)]
        pieces += [(name, 0.0) for name in extra]
        around, names = ["$A", "</s>"], ["<pad>", "</s>", "<unk>"]
    elif family == "XLMRobertaTokenizer":
        names = ["<s>", "<pad>", "</s>", "<unk>"]
        pieces = [*((name, 0.0) for name in names), *pieces[3:], ("<mask>", 0.0)]
        around = ["<s>", "$A", "</s>"]
    else:
        names = ["<pad>", "<unk>", "[CLS]", "[SEP]"]
        around = ["[CLS]", "$A", "[SEP]"]
    ids = {name: number for number, (name, _) in enumerate(pieces)}
    for name in names:
        if name not in ids:
            raise ValueError(f"{path}: a file of {family} without the piece {name!r}.")
    steps = []
    if family == "AlbertTokenizer":
        steps += [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
        if not settings.get("keep_accents", False):
            steps += [normalizers.NFKD(), normalizers.StripAccents()]
        if settings.get("do_lower_case", True):
            steps.append(normalizers.Lowercase())
    charsmap = proto.normalizer_spec.precompiled_charsmap
    engine = pipeline(pieces, ids["<unk>"], charsmap, steps)
    kinds = {piece.piece: piece.type for piece in proto.pieces}
    more = [n for n in ids if kinds.get(n) == _CONTROL and n not in names]
    _add(engine, [*names, *extra, *(n for n in more if n not in _MASKS.values())])
    for name in ids:
        if kinds.get(name) == _USER_DEFINED:
            engine.add_tokens([tokenizers.AddedToken(name, normalized=False)])
    mask = _MASKS.get(family)
    if mask in ids:
        engine.add_special_tokens(
            [tokenizers.AddedToken(mask, lstrip=True, normalized=False)]
        )
    _frame(engine, around)
    named_pieces.keep_out(engine)
    return engine


def pipeline(
    pieces: list[tuple[str, float]],
    unknown: int,
    charsmap: bytes,
    before: Sequence[normalizers.Normalizer] = (),
    byte_fallback: bool = False,
) -> tokenizers.Tokenizer:
    """Builds a tokenizer without special tokens, that drops extra spaces.

    Args:
      pieces: all pieces and their scores, by id.
      unknown: the id of unknown characters.
      charsmap: SentencePiece's precompiled_charsmap; empty for none.
      before: normalizers in front of the charsmap.
      byte_fallback: whether an unknown character becomes the pieces of its bytes.
    """
    engine = _engine(pieces, unknown, byte_fallback)
    steps = [*before, *([normalizers.Precompiled(charsmap)] if charsmap else [])]
    if steps:
        engine.normalizer = steps[0] if len(steps) == 1 else normalizers.Sequence(steps)
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    return engine


def marian(
    folder: str, separate: bool = False
) -> tuple[tokenizers.Tokenizer, tokenizers.Tokenizer]:
    """The tokenizers of a Marian directory: of the source and of the target.

    source.spm and target.spm cut a text, vocab.json has the ids of both. An entry of
    vocab.json that a file lacks is never cut out of a text, but for a single character
    that the file does not know; it decodes to its text. The names of languages, such
    as >>fra<<, are special tokens, because </s> overlaps them.

    The ids are those of transformers, with these exceptions. A piece of several
    characters that vocab.json lacks is left out, with a warning; there it is <unk>.
    `tokenizers` normalizes some marks behind a changed character otherwise than
    SentencePiece. transformers takes names of languages at the start of a text only.

    Args:
      folder: the directory.
      separate: whether target_vocab.json has the ids of targets.

    Raises:
      ValueError: a file is missing or broken.
    """
    last = "target_vocab.json" if separate else "vocab.json"
    names = ("vocab.json", last, "source.spm", "target.spm")
    paths = [os.path.join(folder, name) for name in names]
    for path in paths:
        if not os.path.isfile(path):
            raise ValueError(f"{path}: no such file.")
    source_ids = _ids(paths[0])
    target_ids = _ids(paths[1]) if separate else source_ids
    source, target = map(_parse, paths[2:])
    return _marian(source, source_ids), _marian(target, target_ids)


def _ids(path):
    """The ids of Marian's tokens, from a vocab.json."""
    ids = files.read_json(path)
    numbers = ids.values()
    if {*map(type, numbers)} != {int} or sorted(numbers) != [*range(len(ids))]:
        raise ValueError(f"{path}: ids from 0 without a gap for all tokens allowed.")
    for name in ("<unk>", "</s>"):
        if name not in ids:
            raise ValueError(f"{path}: the token {name!r} is missing.")
    return ids


def _marian(proto, ids):
    """The tokenizer of one side."""
    kinds = (_NORMAL, _USER_DEFINED)
    scores = {p.piece: p.score for p in proto.pieces if p.type in kinds}
    lacking = [piece for piece in scores if piece not in ids and len(piece) > 1]
    if lacking:
        warnings.warn(
            f"vocab.json lacks {len(lacking)} pieces, such as {lacking[0]!r}. A text "
            "with one gets other pieces than in transformers, where it is <unk>.",
            stacklevel=3,
        )
    lowest = min(scores.values(), default=0.0)
    letters = {*"".join(scores), _SPACE}
    pieces = []
    for token in sorted(ids, key=ids.__getitem__):
        named = token in ("<unk>", "</s>", "<pad>") or _code(token)
        name, score = token, scores.get(token, lowest)
        if token not in scores and not named:
            # SentencePiece hands an unknown character on, and vocab.json may have it.
            if len(token) == 1 and token not in letters:
                score = lowest - _UNKNOWN_PENALTY
            else:  # A text never holds two spaces in one word.
                name += 2 * _SPACE
        pieces.append((name, score))
    engine = _engine(pieces, ids["<unk>"])
    steps: list[Any] = []
    if proto.normalizer_spec.precompiled_charsmap:
        charsmap = proto.normalizer_spec.precompiled_charsmap
        steps.append(normalizers.Precompiled(charsmap))
    if proto.normalizer_spec.remove_extra_whitespaces:
        steps.append(normalizers.Replace(tokenizers.Regex(r"\A +| +\z"), ""))
        steps.append(normalizers.Replace(tokenizers.Regex(" {2,}"), " "))
    # It hands several on as one token, which is <unk>.
    known = "".join(rf"\x{{{ord(letter):x}}}" for letter in sorted({" ", *letters}))
    several = tokenizers.Regex(f"[^{known}]{{2,}}")
    steps.append(normalizers.Replace(several, _UNKNOWN))
    engine.normalizer = normalizers.Sequence(steps)
    engine.pre_tokenizer = pre_tokenizers.Metaspace()
    engine.decoder = decoders.Sequence(
        [decoders.Replace(2 * _SPACE, ""), decoders.Metaspace()]
    )
    special = [name for name in ("<unk>", "</s>", "<pad>") if name in ids]
    _add(engine, [*special, *filter(_code, ids)])
    _frame(engine, ["$A", "</s>"])
    named_pieces.keep_out(engine)
    return engine


def _code(token) -> bool:
    """Whether a token names a language, such as >>fra<<."""
    return token.startswith(">>") and token.endswith("<<")


def _parse(path):
    """The ModelProto of a Unigram model."""
    proto = sentencepiece.parse(path)
    if proto.trainer_spec.model_type != _UNIGRAM:
        raise ValueError(
            f"{path}: a SentencePiece model of kind {proto.trainer_spec.model_type}, "
            f"only Unigram ({_UNIGRAM}) allowed."
        )
    return proto


def _engine(pieces, unknown, byte_fallback=False):
    """A tokenizer with the decoder of all families."""
    engine = tokenizers.Tokenizer(models.Unigram(pieces, unknown, byte_fallback))
    engine.decoder = decoders.Metaspace()
    return engine


def _add(engine, names):
    """Marks tokens as special."""
    engine.add_special_tokens(
        [tokenizers.AddedToken(name, normalized=False) for name in names]
    )


def _frame(engine, parts):
    """Sets the tokens around a text."""
    ids = [(p, engine.token_to_id(p)) for p in parts if p != "$A"]
    end = parts[-1]
    double = [end] if len(parts) == 3 and parts[0] == "<s>" else []
    second = ":1" if parts[0] == "[CLS]" else ""
    pair = [*parts, *double, f"$B{second}", f"{end}{second}"]
    engine.post_processor = processors.TemplateProcessing(
        single=" ".join(parts), pair=" ".join(pair), special_tokens=ids
    )
