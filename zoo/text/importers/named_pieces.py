"""Keeps the special tokens of a Unigram model out of text that names them.

The pieces of the model hold the names of special tokens, so plain text with `</s>`
becomes that token, even if `encode_special_tokens` is set. A last pre-tokenizer
(`Split`) cuts each name behind its first character. transformers does not do that: the
ids of texts with such a name differ from its ids. All other texts keep their ids.

Example: `end</s>` has the words `▁end<` and `/s>`, and no piece `</s>`.
"""

import json
import re
from typing import Any

import tokenizers
from tokenizers import models, pre_tokenizers


def keep_out(engine: tokenizers.Tokenizer) -> bool:
    """Adds the cut to a tokenizer. Other kinds than Unigram stay as they are.

    Args:
      engine: the tokenizer.

    Returns:
      Whether that changed the tokenizer.

    Raises:
      ValueError: as `cut` does.
    """
    if not isinstance(engine.model, models.Unigram):
        return False
    fields = json.loads(engine.to_str())
    step = cut(fields)
    before = fields["pre_tokenizer"] or {}
    steps = before.get("pretokenizers", [before] if before else [])
    if step in (None, *steps[-1:]):
        return False
    kept = [old for old in steps if not _is_cut(old)]
    state = {"type": "Sequence", "pretokenizers": [*kept, step]}
    changed = pre_tokenizers.Sequence([])
    changed.__setstate__(json.dumps(state).encode())
    engine.pre_tokenizer = changed
    return True


def _is_cut(step) -> bool:
    """Whether `cut` made a pre-tokenizer, perhaps for fewer tokens."""
    made = step["type"] == "Split" and step["behavior"] == "MergedWithPrevious"
    return made and "(?=" in step["pattern"].get("Regex", "")


def cut(fields: dict[str, Any]) -> dict[str, Any] | None:
    """The pre-tokenizer that a tokenizer.json needs as its last one, or None.

    Args:
      fields: a tokenizer.json of a Unigram model.

    Raises:
      ValueError: as `names` does.
    """
    found = names(fields)
    if not found:
        return None
    pattern = "|".join(f"{re.escape(n[0])}(?={re.escape(n[1:])})" for n in found)
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "MergedWithPrevious",
        "invert": False,
    }


def names(fields: dict[str, Any]) -> list[str]:
    """The special tokens that are pieces too.

    Args:
      fields: a tokenizer.json of a Unigram model.

    Raises:
      ValueError: the name of one is one character, or overlaps another by more.
    """
    pieces = {piece for piece, _ in fields["model"]["vocab"]}
    special = {t["content"] for t in fields["added_tokens"] if t["special"]}
    found = sorted(special & pieces)
    ends: dict[str, str] = {}
    for name in found:
        if len(name) == 1:
            raise ValueError(f"the special token {name!r} is a piece of one character")
        ends |= {name[size:]: name for size in range(1, len(name) - 1)}
    for name in found:
        for size in range(2, len(name) + 1):
            if name[:size] in ends:
                other = ends[name[:size]]
                raise ValueError(f"the special tokens {other!r} and {name!r} overlap")
        inside = [n for n in found if n != name and n in name]
        if inside:
            raise ValueError(f"the special tokens {inside[0]!r} and {name!r} overlap")
    return found


def groups(found: list[str]) -> list[list[str]]:
    """Groups names so that none ends with the first character of its mates.

    Args:
      found: as `names` returns it.
    """
    result: list[list[str]] = []
    for name in found:
        for group in result:
            starts = {mate[0] for mate in (*group, name)}
            if not starts & {mate[-1] for mate in (*group, name)}:
                group.append(name)
                break
        else:
            result.append([name])
    return result
