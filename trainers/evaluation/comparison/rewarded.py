"""Answers that a language model samples to prompts, with their rewards."""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from trainers import rewards
from trainers.evaluation import answers
from trainers.evaluation import request as requests
from trainers.evaluation.request import Request
from zoo.data import formats
from zoo.data.sources import Example
from zoo.data.sources.examples import cell
from zoo.directory import Loaded
from zoo.fields import one_of

FORMATS = ("prompts",)


class Prompt(NamedTuple):
    """A prompt that a model can read.

    Attributes:
      number: of its example among those of the request.
      tokens: ids.
      text: of the prompt; a chat is the text of its template.
      given: the prompt as the example has it: a text, or messages.
      example: all fields.
    """

    number: int
    tokens: list[int]
    text: str
    given: Any
    example: Example


class Answered(NamedTuple):
    """The answers to one prompt.

    Attributes:
      prompt: the prompt.
      samples: the answers, as rewards read them.
      finished: of each answer, whether an end token or a stop string ended it.
      parts_NP: float64, the parts of each answer's reward.
      reward_N: float64, their weighted sums.
    """

    prompt: Prompt
    samples: list[rewards.Sample]
    finished: list[bool]
    parts_NP: np.ndarray
    reward_N: np.ndarray


def prompts_of(loaded: Loaded, where: str, request: Request) -> list[Prompt]:
    """The prompts of a request that fit a model.

    Args:
      loaded: a language model with a tokenizer.
      where: its directory, for messages.
      request: its source, fields and limits; the format is "prompts".

    Raises:
      ValueError: the model is no language model with a tokenizer; the format is another
        one; or the data are missing, broken or too long.
    """
    if loaded.model.config.task != "generate" or loaded.tokenizer is None:
        raise ValueError(f"{where}: is no language model with a tokenizer.")
    one_of("--format", request.format or "prompts", FORMATS)
    tokenizer, limit = loaded.tokenizer, loaded.model.limit
    found = requests.examples(request)
    kind = formats.BY_NAME["prompts"]
    try:
        column = formats.rows.columns(kind, request.fields)["prompt"]
        rows = formats.rows.read(
            found,
            kind,
            tokenizer,
            request.length or (limit - 1 if limit else sys.maxsize),
            request.fields,
            request.too_long,
            request.max_bad_rows,
        )
    except ValueError as error:  # whose fields are flags here
        raise ValueError(str(error).replace("config.data.", "--")) from None
    prompts = []
    for row, number in enumerate(rows.numbers):
        example: Any = found[number][1]
        tokens = rows.tokens[rows.starts[row] : rows.starts[row + 1]].tolist()
        given = cell(example, column)
        text = formats.prompts.text_of(given, tokenizer)
        prompts.append(Prompt(number, tokens, text, given, example))
    return prompts


def answered(
    loaded: Loaded,
    prompts: Sequence[Prompt],
    score: rewards.Rewards,
    knobs: dict[str, Any],
    samples: int,
    batch: int = 0,
) -> list[Answered]:
    """Samples answers to prompts and scores them.

    Args:
      loaded: a language model with a tokenizer.
      prompts: at least one.
      score: the rewards.
      knobs: of generation, those that are given.
      samples: answers to each prompt.
      batch: answers at a time; 0 is 16.

    Raises:
      ValueError: the knobs do not fit the model, or a reward fails.
    """
    longest = max(len(prompt.tokens) for prompt in prompts)
    config = answers.generation_of(loaded, knobs, longest, samples)
    tokens = [prompt.tokens for prompt in prompts]
    found = answers.generated(loaded, tokens, config, samples, batch)
    ends = set(loaded.tokenizer.end_ids if loaded.tokenizer else ())
    flat = [
        rewards.Sample(
            prompt.text,
            answer.text,
            prompt.tokens + answer.tokens,
            answer.tokens[-1] in ends,
            prompt.example,
            len(prompt.tokens),
        )
        for prompt, group in zip(prompts, found, strict=True)
        for answer in group
    ]
    parts_NP = score(flat)
    reward_N = parts_NP @ score.weights
    results = []
    for i, (prompt, group) in enumerate(zip(prompts, found, strict=True)):
        own = slice(i * samples, (i + 1) * samples)
        finished = [answer.finish_reason == "stop" for answer in group]
        results.append(
            Answered(prompt, flat[own], finished, parts_NP[own], reward_N[own])
        )
    return results
