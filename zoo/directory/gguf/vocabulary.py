"""Writes a tokenizer as fields of a GGUF file, which `tokenizer` reads.

A file has the name of the rule that splits a text into words (byte-level BPE), or a
score for each token (SentencePiece's BPE). The fields are read back and compared.
"""

import json
from typing import Any

import gguf
import numpy as np
import tokenizers

from zoo.directory.gguf import tokenizer as gguf_tokenizer
from zoo.text.importers import byte_level_presets, post_processor
from zoo.text.tokenizer import Tokenizer

_KIND = gguf.TokenType
# llama.cpp splits words at "default" in another way.
_NAMES = [name for name in byte_level_presets.WORDS if name != "default"]
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
_ALLOWED = (
    f"byte-level BPE with the words of {', '.join(_NAMES)}, or SentencePiece's BPE"
)

# What a file can express of each part of `_essence`.
_EXPRESSIBLE = {
    "tokens": "tokens with ids one after the other",
    "merges": "merges of every two tokens that make a third, sorted by the third",
    "words": "what SentencePiece does with spaces",
    "added tokens": "those that keep the spaces beside them, special if "
    "tokenizer_config.json names them",
    "settings": "no dropout, prefix or suffix",
}


def fields(tokenizer: Tokenizer, size: int) -> dict[str, Any]:
    """Returns the fields of a file, by their full names.

    Args:
      tokenizer: a `Tokenizer`.
      size: the number of tokens of the model. Padding tokens are added to reach it.

    Raises:
      ValueError: a tokenizer that a file cannot express.
    """
    # The library's spelling; the file may have another one.
    spec = json.loads(tokenizers.Tokenizer.from_str(tokenizer.json).to_str())
    model = spec["model"]
    if model["type"] != "BPE":
        raise _refusal(f"of the type {model['type']}")
    if tokenizer.vocab_size > size:
        raise _refusal(f"of {tokenizer.vocab_size} tokens", f"up to {size}")
    ids = _ids(spec)
    tokens = [f"[PAD{i}]" for i in range(size)]
    kinds = np.full(size, _KIND.UNUSED, np.int32)
    for token, number in ids.items():
        tokens[number], kinds[number] = token, _KIND.NORMAL
    name = _words(spec)
    values: dict[str, Any]
    if name is not None:
        if not model["merges"]:
            raise _refusal("without merges")
        merges = [" ".join(pair) for pair in model["merges"]]
        values = {"model": "gpt2", "pre": name, "merges": merges}
    elif model["byte_fallback"]:
        # Gemma has "\t" as a token instead of its byte.
        kinds[[ids[byte] for byte in _BYTES if byte in ids]] = _KIND.BYTE
        steps = [step["type"] for step in _steps(spec["normalizer"])]
        values = {
            "model": "llama",
            "scores": _scores(model, ids, size),
            "add_space_prefix": "Prepend" in steps,
        }
    else:
        raise _refusal("that splits a text into words by a rule without a name")
    for added in spec["added_tokens"]:
        special = _KIND.CONTROL if added["special"] else _KIND.USER_DEFINED
        kinds[added["id"]] = special
    if name is None and model["unk_token"] in ids:
        kinds[ids[model["unk_token"]]] = _KIND.UNKNOWN
    values |= {"tokens": tokens, "token_type": kinds, **_settings(tokenizer, ids)}
    values = {f"tokenizer.ggml.{name}": value for name, value in values.items()}
    template = tokenizer.chat_template
    if template:
        if not isinstance(template, str):
            raise _refusal("with several chat templates", "one")
        values["tokenizer.chat_template"] = template
    found = _essence(json.loads(gguf_tokenizer.read(values, "GGUF").json))
    for what, wanted in _essence(spec).items():
        if found[what] != wanted:
            raise _refusal(
                f"with {what} that a file cannot express", _EXPRESSIBLE[what]
            )
    return values


def _settings(tokenizer, ids):
    """Returns the ids of special tokens, and which of them frame a text."""
    values = {}
    for hf_name, name in gguf_tokenizer.NAMED.items():
        token = tokenizer.config.get(hf_name)
        token = token.get("content") if isinstance(token, dict) else token
        if token in ids:
            values[name] = ids[token]
    ends = [tokenizer.end_token, *tokenizer.config.get("end_tokens", ())]
    first, *more = [*dict.fromkeys(ids[end] for end in ends if end in ids)] or [None]
    if len(more) > len(gguf_tokenizer.MORE_ENDS):
        raise _refusal(
            f"with {len(more) + 1} tokens that end a text",
            f"at most {len(gguf_tokenizer.MORE_ENDS) + 1}",
        )
    values |= dict(zip(gguf_tokenizer.MORE_ENDS, more, strict=False))
    before, after = post_processor.frame(tokenizer.json)
    for what, there, number in (
        ("bos", before, values.get("bos_token_id")),
        ("eos", after, first),
    ):
        if there not in ([], [number]):
            raise _refusal(
                f"that puts the tokens {there} around a text",
                f"none or {what}_token",
            )
        values[f"add_{what}_token"] = there != []
    return values


# ------------------------------------------------------------------ parts of a file


def _ids(spec) -> dict[str, int]:
    """Returns the id of each token of a tokenizer.json."""
    added = {token["content"]: token["id"] for token in spec["added_tokens"]}
    return spec["model"]["vocab"] | added


def _scores(model, ids, size):
    """Returns a score for each token; tokens that merge first have the best ones."""
    scores = np.zeros(size, np.float32)
    for rank, merges in enumerate(_blocks(model["merges"]), 1):
        for merge in merges:
            scores[ids["".join(merge)]] = -rank
    return scores


def _blocks(merges) -> list[list[tuple[str, str]]]:
    """Cuts merges where no piece has some before and some behind.

    A block of several pieces is of equal scores, as Gemma's runs of spaces are.
    """
    last = {"".join(merge): place for place, merge in enumerate(merges)}
    blocks, end = [], -1
    for place, merge in enumerate(merges):
        if place > end:
            blocks.append([])
        end = max(end, last["".join(merge)])
        blocks[-1].append(tuple(merge))
    return blocks


def _words(spec) -> str | None:
    """Returns llama.cpp's name of the rule that splits a text into words, or None."""
    rule = _rule(spec)
    for name in _NAMES:
        if _rule(json.loads(byte_level_presets.build({}, [], name).to_str())) == rule:
            return name
    return None


def _rule(spec):
    """Returns the parts of a tokenizer.json that decide how a text is split."""
    before, split = _steps(spec["normalizer"]), _steps(spec["pre_tokenizer"])
    if any(step.get("pattern") == {"String": " "} for step in before):
        # Gemma splits at spaces, but its normalizer leaves none
        split = [step for step in split if step.get("pattern") != {"String": " "}]
    return before, split, spec["model"]["ignore_merges"]


def _steps(part) -> list[dict]:
    """Returns the steps of a normalizer or pre-tokenizer that affect ids."""
    if part is None:
        return []
    if part["type"] == "Sequence":
        inner = part.get("normalizers", part.get("pretokenizers"))
        return [step for part in inner for step in _steps(part)]
    return [{k: v for k, v in part.items() if k != "trim_offsets"}]


def _essence(spec) -> dict[str, Any]:
    """Returns all parts of a tokenizer.json that affect ids."""
    model = spec["model"]
    flags = ("special", "lstrip", "rstrip", "single_word")
    flags += ("normalized",) if spec["normalizer"] else ()
    return {
        "tokens": _ids(spec),
        # the order of merges that make one piece changes no id
        "merges": [
            {*block} if len({*map("".join, block)}) == 1 else block
            for block in _blocks(model["merges"])
        ],
        "words": _rule(spec),
        "added tokens": {
            token["id"]: [token[flag] for flag in flags]
            for token in spec["added_tokens"]
        },
        "settings": [
            model[name] or None
            for name in (
                "dropout",
                "byte_fallback",
                "continuing_subword_prefix",
                "end_of_word_suffix",
            )
        ],
    }


def _refusal(what, allowed=_ALLOWED):
    return ValueError(f"GGUF: a tokenizer {what}; {allowed} allowed.")
