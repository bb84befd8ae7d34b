"""SentencePiece's BPE (Llama, Mistral, Gemma) as a `tokenizers` pipeline.

A tokenizer.model holds no merges. Two pieces merge if the joined text is a piece too,
and the merge of the best score comes first. Kudo and Richardson 2018
(arXiv:1808.06226).

Example: the pieces by score are `ab`, `bc`, `abc`. The merges are `a b`, `b c`, `ab c`,
`a bc`. Among equal scores the longest left part comes first, as in transformers.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

_SPACE = "▁"
_BPE = 2
_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4


def read(path: str, settings: dict) -> tokenizers.Tokenizer:
    """Reads a tokenizer.model.

    Args:
      path: the path of the file.
      settings: the fields of tokenizer_config.json; receives the names of special
        tokens that it lacks.

    Raises:
      ValueError: the `sentencepiece` package is missing, or the file is not one of
        SentencePiece, or its kind is not BPE.
    """
    proto = parse(path)
    trainer, rules = proto.trainer_spec, proto.normalizer_spec
    if trainer.model_type != _BPE:
        raise ValueError(
            f"{path}: a SentencePiece model of kind {trainer.model_type}, only BPE "
            f"({_BPE}) allowed. Write a tokenizer.json where transformers is: "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...)."
        )
    if trainer.treat_whitespace_as_suffix or not rules.escape_whitespaces:
        raise ValueError(
            f"{path}: treat_whitespace_as_suffix "
            f"{trainer.treat_whitespace_as_suffix}, escape_whitespaces "
            f"{rules.escape_whitespaces}; False and True allowed."
        )
    if rules.precompiled_charsmap or rules.remove_extra_whitespaces:
        raise ValueError(
            f"{path}: changes characters by {rules.name!r} or removes spaces; only a "
            "normalizer that changes no text is supported."
        )
    pieces = [piece.piece for piece in proto.pieces]
    unknown = next((p.piece for p in proto.pieces if p.type == _UNKNOWN), None)
    prefix_space = settings.get("add_prefix_space", rules.add_dummy_prefix)
    scores = [piece.score for piece in proto.pieces]
    engine = pipeline(pieces, scores, unknown, trainer.byte_fallback, prefix_space)
    if prefix_space and not settings.get("legacy", True):
        # transformers: a text behind an added token gets no space
        engine.normalizer = None
        engine.pre_tokenizer = pre_tokenizers.Metaspace(
            replacement=_SPACE, prepend_scheme="first", split=False
        )
    for piece in proto.pieces:
        if piece.type in (_UNKNOWN, _CONTROL, _USER_DEFINED):
            special = piece.type != _USER_DEFINED
            engine.add_tokens(
                [tokenizers.AddedToken(piece.piece, normalized=False, special=special)]
            )
    for name, number in (
        ("bos_token", trainer.bos_id),
        ("eos_token", trainer.eos_id),
        ("unk_token", trainer.unk_id),
    ):
        if name not in settings and 0 <= number < len(proto.pieces):
            settings[name] = proto.pieces[number].piece
    add_start_and_end(engine, settings, start=True)
    return engine


def pipeline(
    pieces: Sequence[str],
    scores: Iterable[float],
    unknown: str | None,
    byte_fallback: bool,
    prefix_space: bool,
) -> tokenizers.Tokenizer:
    """Builds a tokenizer without special tokens.

    Args:
      pieces: all pieces, by id.
      scores: the score of each piece; the merge of the best score comes first.
      unknown: the piece that stands for unknown characters.
      byte_fallback: whether an unknown character becomes the pieces of its bytes.
      prefix_space: whether to put a space before each text.
    """
    engine = tokenizers.Tokenizer(
        models.BPE(
            vocab={piece: number for number, piece in enumerate(pieces)},
            merges=_merges(pieces, scores),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=byte_fallback,
        )
    )
    prepend = [normalizers.Prepend(_SPACE)] if prefix_space else []
    steps = [*prepend, normalizers.Replace(" ", _SPACE)]
    engine.normalizer = normalizers.Sequence(steps)
    back = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if prefix_space:
        back.append(decoders.Strip(" ", 1, 0))
    engine.decoder = decoders.Sequence(back)
    return engine


def add_start_and_end(engine, settings: dict, start: bool) -> None:
    """Sets the post-processor that puts the start and the end token around a text.

    Args:
      engine: the tokenizer.
      settings: the fields of tokenizer_config.json.
      start: whether to add a start token where `settings` has no `add_bos_token`.
    """
    ids, parts = [], ["$A"]
    for name, wanted, place in (
        ("bos_token", settings.get("add_bos_token", start), 0),
        ("eos_token", settings.get("add_eos_token", False), len(parts) + 1),
    ):
        token = settings.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        if wanted and token and engine.token_to_id(token) is not None:
            parts.insert(place, token)
            ids.append((token, engine.token_to_id(token)))
    if ids:
        pair = parts + [f"{part}:1" for part in parts]
        engine.post_processor = processors.TemplateProcessing(
            " ".join(parts), " ".join(pair).replace("$A:1", "$B:1"), ids
        )


def parse(path: str) -> Any:
    """The ModelProto of a file.

    Raises:
      ValueError: the package is missing, or the file is not one of SentencePiece.
    """
    try:
        from google.protobuf.message import DecodeError
        from sentencepiece import sentencepiece_model_pb2 as messages
    except ImportError:
        raise ValueError(
            f"{path}: reading it needs the package sentencepiece (pip install "
            "sentencepiece)."
        ) from None
    with open(path, "rb") as file:
        text = file.read()
    proto: Any = getattr(messages, "ModelProto")()  # noqa: B009, made when imported
    try:
        proto.ParseFromString(text)
    except DecodeError:
        proto.Clear()
    if not proto.pieces:
        raise ValueError(f"{path}: is not a SentencePiece model.")
    return proto


def _merges(pieces, scores) -> list[tuple[str, str]]:
    """All ways to cut a piece into two others, in the order of transformers 4.57."""
    ids = {piece: number for number, piece in enumerate(pieces)}
    merges = []
    for piece, score in zip(pieces, scores, strict=True):
        cuts = ((piece[:cut], piece[cut:]) for cut in range(1, len(piece)))
        known = [(a, b) for a, b in cuts if a in ids and b in ids]
        known.sort(key=lambda pair: (ids[pair[0]], ids[pair[1]]))
        merges += [(score, len(a), len(b), a, b) for a, b in known]
    merges.sort(key=lambda merge: merge[:3], reverse=True)
    return [(a, b) for *_, a, b in merges]
