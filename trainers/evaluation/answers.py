"""Generated answers to prompts, beside the right ones.

A task is a format, the knobs of generation and the names of metrics:

    exact_match, f1           SQuAD's, of short answers
    final_number              whether the number behind `#### ` is right, as in GSM8K
    bleu, chrf                of all answers together, by sacrebleu
    rouge1, rouge2, rougeL    by rouge-score
    pass@K                    the probability that one of K samples is right, by the
                              final number, or exactly where references have none

Of several samples, pass@K reads all and the others read the first.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from trainers.evaluation.measured import Measured
from zoo.decode import generate
from zoo.decode.generate import Generated
from zoo.directory import Loaded
from zoo.fields import suggest
from zoo.generation_config import GenerationConfig
from zoo.metrics import generation, question_answering
from zoo.row_seeds import row_seed

NAMES = (
    "exact_match",
    "f1",
    "final_number",
    "bleu",
    "chrf",
    *generation.ROUGES,
)
_PASS = re.compile(r"pass@([1-9][0-9]{0,3})")
_BATCH = 16  # answers at a time


def samples_of(names: Sequence[str], samples: int = 0) -> int:
    """How many answers to each prompt the metrics need.

    Args:
      names: of metrics.
      samples: how many are wanted; 0 is as few as possible.

    Raises:
      ValueError: an unknown name, or fewer samples than a metric needs.
    """
    needed = 1
    for name in names:
        match = _PASS.fullmatch(name)
        if match is None and name not in NAMES:
            raise ValueError(
                f"--metrics: {name!r}.{suggest(name, (*NAMES, 'pass@1', 'pass@10'))}"
            )
        needed = max(needed, int(match[1]) if match else 1)
    if samples and samples < needed:
        raise ValueError(f"--samples: {samples}, at least {needed} allowed.")
    return samples or needed


class Task(NamedTuple):
    """Prompts whose generated answers are scored.

    Attributes:
      names: of metrics.
      prompts: token ids.
      references: of each prompt, one or several right answers.
      generation: the knobs of all prompts.
      samples: answers to each prompt.
      tokenize: as in `scores`.
    """

    names: tuple[str, ...]
    prompts: list[list[int]]
    references: Sequence[Sequence[str]]
    generation: GenerationConfig
    samples: int = 1
    tokenize: str = "13a"

    def measures(self, model: Any, tokenizer: Any, batch: int = 0) -> dict:
        """Generates the answers, and returns the `Measured` of each metric.

        Args:
          model: a language model.
          tokenizer: its tokenizer.
          batch: answers at a time; 0 is 16.
        """
        loaded = Loaded(model, tokenizer, self.generation)
        texts = sampled(loaded, self.prompts, self.generation, self.samples, batch)
        return scores(self.names, texts, self.references, self.tokenize)


def generation_of(
    loaded: Loaded, knobs: dict, longest: int, samples: int
) -> GenerationConfig:
    """The knobs of all prompts for a model; arguments and errors are of `knobs_of`."""
    tokenizer: Any = loaded.tokenizer
    given, limit = loaded.generation, loaded.model.limit
    return knobs_of(given, knobs, longest, samples, limit, tokenizer.vocab_size)


def knobs_of(
    generation: GenerationConfig,
    knobs: dict,
    longest: int,
    samples: int,
    limit: int,
    vocab_size: int,
) -> GenerationConfig:
    """The knobs of all prompts: the model's own defaults, and those that are given.

    Args:
      generation: the model's own defaults.
      knobs: those that are given.
      longest: tokens of the longest prompt.
      samples: answers to each prompt.
      limit: positions of the model; 0 is any number.
      vocab_size: of the tokenizer.

    Raises:
      ValueError: the given ones do not fit the model or each other, or samples would
        all be equal.
    """
    config = dataclasses.replace(generation, **{"num_return_sequences": 1, **knobs})
    if config.num_return_sequences > 1:
        raise ValueError(
            f"--num_return_sequences: {config.num_return_sequences}, 1 allowed: the "
            "best answer of a search is scored."
        )
    if samples > 1 and config.temperature == 0:
        raise ValueError(
            f"--temperature: 0 makes all {samples} samples equal; above 0 allowed."
        )
    room = limit - longest if limit else config.max_new_tokens
    if room < 1:
        raise ValueError(
            f"--too_long: a prompt has {longest} tokens and leaves no room for an "
            f"answer in the model's context of {limit}."
        )
    if "max_new_tokens" in knobs and config.max_new_tokens > room:
        raise ValueError(
            f"--max_new_tokens: {config.max_new_tokens}, at most {room} allowed: the "
            f"longest prompt has {longest} tokens, the model's context is {limit}."
        )
    return config.fitted(room, vocab_size)


def sampled(
    loaded: Loaded,
    prompts: Sequence[list[int]],
    config: GenerationConfig,
    samples: int = 1,
    batch: int = 0,
) -> list[list[str]]:
    """The answers to each prompt.

    Prompts of like lengths are answered together.

    Args:
      loaded: a language model with a tokenizer.
      prompts: token ids.
      config: the knobs.
      samples: answers to each prompt.
      batch: answers at a time; 0 is 16.

    Returns:
      `samples` texts for each prompt, in the order of the prompts.
    """
    found = generated(loaded, prompts, config, samples, batch)
    return [[answer.text for answer in answers] for answers in found]


def generated(
    loaded: Loaded,
    prompts: Sequence[list[int]],
    config: GenerationConfig,
    samples: int = 1,
    batch: int = 0,
) -> list[list[Generated]]:
    """The answers of `sampled`, with their tokens.

    The answers depend on the seed, on all prompts, and on `batch`.
    """
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    rows = [i for i in order for _ in range(samples)]
    found: list[list[Generated]] = [[] for _ in prompts]
    size = batch or _BATCH
    tokenizer: Any = loaded.tokenizer
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        seeded = dataclasses.replace(config, seed=row_seed(config.seed, first))
        answers = generate(loaded.model, tokenizer, [prompts[i] for i in part], seeded)
        for i, answer in zip(part, answers, strict=True):
            found[i].append(answer)
    return found


def check(
    names: Sequence[str], references: Sequence[Sequence[str]], tokenize: str
) -> None:
    """Refuses what a metric cannot read, before anything is generated.

    Raises:
      ValueError: `final_number` is wanted, and an example has no number; or the
        tokenizer of `tokenize` is unknown or not installed.
    """
    try:
        generation.check_tokenizer(tokenize)
    except ValueError as error:
        raise ValueError(f"--{error}") from None
    for number, wanted in enumerate(references):
        if "final_number" in names and not _numbers(wanted):
            raise ValueError(
                f"--metrics: final_number, but the reference {wanted[0]!r:.60} of "
                f"example {number} has no number behind '#### '."
            )


def scores(
    names: Sequence[str],
    answers: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    tokenize: str = "13a",
) -> dict[str, Measured]:
    """The metrics of answers.

    Args:
      names: of metrics.
      answers: of each prompt, one or several.
      references: of each prompt, one or several right answers.
      tokenize: of BLEU and, but for "13a", of ROUGE: `zoo.metrics.generation`.

    Raises:
      ValueError: an unknown name, or references that a metric cannot read.
    """
    samples_of(names, min(map(len, answers)))
    check(names, references, tokenize)
    first = [samples[0] for samples in answers]
    rouges = {}
    if set(names) & set(generation.ROUGES):
        words = "" if tokenize == "13a" else tokenize
        rouges = generation.rouge(first, references, words)
    found = {}
    for name in names:
        if name in generation.ROUGES:
            found[name] = Measured(rouges[name])
        elif name in ("bleu", "chrf"):
            score = (
                generation.bleu(first, references, tokenize)
                if name == "bleu"
                else generation.chrf(first, references)
            )
            found[name] = Measured(score.rows_NS, score.measure, score.signature)
        elif match := _PASS.fullmatch(name):
            found[name] = Measured(_passes(answers, references, int(match[1])))
        else:
            pairs = zip(first, references, strict=True)
            found[name] = Measured(np.array([_BY_ANSWER[name](*p) for p in pairs]))
    return found


def _passes(answers, references, k) -> np.ndarray:
    """The pass@k of each prompt."""
    by_number = all(map(_numbers, references))
    check = _final_number if by_number else question_answering.exact_match
    return np.array(
        [
            generation.pass_at_k(
                len(samples), sum(check(a, wanted) == 1 for a in samples), k
            )
            for samples, wanted in zip(answers, references, strict=True)
        ]
    )


def _numbers(references) -> set[float]:
    """The final numbers of the right answers to one prompt."""
    found = map(question_answering.final_number, references)
    return {number for number in found if number is not None}


def _final_number(answer, references) -> float:
    """1 where the final number of an answer is right, else 0."""
    return float(question_answering.final_number(answer) in _numbers(references))


_BY_ANSWER = {
    "exact_match": question_answering.exact_match,
    "f1": question_answering.f1,
    "final_number": _final_number,
}
