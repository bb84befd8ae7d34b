"""Evaluation of encoder-decoders: the loss of targets, and measures of answers."""

import dataclasses
from typing import Any

import numpy as np

from trainers.evaluation import answers
from trainers.evaluation import request as requests
from trainers.evaluation.measured import Evaluated, Measured, of_losses
from trainers.evaluation.request import Request
from trainers.evaluation.sums import row_sums
from zoo.data import batches, formats
from zoo.data.formats import Rows
from zoo.data.sources.examples import cell
from zoo.directory import Loaded
from zoo.fields import one_of
from zoo.metrics import bootstrap, generation, overlap

_METRICS = ("bleu", "chrf", *generation.ROUGES)
_BATCH = 16  # examples at a time


def evaluate(loaded: Loaded, request: Request) -> Evaluated:
    """The numbers of an encoder-decoder on sources with targets.

    Answers are compared with the target as the data have it.

    Raises:
      ValueError: another format, a source or a row that is broken, or a number that
        does not fit.
    """
    one_of("--format", request.format or "seq2seq", ("seq2seq",))
    model: Any = loaded.model
    tokenizer: Any = loaded.tokenizer
    config = model.config
    names = request.metrics or _METRICS
    samples = answers.samples_of(names, request.samples)
    found = requests.examples(request)
    source_tokenizer = loaded.source_tokenizer or tokenizer
    format = formats.BY_NAME["seq2seq"]
    with requests.names_of_flags():
        sides = formats.seq2seq.sides(
            config, source_tokenizer, tokenizer, request.prefix
        )
        wanted = request.length or request.default_length
        most, most_target = formats.seq2seq.limits(config, wanted)
        columns = formats.rows.columns(format, request.fields)
        rows = formats.rows.read(
            found,
            format,
            sides,
            (most, most_target + 1),
            request.fields,
            request.too_long,
            request.max_bad_rows,
        )
    given: list[Any] = [found[i][1] for i in rows.numbers[::2]]
    sources, references = (
        [cell(example, columns[field]) for example in given] for field in columns
    )
    knobs = answers.knobs_of(
        loaded.generation,
        request.knobs,
        0,  # a source takes no place of the answer
        samples,
        config.context,
        tokenizer.vocab_size,
    )
    wanted_texts = [[reference] for reference in references]
    answers.check(names, wanted_texts, request.tokenize)
    sums_R2 = losses(model, rows, request.batch or _BATCH)
    sizes = None
    if not rows.counts["cut"]:
        sizes = np.array([len(text.encode()) + 1.0 for text in references])
    measures = of_losses(sums_R2, sizes)
    own = dataclasses.replace(knobs)
    texts = answers.sampled(
        loaded, formats.seq2seq.sources(rows), own, samples, request.batch
    )
    measures |= answers.scores(names, texts, wanted_texts, request.tokenize)
    first = [one[0] for one in texts]
    measures |= shape(first, references, sources)
    facts: dict[str, Any] = {"examples": len(given), **rows.counts}
    facts["generation"] = knobs.to_json(tokenizer.end_id) | {"seed": knobs.seed}
    facts["samples"] = samples
    counts = ", ".join(f"{count} {name}" for name, count in rows.counts.items())
    about = f"{request.name}: {len(given)} examples ({counts}), format seq2seq"
    return Evaluated(about, facts, measures, numbers=rows.numbers[::2])


def shape(answers, references, sources) -> dict[str, Measured]:
    """The length ratio, the repetition rate and the copy rate of answers."""
    ratio = bootstrap.ratio
    return {
        "length_ratio": Measured(overlap.lengths(answers, references), ratio),
        "repetition": Measured(overlap.repetition(answers), ratio, "4-grams"),
        "copied": Measured(overlap.copying(answers, sources), ratio, "2-grams"),
    }


def losses(model: Any, rows: Rows, batch: int) -> np.ndarray:
    """The loss in nats and the weight of each example, float64 [R, 2]."""
    dataset = batches.eval_seq2seq(
        rows.tokens, rows.starts, batch, model.config.padding_id
    )
    count = (len(rows.starts) - 1) // 2
    numbers_R = np.concatenate([made["row"].numpy() for made in dataset])[:count]
    found_R2 = np.zeros((count, 2))
    found_R2[numbers_R] = row_sums(model, dataset)[:count]
    return found_R2
