"""The special tokens of tokenizer_config.json, added as transformers 4.57 does."""

from collections.abc import Iterator
from typing import Any

import tokenizers
from tokenizers import processors

from zoo.text.importers import sentencepiece
from zoo.text.tokenizer import NAMED_TOKENS

# Whether these add a start token where the settings do not say. Other classes of
# transformers 4.57 leave it to the post-processor of tokenizer.json.
_START_BY_CLASS = {"LlamaTokenizer": True, "GemmaTokenizer": True}
_START_BY_CLASS["GPTNeoXTokenizer"] = False


def add(engine: tokenizers.Tokenizer, settings: dict) -> bool:
    """Adds the tokens that the settings list, and marks the special ones.

    Args:
      engine: the tokenizer.
      settings: the fields of tokenizer_config.json.

    Returns:
      Whether that changed the tokenizer.

    Raises:
      ValueError: a new token does not get the id that the settings list.
    """
    added = {t.content: t for t in engine.get_added_tokens_decoder().values()}
    special, changed = set(_named(settings)), False
    listed = settings.get("added_tokens_decoder") or {}
    for number in sorted(listed, key=int):
        fields = {k: v for k, v in listed[number].items() if k != "__type"}
        content = fields.pop("content")
        token = tokenizers.AddedToken(content, **fields)
        token.special = token.special or content in special
        if content in added and repr(added[content]) == repr(token):
            continue
        engine.add_tokens([token])
        added[content], changed = token, True
        if engine.token_to_id(token.content) != int(number):
            raise ValueError(
                f"the added token {token.content!r} should be {number}, but is "
                f"{engine.token_to_id(token.content)}."
            )
    named = [settings.get(name) for name in NAMED_TOKENS]
    more = settings.get("additional_special_tokens") or []
    for token in [*named, *more]:
        name = content_of(token)
        # The model has no embedding of a token that is not in the vocabulary.
        if not name or engine.token_to_id(name) is None:
            continue
        if name not in added:
            flags = token if isinstance(token, dict) else {}
            sides = {side: flags.get(side, False) for side in ("lstrip", "rstrip")}
            added[name] = tokenizers.AddedToken(name, normalized=False, **sides)
        if not added[name].special:
            engine.add_special_tokens([added[name]])
            added[name].special, changed = True, True
    return changed


def add_frame(engine: tokenizers.Tokenizer, settings: dict) -> bool:
    """Adds the start and end token where the tokenizer's class in transformers does.

    Args:
      engine: the tokenizer.
      settings: the fields of tokenizer_config.json.

    Returns:
      Whether that changed the tokenizer.
    """
    name = settings.get("tokenizer_class")
    if not isinstance(name, str):
        start = False if "add_bos_token" in settings else None
    else:
        start = _START_BY_CLASS.get(name.removesuffix("Fast"))
    if start is None:
        return False
    before = engine.post_processor and engine.post_processor.__getstate__()
    sentencepiece.add_start_and_end(engine, settings, start)
    after = engine.post_processor and engine.post_processor.__getstate__()
    asked = settings.get("add_bos_token", start) or settings.get("add_eos_token")
    if not asked and engine.encode("").ids:
        engine.post_processor = processors.TemplateProcessing("$A", "$A $B:1", [])
        return True
    return before != after


def by_id(ids: dict[str, int], settings: dict) -> dict[str, dict]:
    """The tokens of added_tokens.json in the form of `added_tokens_decoder`.

    Args:
      ids: the content of added_tokens.json.
      settings: the fields of tokenizer_config.json.
    """
    special = set(_named(settings))
    listed = {
        str(number): {"content": content, "special": content in special}
        for content, number in ids.items()
    }
    return listed | (settings.get("added_tokens_decoder") or {})


def _named(settings) -> Iterator[str]:
    """The names of all special tokens."""
    for token in [settings.get(name) for name in NAMED_TOKENS]:
        if token:
            yield content_of(token)
    yield from map(content_of, settings.get("additional_special_tokens") or [])


def content_of(token) -> Any:
    """The text of a token, which is a string or an object in a file."""
    return token.get("content") if isinstance(token, dict) else token
