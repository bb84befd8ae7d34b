"""Builds the tokenizer of a GGUF file with the `tokenizers` library.

A file has the tokens, their types, the ids of some, the chat template, and either
merges (byte-level BPE) or scores (SentencePiece's BPE, and its Unigram for T5). For the
rule that splits a text into words, a file of byte-level BPE only has a name; see
`byte_level_presets`.
"""

from typing import Any

import numpy as np
import tokenizers
from tokenizers import normalizers

from zoo.fields import suggest
from zoo.text.importers import (
    byte_level_presets,
    named_pieces,
    sentencepiece,
    unigram,
)
from zoo.text.in_graph.unigram import charsmap
from zoo.text.tokenizer import Tokenizer

_UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 2, 3, 4, 5, 6
_KINDS = range(7)
NAMED = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}
# These end an answer too: Llama's <|eot_id|>, Gemma's <end_of_turn>.
MORE_ENDS = ("eot_token_id", "eom_token_id")


def read(fields: dict[str, Any], where: str) -> Tokenizer:
    """Builds the tokenizer of a file.

    Args:
      fields: the fields of a `file.File`.
      where: the start of error messages.

    Raises:
      ValueError: an unknown type of tokenizer or of words, or fields that are missing
        or do not fit each other.
    """
    model = _get(fields, "model", str, where)
    if model not in _MODELS:
        raise ValueError(
            f"{where}: tokenizer.ggml.model {model[:64]!r}."
            f"{suggest(model[:64], _MODELS)}"
        )
    tokens, kinds = _vocabulary(fields, where)
    settings = _settings(fields, tokens, where)
    try:
        engine = _MODELS[model](fields, tokens, kinds, settings, where)
        special = {settings.get(name) for name in NAMED}
        special |= {*settings.get("end_tokens", ())}
        for token, kind in zip(tokens, kinds, strict=True):
            control = kind in (_UNKNOWN, _CONTROL) or token in special
            if control or kind == _USER_DEFINED:
                added = tokenizers.AddedToken(token, normalized=False, special=control)
                engine.add_tokens([added])
        sentencepiece.add_start_and_end(engine, settings, start=False)
        named_pieces.keep_out(engine)
        return Tokenizer(engine.to_str(pretty=True), settings)
    except ValueError:
        raise
    except Exception as error:  # the library raises plain Exception
        raise ValueError(f"{where}: not a tokenizer: {error}") from None


def _get(fields, name, kind, where, default=None):
    """Returns a field of the tokenizer, which must be of the type `kind`."""
    value = fields.get(f"tokenizer.ggml.{name}", default)
    if value is None:
        raise ValueError(f"{where}: the field tokenizer.ggml.{name} is missing.")
    if not isinstance(value, kind):
        raise ValueError(
            f"{where}: tokenizer.ggml.{name} {value!r:.80}; a {kind.__name__} allowed."
        )
    return value


def _vocabulary(fields, where) -> tuple[list[str], list[int]]:
    """Returns the tokens and their types, without unused ones at the end."""
    tokens = _get(fields, "tokens", list, where)
    usual = np.ones(len(tokens), np.int32)
    kinds = _get(fields, "token_type", np.ndarray, where, usual).tolist()
    if len(kinds) != len(tokens) or not {*kinds} <= {*_KINDS}:
        raise ValueError(
            f"{where}: tokenizer.ggml.token_type has {len(kinds)} numbers up to "
            f"{max(kinds, default=0)} for {len(tokens)} tokens; 0 to 6 allowed."
        )
    size = len(tokens)
    while size and kinds[size - 1] == _UNUSED:
        size -= 1  # padding of the embedding
    tokens, kinds = tokens[:size], kinds[:size]
    if len({*tokens}) != size:
        twice = next(t for i, t in enumerate(tokens) if t in tokens[:i])
        raise ValueError(f"{where}: the token {twice[:64]!r} appears twice.")
    return tokens, kinds


def _settings(fields, tokens, where) -> dict[str, Any]:
    """Returns the fields of a tokenizer_config.json."""

    def named(name):
        if f"tokenizer.ggml.{name}" not in fields:
            return None
        number = _get(fields, name, int, where)
        if not 0 <= number < len(tokens):
            raise ValueError(
                f"{where}: tokenizer.ggml.{name} {number}, 0 to {len(tokens) - 1} "
                "allowed."
            )
        return tokens[number]

    settings = {hf_name: named(name) for hf_name, name in NAMED.items()}
    settings = {name: token for name, token in settings.items() if token is not None}
    ends = [settings.get("eos_token"), *(named(name) for name in MORE_ENDS)]
    ends = list(dict.fromkeys(end for end in ends if end is not None))
    settings["eos_token"] = ends[0] if ends else None
    if ends[1:]:
        settings["end_tokens"] = ends
    for name in ("add_bos_token", "add_eos_token"):
        settings[name] = _get(fields, name, bool, where, False)
    template = fields.get("tokenizer.chat_template")
    if template is not None and not isinstance(template, str):
        raise ValueError(f"{where}: tokenizer.chat_template is not a string.")
    return settings | ({"chat_template": template} if template else {})


# ------------------------------------------------------------------ models


def _byte_level(fields, tokens, kinds, settings, where):
    """Builds byte-level BPE from merges."""
    del kinds
    name = _get(fields, "pre", str, where, _usual_words(fields))
    if name not in byte_level_presets.WORDS:
        raise ValueError(
            f"{where}: tokenizer.ggml.pre {name[:64]!r}."
            f"{suggest(name[:64], byte_level_presets.WORDS)}"
        )
    if (
        byte_level_presets.WORDS[name] is byte_level_presets.llama3
        and "tokenizer.ggml.add_bos_token" not in fields
    ):
        settings["add_bos_token"] = True  # llama.cpp's default for Llama 3
    merges = [m.partition(" ") for m in _get(fields, "merges", list, where)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    pairs = [(left, right) for left, _, right in merges]
    return byte_level_presets.build(vocabulary, pairs, name)


def _usual_words(fields) -> str | None:
    """Returns the rule of GPT-2 for old files of GPT-2, which have no name of it."""
    return "gpt-2" if fields.get("general.architecture") == "gpt2" else None


def _sentencepiece(fields, tokens, kinds, settings, where):
    """Builds SentencePiece's BPE from scores."""
    scores = _scores(fields, tokens, where)
    if "tokenizer.ggml.add_bos_token" not in fields:
        settings["add_bos_token"] = True  # llama.cpp's default
    unknown = [t for t, kind in zip(tokens, kinds, strict=True) if kind == _UNKNOWN]
    engine = sentencepiece.pipeline(
        tokens,
        scores,
        unknown[0] if unknown else None,
        byte_fallback=_BYTE in kinds,
        prefix_space=_get(fields, "add_space_prefix", bool, where, True),
    )
    if _get(fields, "remove_extra_whitespaces", bool, where, False):
        blanks = normalizers.Replace(tokenizers.Regex(" {2,}"), " ")
        steps = [normalizers.Strip(), blanks, engine.normalizer]
        engine.normalizer = normalizers.Sequence(steps)
    return engine


def _unigram(fields, tokens, kinds, settings, where):
    """Builds SentencePiece's Unigram of T5 from scores.

    A file has no names of T5's <extra_id_0> and so on, only unused tokens.
    """
    for name in ("add_space_prefix", "remove_extra_whitespaces"):
        if not _get(fields, name, bool, where, True):
            raise ValueError(
                f"{where}: tokenizer.ggml.{name} False; True allowed with the model t5."
            )
    if _UNKNOWN not in kinds:
        raise ValueError(
            f"{where}: tokenizer.ggml.token_type has no unknown token ({_UNKNOWN})."
        )
    none = np.zeros(0, np.uint8)
    content = _get(fields, "precompiled_charsmap", np.ndarray, where, none).tobytes()
    try:
        if content:
            charsmap.read(content)
    except ValueError as error:
        raise ValueError(f"{where}: tokenizer.ggml.{error}.") from None
    # llama.cpp's defaults
    settings["eos_token"] = settings["eos_token"] or dict(enumerate(tokens)).get(1)
    if "tokenizer.ggml.add_eos_token" not in fields:
        settings["add_eos_token"] = True
    return unigram.pipeline(
        list(zip(tokens, _scores(fields, tokens, where), strict=True)),
        kinds.index(_UNKNOWN),
        content,
        byte_fallback=_BYTE in kinds,
    )


def _scores(fields, tokens, where) -> list[float]:
    """Returns the score of each token."""
    scores = _get(fields, "scores", np.ndarray, where)
    if scores.shape != (len(scores),) or len(scores) < len(tokens):
        raise ValueError(
            f"{where}: tokenizer.ggml.scores has {len(scores)} numbers for "
            f"{len(tokens)} tokens."
        )
    return scores[: len(tokens)].tolist()


_MODELS = {"gpt2": _byte_level, "llama": _sentencepiece, "t5": _unigram}
