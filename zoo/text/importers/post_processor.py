"""The tokens that a post-processor puts around a text, such as [CLS] and [SEP]."""

import tokenizers

_WORD = "a"


def frame(tokenizer_json: str) -> tuple[list[int], list[int]]:
    """The ids before and after the tokens of a single text.

    The library encodes a word with and without its post-processor.

    Args:
      tokenizer_json: the content of a tokenizer.json.

    Raises:
      ValueError: the post-processor does more than to put tokens around a text.
    """
    engine = tokenizers.Tokenizer.from_str(tokenizer_json)
    engine.no_truncation()
    engine.no_padding()
    framed, plain = engine.encode(_WORD), engine.encode(_WORD, add_special_tokens=False)
    size = len(plain.ids)
    count = len(framed.ids) - size
    for start in range(count + 1):
        # special_tokens_mask says which tokens the post-processor added
        added = [1] * start + [0] * size + [1] * (count - start)
        if framed.special_tokens_mask == added and not any(framed.type_ids):
            return framed.ids[:start], framed.ids[start + size :]
    raise ValueError(
        f"tokenizer.json: the post_processor makes {framed.tokens} of {_WORD!r}; only "
        "tokens of type 0 around a text allowed."
    )
