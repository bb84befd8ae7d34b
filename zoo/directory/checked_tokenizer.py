"""Fits a tokenizer to its model, and warns of what it lacks.

Some models have fewer rows in their embedding than their tokenizer has tokens. Gemma 3
1B has 262,144 rows, and its tokenizer a token 262144 for images. The model can neither
read nor sample such a token, so it is removed from the tokenizer.
"""

import json
import warnings
from typing import Any

from zoo.directory import assemble
from zoo.directory.pretrained import Pretrained
from zoo.text.importers import sides
from zoo.text.tokenizer import Tokenizer


def checked(found: Pretrained) -> Pretrained:
    """Returns a `Pretrained` whose tokenizers are checked when they are read.

    A model whose sources have a vocabulary of their own needs a tokenizer of sources,
    if it has one of targets; it raises a ValueError then.
    """

    def tokenizer():
        result = called(found.tokenizer)
        if result is None:
            return None
        rows = getattr(assemble.config_of(found), "vocab_size", None)
        return check(result, rows, found.where)

    def source_tokenizer():
        result, config = called(found.source_tokenizer), assemble.config_of(found)
        if result is not None:
            rows = getattr(config, "source_ids", None)
            return check(result, rows, f"{found.where}: {sides.OWN[0]}")
        own = getattr(config, "source_vocab_size", 0)
        if own and called(found.tokenizer) is not None:
            raise ValueError(
                f"{found.where}: has no {sides.OWN[0]}; the model's sources have a "
                f"vocabulary of their own, source_vocab_size {own}."
            )
        return None

    return found._replace(tokenizer=tokenizer, source_tokenizer=source_tokenizer)


def called(tokenizer: Any) -> Tokenizer | None:
    """Returns the tokenizer of a `Pretrained`, which may be a function."""
    found: Any = tokenizer() if callable(tokenizer) else tokenizer
    return found


def refuse_source(config: Any, tokenizer, source_tokenizer) -> None:
    """Refuses a tokenizer of sources that is missing or has no use.

    Args:
      config: of the model.
      tokenizer: a `Tokenizer` or None.
      source_tokenizer: a `Tokenizer` or None.

    Raises:
      ValueError: the model has no sources, or sources need a tokenizer of their own.
    """
    own = getattr(config, "source_vocab_size", 0)
    if source_tokenizer is None and tokenizer is not None and own:
        raise ValueError(
            "source_tokenizer: None; a Tokenizer allowed, because the model's sources "
            f"have a vocabulary of their own, source_vocab_size {own}."
        )
    if source_tokenizer is not None and config.task != "seq2seq":
        raise ValueError(
            f"source_tokenizer: given; None allowed for the task {config.task!r}."
        )
    if source_tokenizer is not None and tokenizer is None:
        raise ValueError("source_tokenizer: given; None allowed without a tokenizer.")


def check(tokenizer: Tokenizer, rows: int | None, where: str) -> Tokenizer:
    """Returns a tokenizer whose ids are all below `rows`.

    Args:
      tokenizer: a `Tokenizer`, which is returned unchanged if all its ids fit.
      rows: the number of rows of the model's embedding; None if it is not known.
      where: the start of warnings and error messages.

    Raises:
      ValueError: the tokenizer puts a removed token around each text.

    Warns:
      UserWarning: tokens of plain text are removed, or no token ends a text.
    """
    if rows is not None and tokenizer.vocab_size > rows:
        tokenizer = _fit(tokenizer, rows, where)
    if not tokenizer.end_ids:
        warnings.warn(
            f"{where}: no token ends a text: no file names an eos_token or an "
            "eos_token_id of the vocabulary. Generated texts end by their length.",
            stacklevel=2,
        )
    return tokenizer


def _fit(tokenizer, rows, where) -> Tokenizer:
    """Removes all tokens whose ids are not below `rows`."""
    spec = json.loads(tokenizer.json)
    model, added = spec["model"], spec.get("added_tokens") or []
    removed = {token["content"] for token in added if token["id"] >= rows}
    plain = _remove_from_model(model, rows) - removed
    spec["added_tokens"] = [token for token in added if token["id"] < rows]
    _check_frame(spec.get("post_processor"), rows, where)
    if plain:
        warnings.warn(
            f"{where}: the tokenizer has {tokenizer.vocab_size} tokens, the model "
            f"{rows} rows; {len(plain)} tokens of plain text are not used, such as "
            f"{min(plain)!r}.",
            stacklevel=3,
        )
    config = _without(tokenizer.config, removed | plain)
    return Tokenizer(json.dumps(spec, ensure_ascii=False), config)


def _remove_from_model(model, rows) -> set[str]:
    """Removes tokens and their merges from the model of a tokenizer.json."""
    vocab = model["vocab"]
    if isinstance(vocab, list):  # Unigram has pairs of a token and its score
        model["vocab"] = vocab[:rows]
        return {token for token, _ in vocab[rows:]}
    removed = {token for token, number in vocab.items() if number >= rows}
    model["vocab"] = {token: number for token, number in vocab.items() if number < rows}
    if "merges" in model:
        model["merges"] = [
            merge
            for merge in model["merges"]
            if not removed & {*(pair := _pair(merge)), "".join(pair)}
        ]
    return removed


def _pair(merge) -> list[str]:
    """Returns the two tokens of a merge, which older files write as one string."""
    return merge.split(" ") if isinstance(merge, str) else merge


def _check_frame(processor, rows, where):
    """Refuses a post-processor that adds a token without a row."""
    parts = [processor or {}]
    for part in parts:
        parts.extend(part.get("processors") or [])
        for token in (part.get("special_tokens") or {}).values():
            for number in token["ids"]:
                if number >= rows:
                    raise ValueError(
                        f"{where}: the tokenizer adds the token {number} to each text; "
                        f"0 to {rows - 1} allowed, the rows of the model."
                    )


def _without(config, removed):
    """Returns a tokenizer_config.json without the fields that name removed tokens."""
    kept = {}
    for name, value in config.items():
        if isinstance(value, list):
            value = [token for token in value if _content(token) not in removed]
        elif isinstance(value, dict) and name == "added_tokens_decoder":
            value = {k: v for k, v in value.items() if _content(v) not in removed}
        elif name.endswith("_token") and _content(value) in removed:
            value = None
        kept[name] = value
    return kept


def _content(token):
    """Returns the text of a token, which may be an object."""
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else None
