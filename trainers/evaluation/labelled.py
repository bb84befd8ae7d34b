"""Evaluation of models that answer a text, or its words, with labels."""

from typing import Any

import numpy as np

from trainers.evaluation import labels
from trainers.evaluation import request as requests
from trainers.evaluation.measured import Evaluated, Measured, of_classes, of_values
from trainers.evaluation.request import Request
from zoo.data import batches, formats, mixtures
from zoo.directory import Loaded
from zoo.metrics import bootstrap

_ROWS = 16  # of a batch


def evaluate(loaded: Loaded, request: Request) -> Evaluated:
    """The numbers of a model that classifies, tags or regresses.

    Raises:
      ValueError: the format is not that of the task; a source, a row or a label is
        broken, or too many are.
    """
    model, config = loaded.model, loaded.model.config
    name = "tag" if config.task == "tag" else "classify"
    if request.format not in ("", name):
        raise ValueError(
            f"--format: {request.format!r}, but the model's task is {config.task}; "
            f"{name} allowed."
        )
    if request.metrics:
        raise ValueError(
            f"--metrics: {', '.join(request.metrics)}, but a model with labels "
            "generates no answers; leave it out."
        )
    rows = _rows(loaded, request, name)
    dataset = batches.eval_labelled(
        rows.tokens,
        rows.starts,
        rows.labels,
        request.batch or _ROWS,
        rows.weights if name == "tag" else None,
    )
    answers: Any = labels.make_answers()(model, dataset)
    counts = ", ".join(f"{count} {what}" for what, count in rows.counts.items())
    about = f"{request.name}: {len(rows.numbers)} examples ({counts})"
    if config.task == "classify":
        found = of_classes(
            about, answers.labels_N, answers.probabilities_NC, config.labels
        )
    elif config.task == "regress":
        found = of_values(about, answers.labels_N, answers.answers_N)
    else:
        found = _of_tags(about, answers, config)
    facts = {**rows.counts, "examples": len(rows.numbers)}
    return found._replace(facts=facts, numbers=rows.numbers)


def _rows(loaded, request, name):
    """The rows of the examples, with the indices of their labels."""
    with requests.names_of_flags():
        columns = formats.rows.columns(formats.BY_NAME[name], request.fields)
        column = columns["tags" if name == "tag" else "label"]
        parts = mixtures.parts(request.source)
        if request.held_out:
            data = request.held_out.run.data
            parts = mixtures.parts(data.source, data.mixture)
            parts = mixtures.parts(data.valid) if data.valid else parts
        names = mixtures.label_names(parts, column)
    labels = formats.Labels(loaded.model.config.labels, names)
    return requests.framed_rows(loaded, request, name, labels)


def _of_tags(about, answers, config) -> Evaluated:
    """The numbers of a tagger; the bootstrap draws texts, not words."""
    _, row_N, count_R = np.unique(
        answers.rows_N, return_inverse=True, return_counts=True
    )

    def by_text(values_N) -> Measured:
        sums_R2 = np.stack([np.bincount(row_N, values_N), count_R], 1)
        return Measured(sums_R2, bootstrap.ratio)

    measures: dict[str, Any] = {
        "loss": by_text(answers.losses_N),
        "accuracy": by_text(answers.labels_N == answers.answers_N),
    }
    if labels.marks_entities(config.labels):
        measures["entity_f1"] = Measured(*labels.sample_rows(answers, config))
    confusion_CC = labels.confusion(answers, config)
    return Evaluated(about, {}, measures, confusion_CC, config.labels)
