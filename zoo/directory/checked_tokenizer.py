"""Fits a tokenizer to its model, and warns of what it lacks.

Some models have fewer rows in their embedding than their tokenizer has tokens. Gemma 3
1B has 262,144 rows, and its tokenizer a token 262144 for images. The model can neither
read nor sample such a token, so it is removed from the tokenizer.
"""

import json
import warnings

from zoo.text.tokenizer import Tokenizer


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
