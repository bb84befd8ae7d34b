"""Audits of language models: memorised text, and bias by minimal pairs."""

import dataclasses
from typing import Any

import numpy as np

from trainers.evaluation import answers, language
from trainers.evaluation import request as requests
from trainers.evaluation.measured import Evaluated, Measured
from trainers.evaluation.request import Request
from zoo.data import formats, sources
from zoo.data.formats.rows import Rows
from zoo.decode import generate
from zoo.directory import Loaded
from zoo.metrics import audit

NAMES = ("memorisation", "bias")
_BATCH = 16  # prompts at a time


def memorisation(
    loaded: Loaded, request: Request, train_source: str, tokens: int
) -> Evaluated:
    """How often greedy answers to held-out prompts repeat the training text.

    A prompt of documents is `tokens` tokens of a held-out document; the model adds
    twice as many, or max_new_tokens. A prompt of other formats is that of the example.

    Args:
      loaded: a language model with a tokenizer.
      request: the held-out data.
      train_source: a spec of `zoo.data.sources`, in the same format.
      tokens: how many in a row count as a repetition.

    Returns:
      `repeated`, the share of prompts whose answer repeats the training text; and
      `repeated_reference`, the same of what really follows, for comparison.

    Raises:
      ValueError: a source is missing or broken, or the data are too short.
    """
    if tokens < 1:
        raise ValueError(f"--repeated: {tokens}, at least 1 allowed.")
    tokenizer: Any = loaded.tokenizer
    new = request.knobs.get("max_new_tokens", 2 * tokens)
    request, limit = dataclasses.replace(request, limit=0), request.limit
    if request.format in ("", "lm"):
        train = formats.language_model(sources.documents(train_source), tokenizer)
        pairs = _cut(requests.documents(request), tokenizer, tokens, new)
    else:
        examples = list(sources.numbered(train_source))
        train = language.read_rows(loaded.model, tokenizer, examples, request)
        rows = language.read_rows(
            loaded.model, tokenizer, requests.examples(request), request
        )
        pairs = [
            (example.prompt, tokenizer.encode(example.reference))
            for example in language.answered(rows, tokenizer)
        ]
    if not pairs:
        raise ValueError(
            f"{request.name}: no document has {tokens + new} tokens, as a prompt of "
            f"{tokens} and an answer of {new} need."
        )
    if limit:  # prompts from all over the data
        pairs = pairs[:: max(len(pairs) // limit, 1)][:limit]
    seen = audit.SeenNgrams(train.tokens, tokens)
    knobs = {"temperature": 0.0, "beams": 1, "max_new_tokens": new}
    longest = max(len(prompt) for prompt, _ in pairs)
    config = answers.generation_of(loaded, {**request.knobs, **knobs}, longest, 1)
    pairs.sort(key=lambda pair: len(pair[0]))
    continuations, size = [], request.batch or _BATCH
    for first in range(0, len(pairs), size):
        prompts = [prompt for prompt, _ in pairs[first : first + size]]
        found = generate(loaded.model, tokenizer, prompts, config)
        continuations += [answer.tokens for answer in found]
    measures = {
        "repeated": Measured(audit.memorised(continuations, seen)),
        "repeated_reference": Measured(audit.memorised((r for _, r in pairs), seen)),
    }
    facts = {"prompts": len(pairs), "tokens": tokens, "max_new_tokens": new}
    about = (
        f"{request.name}: {len(pairs)} prompts; answers of at most {new} tokens that "
        f"repeat {tokens} tokens of {train_source}"
    )
    return Evaluated(about, facts, measures)


def bias(loaded: Loaded, pairs: str, batch: int = 0) -> Evaluated:
    """How often the first text of a minimal pair is the more probable one.

    Args:
      loaded: a language model with a tokenizer.
      pairs: a JSON lines file, with the texts `more` and `less` in each object.
      batch: texts at a time; 0 is as many as have 4,096 tokens.

    Returns:
      `preferred`, the share of pairs, where 0.5 is no preference; and `margin`, the
      mean of log p(more) - log p(less) in nats.

    Raises:
      ValueError: a file that is missing or broken, or a text that does not fit.
    """
    texts = []
    for where, example in sources.numbered(f"jsonl:{pairs}"):
        if isinstance(example, ValueError):
            raise example
        for column in ("more", "less"):
            value = example.get(column)
            if not isinstance(value, str) or not value:
                raise ValueError(
                    f"--pairs: {where}: {column} is {value!r:.60}, a text allowed."
                )
            texts.append(value)
    if not texts:
        raise ValueError(f"--pairs: {pairs} has no pair.")
    rows = _text_rows(loaded, texts)
    logprobs_N = -language.losses(loaded.model, rows, batch)[:, 0]
    more_N, less_N = logprobs_N[::2], logprobs_N[1::2]
    measures = {
        "preferred": Measured(audit.preferred(more_N, less_N)),
        "margin": Measured(more_N - less_N),
    }
    facts = {"pairs": len(more_N)}
    return Evaluated(f"{pairs}: {len(more_N)} pairs", facts, measures)


def _cut(documents, tokenizer, prompt, new) -> list[tuple[list[int], list[int]]]:
    """Prompts out of documents, each with the `new` tokens that really follow."""
    pairs = []
    for ids in tokenizer.encode_batch(documents):
        for first in range(0, len(ids) - prompt - new + 1, prompt + new):
            middle = first + prompt
            begin = tokenizer.prefix if first == 0 else []
            pairs.append((begin + ids[first:middle], ids[middle : middle + new]))
    return pairs


def _text_rows(loaded, texts) -> Rows:
    """Rows of whole texts, of which every token counts."""
    tokenizer: Any = loaded.tokenizer
    begin = tokenizer.prefix or [tokenizer.end_id]
    if begin == [None]:
        raise ValueError("--pairs: the tokenizer has no token to begin a text with.")
    tokens = [begin + ids for ids in tokenizer.encode_batch(texts)]
    longest, limit = max(map(len, tokens)), loaded.model.limit
    if limit and longest - 1 > limit:
        raise ValueError(
            f"--pairs: a text has {longest} tokens, at most {limit + 1} allowed."
        )
    weights = [[0.0] * len(begin) + [1.0] * (len(ids) - len(begin)) for ids in tokens]
    starts = np.cumsum([0, *map(len, tokens)], dtype=np.int64)
    return Rows(
        np.concatenate(tokens).astype(np.int32),
        np.concatenate(weights).astype(np.float32),
        starts,
        {},
    )
