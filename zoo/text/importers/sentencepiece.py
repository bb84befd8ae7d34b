"""SentencePiece files (tokenizer.model) as a pipeline of the `tokenizers` library.

Only its BPE (Llama, Mistral, Gemma). Its merges are not in the file: two pieces merge
where the joined one is a piece too, the better one first. Kudo and Richardson 2018
(arXiv:1808.06226).
"""

from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

_SPACE = "▁"
_BPE = 2
_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4


def read(path: str, settings: dict) -> tokenizers.Tokenizer:
    """Reads a file.

    Args:
      path: of the file.
      settings: tokenizer_config.json; gets the names of special tokens it lacks.

    Raises:
      ValueError: the `sentencepiece` package is missing, or the file is not its, or
        of another kind than BPE.
    """
    proto = _parse(path)
    trainer, rules = proto.trainer_spec, proto.normalizer_spec
    if trainer.model_type != _BPE:
        raise ValueError(
            f"{path}: a SentencePiece model of kind {trainer.model_type}, only BPE "
            f"({_BPE}) allowed. Write a tokenizer.json where transformers is: "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...)."
        )
    if trainer.treat_whitespace_as_suffix or not rules.escape_whitespaces:
        raise ValueError(f"{path}: spaces at the end of pieces, or unmarked ones.")
    if rules.precompiled_charsmap or rules.remove_extra_whitespaces:
        raise ValueError(
            f"{path}: changes characters by {rules.name!r} or removes spaces; only "
            "what keeps a text as it is has an exact form here."
        )
    vocabulary = {piece.piece: number for number, piece in enumerate(proto.pieces)}
    unknown = next((p.piece for p in proto.pieces if p.type == _UNKNOWN), None)
    engine = tokenizers.Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=_merges(vocabulary),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=trainer.byte_fallback,
        )
    )
    _spaces(engine, rules, settings)
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
    frame(engine, settings, begins=True)
    return engine


def frame(engine, settings: dict, begins: bool) -> None:
    """Sets what is put around a text when special tokens are asked for.

    Args:
      engine: the tokenizer.
      settings: tokenizer_config.json.
      begins: whether a start token is added where the settings do not say.
    """
    ids, parts = [], ["$A"]
    for name, wanted, place in (
        ("bos_token", settings.get("add_bos_token", begins), 0),
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


def _parse(path):
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


def _merges(vocabulary) -> list[tuple[str, str]]:
    """All ways to cut a piece into two others; the pieces are in the order of merging.

    Of one piece's ways the shortest left part comes first, which is what merging from
    the left does.
    """
    return [
        (piece[:cut], piece[cut:])
        for piece in vocabulary
        for cut in range(1, len(piece))
        if piece[:cut] in vocabulary and piece[cut:] in vocabulary
    ]


def _spaces(engine, rules, settings) -> None:
    """Sets what becomes of spaces, on the way in and back."""
    steps = []
    begins = settings.get("add_prefix_space", rules.add_dummy_prefix)
    if settings.get("legacy", True) or not begins:
        steps += [normalizers.Prepend(_SPACE)] if begins else []
        steps += [normalizers.Replace(" ", _SPACE)]
    else:
        # transformers: a text behind an added token gets no space
        engine.pre_tokenizer = pre_tokenizers.Metaspace(
            replacement=_SPACE, prepend_scheme="first", split=False
        )
    if steps:
        engine.normalizer = normalizers.Sequence(steps)
    back = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if begins:
        back.append(decoders.Strip(" ", 1, 0))
    engine.decoder = decoders.Sequence(back)
