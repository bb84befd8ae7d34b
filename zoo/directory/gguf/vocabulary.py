"""What a GGUF file says of a tokenizer, so that `gguf_tokenizer` reads the same one.

A file names the rule that cuts a text into words (byte-level BPE), or gives each piece
a score (SentencePiece's BPE). What is written is read back and compared.
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
# llama.cpp cuts words at "default" in a way of its own.
_NAMES = [name for name in byte_level_presets.WORDS if name != "default"]
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
_ALLOWED = (
    f"byte-level BPE with the words of {', '.join(_NAMES)}, or SentencePiece's BPE"
)

# What a file can say of the parts of `_essence`.
_SAID = {
    "tokens": "tokens with ids one after the other",
    "merges": "merges of every two pieces that make a third, sorted by the third",
    "words": "what SentencePiece does with spaces",
    "added tokens": "those that keep the spaces beside them, special where "
    "tokenizer_config.json names them",
    "settings": "no dropout, prefix or suffix",
}


def fields(tokenizer: Tokenizer, size: int) -> dict[str, Any]:
    """The fields of a file, by their whole names.

    Args:
      tokenizer: any.
      size: how many tokens the model has; what the tokenizer lacks is filled up.

    Raises:
      ValueError: a tokenizer that a file cannot say.
    """
    # in the library's own spelling, whatever that of the file is
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
    said: dict[str, Any]
    if name is not None:
        if not model["merges"]:
            raise _refusal("without merges")
        merges = [" ".join(pair) for pair in model["merges"]]
        said = {"model": "gpt2", "pre": name, "merges": merges}
    elif model["byte_fallback"]:
        # Gemma has "\t" as a token instead of its byte.
        kinds[[ids[byte] for byte in _BYTES if byte in ids]] = _KIND.BYTE
        steps = [step["type"] for step in _steps(spec["normalizer"])]
        said = {
            "model": "llama",
            "scores": _scores(model, ids, size),
            "add_space_prefix": "Prepend" in steps,
        }
    else:
        raise _refusal("that cuts a text into words in a way without a name")
    for added in spec["added_tokens"]:
        special = _KIND.CONTROL if added["special"] else _KIND.USER_DEFINED
        kinds[added["id"]] = special
    if name is None and model["unk_token"] in ids:
        kinds[ids[model["unk_token"]]] = _KIND.UNKNOWN
    said |= {"tokens": tokens, "token_type": kinds, **_settings(tokenizer, ids)}
    said = {f"tokenizer.ggml.{name}": value for name, value in said.items()}
    template = tokenizer.chat_template
    if template:
        if not isinstance(template, str):
            raise _refusal("with several chat templates", "one")
        said["tokenizer.chat_template"] = template
    found = _essence(json.loads(gguf_tokenizer.read(said, "GGUF").json))
    for what, wanted in _essence(spec).items():
        if found[what] != wanted:
            raise _refusal(f"with {what} that a file cannot say", _SAID[what])
    return said


def _settings(tokenizer, ids):
    """The ids of some tokens, and which of them are put around a text."""
    said = {}
    for theirs, ours in gguf_tokenizer.NAMED.items():
        token = tokenizer.config.get(theirs)
        token = token.get("content") if isinstance(token, dict) else token
        if token in ids:
            said[ours] = ids[token]
    ends = [tokenizer.end_token, *tokenizer.config.get("end_tokens", ())]
    first, *more = dict.fromkeys(ids[end] for end in ends if end in ids)
    if len(more) > len(gguf_tokenizer.MORE_ENDS):
        raise _refusal(
            f"with {len(more) + 1} tokens that end a text",
            f"at most {len(gguf_tokenizer.MORE_ENDS) + 1}",
        )
    said |= dict(zip(gguf_tokenizer.MORE_ENDS, more, strict=False))
    before, after = post_processor.frame(tokenizer.json)
    for what, there, number in (
        ("bos", before, said.get("bos_token_id")),
        ("eos", after, first),
    ):
        if there not in ([], [number]):
            raise _refusal(
                f"that puts the tokens {there} around a text",
                f"none or {what}_token",
            )
        said[f"add_{what}_token"] = there != []
    return said


# ------------------------------------------------------------------ its parts


def _ids(spec) -> dict[str, int]:
    added = {token["content"]: token["id"] for token in spec["added_tokens"]}
    return spec["model"]["vocab"] | added


def _scores(model, ids, size):
    """Pieces that merge first have the best score; the rest is never asked for."""
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
    """llama.cpp's name of the rule that cuts a text into words."""
    rule = _rule(spec)
    for name in _NAMES:
        if _rule(json.loads(byte_level_presets.build({}, [], name).to_str())) == rule:
            return name
    return None


def _rule(spec):
    before, split = _steps(spec["normalizer"]), _steps(spec["pre_tokenizer"])
    if any(step.get("pattern") == {"String": " "} for step in before):
        # Gemma cuts at spaces, of which its normalizer leaves none
        split = [step for step in split if step.get("pattern") != {"String": " "}]
    return before, split, spec["model"]["ignore_merges"]


def _steps(part) -> list[dict]:
    """The steps of a normalizer or a pre-tokenizer, without what changes no id."""
    if part is None:
        return []
    if part["type"] == "Sequence":
        inner = part.get("normalizers", part.get("pretokenizers"))
        return [step for one in inner for step in _steps(one)]
    return [{k: v for k, v in part.items() if k != "trim_offsets"}]


def _essence(spec) -> dict[str, Any]:
    """All that decides which ids a text becomes."""
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
