"""Evaluation of language models, on documents and on single examples."""

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from trainers.evaluation import answers
from trainers.evaluation import request as requests
from trainers.evaluation.measured import Evaluated, of_losses
from trainers.evaluation.request import Request
from trainers.evaluation.sums import row_sums
from zoo.data import batches, formats, streams
from zoo.data.formats.rows import Rows
from zoo.data.sources.examples import cell
from zoo.directory import Loaded
from zoo.fields import one_of
from zoo.text.tokenizer import Tokenizer

FORMATS = ("lm", "chat", "instruction", "prompt")  # of language models
_TOKENS = 4096  # of a batch


class Answered(NamedTuple):
    """An example of a prompt and its answer.

    Attributes:
      prompt: the tokens before the last text that is learnt.
      reference: the last text that is learnt, without its end token.
      bytes: of all texts that are learnt, in UTF-8; an end token counts as one.
    """

    prompt: list[int]
    reference: str
    bytes: int


def evaluate(loaded: Loaded, request: Request) -> Evaluated:
    """The numbers of a language model, by the request's format.

    Raises:
      ValueError: an unknown format, or data that are broken or do not fit.
    """
    if request.format not in ("", "lm"):
        return of_rows(loaded, request)
    if request.metrics:
        raise ValueError(
            "--metrics: documents have no right answers; give --format, one of "
            f"{', '.join(FORMATS[1:])}."
        )
    return of_documents(loaded, request)


def of_documents(loaded: Loaded, request: Request) -> Evaluated:
    """The loss of documents, joined and read in windows that overlap.

    Raises:
      ValueError: a source that is missing or broken, or a number that does not fit.
    """
    model = loaded.model
    tokenizer: Any = loaded.tokenizer
    stream = requests.stream(request, tokenizer)
    if stream is None:
        stream = streams.of_texts(requests.documents(request), tokenizer)
    length = request.length
    if not length:
        length = request.default_length or model.config.context
        length = min(length, max(stream.tokens - 1, 1))
    if model.limit and length > model.limit:
        raise ValueError(
            f"--length: {length}, at most the model's {model.limit} allowed."
        )
    stride = request.stride or max(length // 2, 1)
    batch = request.batch or max(_TOKENS // length, 1)
    dataset, _ = batches.eval_stream(stream, length, batch, stride)
    began = time.perf_counter()
    with stream.damage.shown():
        sums_R2 = row_sums(model, dataset)
    seconds = time.perf_counter() - began
    sums_R2 = sums_R2[sums_R2[:, 1] > 0]  # without those that fill the last batch
    if not len(sums_R2):
        raise ValueError(f"{request.name}: no token to predict.")
    # a window's share of the bytes is that of its tokens
    bytes_R = sums_R2[:, 1] / sums_R2[:, 1].sum() * stream.bytes
    facts = {
        "documents": stream.documents,
        "bytes": stream.bytes,
        "tokens": stream.tokens - 1,
        "window": length,
        "stride": stride,
    }
    about = (
        f"{request.name}: {stream.documents} documents, {stream.bytes} bytes, "
        f"{facts['tokens']} tokens; window {length}, stride {stride}; {seconds:.1f} s"
    )
    return Evaluated(about, facts, of_losses(sums_R2, bytes_R))


def of_rows(loaded: Loaded, request: Request) -> Evaluated:
    """The loss of the answers of examples, and metrics of generated answers.

    Raises:
      ValueError: a source or a row is broken, or a number does not fit.
    """
    model = loaded.model
    tokenizer: Any = loaded.tokenizer
    samples = answers.samples_of(request.metrics, request.samples)
    found = requests.examples(request)
    rows = read_rows(model, tokenizer, found, request)
    given = answered(rows, tokenizer)
    measures = {}
    facts: dict[str, Any] = {"examples": len(given), **rows.counts}
    task = None
    if request.metrics:
        references = _references(request, found, rows, given)
        answers.check(request.metrics, references, request.tokenize)
        longest = max(len(example.prompt) for example in given)
        config = answers.generation_of(loaded, request.knobs, longest, samples)
        prompts = [example.prompt for example in given]
        task = answers.Task(
            request.metrics, prompts, references, config, samples, request.tokenize
        )
    sums_R2 = losses(model, rows, request.batch)
    bytes_R = np.array([example.bytes for example in given], np.float64)
    measures |= of_losses(sums_R2, bytes_R)
    if task is not None:
        measures |= task.measures(model, tokenizer, request.batch)
        knobs = task.generation
        facts["generation"] = knobs.to_json(tokenizer.end_id) | {"seed": knobs.seed}
        facts["samples"] = samples
    counts = ", ".join(f"{count} {name}" for name, count in rows.counts.items())
    about = f"{request.name}: {len(given)} examples ({counts}), format {request.format}"
    return Evaluated(about, facts, measures, numbers=rows.numbers)


def read_rows(model: Any, tokenizer: Tokenizer, found: list, request: Request) -> Rows:
    """The rows of examples in the request's format.

    Args:
      model: a language model.
      tokenizer: its tokenizer.
      found: examples with their places.
      request: its format, fields, length, and what it does with bad and long rows.

    Raises:
      ValueError: a format that has no rows, or more bad rows than allowed.
    """
    one_of("--format", request.format, FORMATS)
    length = request.length or request.default_length or model.limit
    if model.limit and length > model.limit:
        raise ValueError(
            f"--length: {length}, at most the model's {model.limit} allowed."
        )
    with requests.names_of_flags():
        return formats.rows.read(
            found,
            formats.BY_NAME[request.format],
            tokenizer,
            length + 1 if length else sys.maxsize,
            request.fields,
            request.too_long,
            request.max_bad_rows,
        )


def losses(model: Any, rows: Rows, batch: int = 0) -> np.ndarray:
    """The loss in nats and the weight of each row, float64 [R, 2]."""
    return of_each_row(lambda dataset: row_sums(model, dataset), rows, batch)


def of_each_row(
    sums: Callable[[Any], np.ndarray], rows: Rows, batch: int = 0
) -> np.ndarray:
    """What a function of batches finds for each row, in the order of the rows.

    Args:
      sums: such as `row_sums`; gives an array [R, ...] for batches of R rows.
      rows: the rows.
      batch: rows at a time; 0 is as many as have 4,096 tokens.
    """
    lengths = np.diff(rows.starts)
    batch = batch or max(_TOKENS // batches.bucket(int(lengths.max()) - 1), 1)
    dataset = batches.eval_rows(rows.tokens, rows.weights, rows.starts, batch)
    # `eval_rows` sorts by length, and fills the last batch
    sorted_R = sums(dataset)[: len(lengths)]
    found_R = np.zeros_like(sorted_R)
    found_R[np.argsort(lengths, kind="stable")] = sorted_R
    return found_R


def answered(rows: Rows, tokenizer: Tokenizer) -> list[Answered]:
    """The prompt and the answer of each row; of a chat, the last answer."""
    ends, found = set(tokenizer.end_ids), []
    for first, last in zip(rows.starts[:-1], rows.starts[1:], strict=True):
        tokens = rows.tokens[first:last].tolist()
        learnt = np.flatnonzero(rows.weights[first:last])
        spans = np.split(learnt, np.flatnonzero(np.diff(learnt) > 1) + 1)
        size, text = 0, ""
        for span in spans:
            ids = [tokens[place] for place in span]
            text = tokenizer.decode([i for i in ids if i not in ends], continuing=True)
            size += len(text.encode()) + sum(i in ends for i in ids)
        found.append(Answered(tokens[: spans[-1][0]], text, size))
    return found


def _references(request, found, rows, given) -> list[list[str]]:
    """The right answers to each prompt: of a column, or what the format learns."""
    if not request.references:
        return [[example.reference] for example in given]
    columns = []
    for number in rows.numbers:
        where, example = found[number]
        given = cell(example, request.references, None)
        texts = [given] if isinstance(given, str) else given
        if (
            not isinstance(texts, list)
            or not texts
            or not all(isinstance(text, str) for text in texts)
        ):
            raise ValueError(
                f"--references: {request.references!r} of {where} is {given!r:.60}; a "
                "text or a list of texts allowed."
            )
        columns.append(texts)
    return columns
