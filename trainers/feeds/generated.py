"""Answers that a language model generates to held-out prompts while it trains.

The numbers are those of `python -m trainers.evaluate --format --metrics`.
"""

import re
from typing import Any

from trainers.evaluation import answers, language
from trainers.roles import Start
from trainers.run import Run
from zoo.data.formats import Rows
from zoo.decode import generate
from zoo.fields import one_of
from zoo.generation_config import KNOBS, SEARCH, GenerationConfig
from zoo.text.tokenizer import Tokenizer

__all__ = ["check", "generate", "of_sources", "task"]

_NUMBERS = {"int32": int, "int64": int, "float32": float}
_FLAG = re.compile(r"--(\w+)(: )?")  # the shared checks name flags of the command


def check(run: Run, config: Any) -> None:
    """Refuses what can be refused before the data are read.

    Args:
      run: the Run.
      config: of the model that learns.

    Raises:
      ValueError: an unknown metric or knob; or metrics of a run that learns no answers.
    """
    data = run.data
    knobs = _knobs(data.generation)
    if not data.metrics:
        for field in ("metric_rows", "generation"):
            if value := getattr(data, field):
                raise ValueError(
                    f"config.data.{field}: {value!r}, but config.data.metrics is "
                    "empty; leave it out."
                )
        return
    answers_rows = config.task == "generate" and data.format in language.FORMATS[1:]
    answers_rows |= config.task == "seq2seq" and data.format == "seq2seq"
    if run.objective.feed != "text" or not answers_rows:
        raise ValueError(
            f"config.data.metrics: {data.metrics!r} are of generated answers; a "
            f"language model and a config.data.format of "
            f"{', '.join(language.FORMATS[1:])} allowed, or an encoder-decoder and "
            "seq2seq."
        )
    try:
        answers.samples_of(data.metrics)
        GenerationConfig(**knobs)
    except ValueError as error:
        raise _of_config(error) from None


def task(
    run: Run, start: Start, tokenizer: Tokenizer, held_out: Rows | None
) -> answers.Task | None:
    """The prompts that each evaluation answers; None without metrics.

    Args:
      run: the Run.
      start: what it starts from.
      tokenizer: of the model.
      held_out: the rows of the evaluation data; None without such data.

    Raises:
      ValueError: there are no such rows; a prompt leaves no room for an answer; or a
        metric cannot read a reference.
    """
    data = run.data
    if not data.metrics:
        return None
    if held_out is None:
        raise ValueError(
            f"config.data.metrics: {data.metrics!r}, but nothing is held out; set "
            "config.data.valid or hold_out."
        )
    given = language.answered(held_out, tokenizer)
    prompts = [example.prompt for example in given]
    texts = [example.reference for example in given]
    return _task(run, start, tokenizer, prompts, texts, max(map(len, prompts)))


def of_sources(
    run: Run,
    start: Start,
    tokenizer: Tokenizer,
    sources: list[list[int]],
    references: list[str],
) -> answers.Task | None:
    """The sources that each evaluation answers; None without metrics.

    Args:
      run: the Run.
      start: what it starts from.
      tokenizer: of targets.
      sources: the token ids of held-out sources.
      references: their targets.

    Raises:
      ValueError: the knobs do not fit, or a metric cannot read a reference.
    """
    if not run.data.metrics:
        return None
    # a source takes no place of the answer
    return _task(run, start, tokenizer, sources, references, 0)


def _task(run, start, tokenizer, prompts, texts, longest) -> answers.Task:
    """The task of the first prompts; `longest` tokens of the context are taken."""
    data = run.data
    prompts = prompts[: data.metric_rows or None]
    references = [[text] for text in texts[: data.metric_rows or None]]
    try:
        samples = answers.samples_of(data.metrics)
        answers.check(data.metrics, references, "13a")
        generation = answers.knobs_of(
            start.generation or GenerationConfig(),
            _knobs(data.generation),
            longest,
            samples,
            start.config.context,
            tokenizer.vocab_size,
        )
    except ValueError as error:
        raise _of_config(error) from None
    return answers.Task(data.metrics, prompts, references, generation, samples)


def _knobs(entries: tuple[str, ...]) -> dict[str, Any]:
    """The knobs of entries "KNOB=VALUE"; several of `stop` are several strings."""
    found: dict[str, Any] = {}
    dtypes = {knob.name: knob.dtype for knob in KNOBS + SEARCH}
    for entry in entries:
        name, _, text = entry.partition("=")
        one_of("config.data.generation", name, dtypes)
        if dtypes[name] == "string":
            found[name] = (*found.get(name, ()), text)
            continue
        try:
            found[name] = _NUMBERS[dtypes[name]](text)
        except ValueError:
            raise ValueError(
                f"config.data.generation: {entry!r}, {name}=NUMBER allowed."
            ) from None
    return found


def _of_config(error: ValueError) -> ValueError:
    """The error of a shared check, with the Run's fields in the place of flags."""

    def field(match):
        if match[1] in ("metrics", "too_long"):
            return f"config.data.{match[0][2:]}"
        return f"config.data.generation: {match[1]} "

    text = _FLAG.sub(field, str(error))
    return ValueError(
        text if text.startswith("config.") else f"config.data.generation: {text}"
    )
