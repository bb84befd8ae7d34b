"""The feed of models that answer a text with labels: texts, or words, with labels."""

from collections.abc import Iterator

import numpy as np

from trainers import evaluation
from trainers.evaluation import confusion_matrix, labels
from trainers.feeds import text
from trainers.feeds.feed import Evaluate, Feed
from trainers.roles import Start
from trainers.run import Run
from zoo.data import augmentation, batches, formats, mixtures, sources, splits
from zoo.data.formats import Labels, Rows
from zoo.data.sources.examples import cell


def make(run: Run, start: Start) -> Feed:
    """Makes the rows of all examples, and holds out some of them for evaluation.

    A model without a tokenizer gets a new one, trained on the texts. Names of classes
    are those of the model, else those of the training data.

    Raises:
      ValueError: the format is not that of the model's task; the source, a row or a
        label is broken, or too many are; a label occurs in the evaluation data only;
        the tokenizer has more tokens than the model.
    """
    data, config = run.data, start.config
    name = "tag" if config.task == "tag" else "classify"
    if data.format != name:
        raise ValueError(
            f"config.data.format: {data.format!r}, but the model's task is "
            f"{config.task}; {name} allowed."
        )
    format = formats.BY_NAME[name]
    columns = formats.rows.columns(format, data.fields)
    parts = mixtures.parts(data.source, data.mixture)
    train, valid = mixtures.split(splits.examples, parts, data.valid, data.hold_out)
    together = [example for examples in train for example in examples]
    train_labels, valid_labels = _labels(run, config, columns, parts, together, valid)
    tokenizer = text.tokenizer_of(run, start, _texts(together, columns))
    text.check_vocabulary(tokenizer, config)
    frame, length = text.framed_window(run, tokenizer, config)

    def read(examples, allowed) -> Rows:
        return formats.rows.read(
            examples,
            format,
            tokenizer,
            length,
            data.fields,
            data.too_long,
            data.max_bad_rows,
            allowed,
            frame,
        )

    of_parts = [read(examples, train_labels) for examples in train]
    rows = mixtures.join_rows(of_parts)
    counts = [len(own.starts) - 1 for own in of_parts]
    held_out = read(valid, valid_labels) if valid else None
    for part, own in zip(parts, of_parts, strict=True):
        print(f"{part.source}: {own.about}")
    if data.mixture:
        print("\n".join(mixtures.about(parts, counts, "rows")))

    def train_from(number, roles):
        del roles
        return batches.labelled_batches(
            rows.tokens,
            rows.starts,
            rows.labels,
            data.batch,
            run.seed,
            number,
            rows.weights if name == "tag" else None,
            augmentation.changer(
                data.augment, run.seed, len(frame.before), len(frame.after)
            ),
            counts,
            [part.share for part in parts],
        )

    evaluate: Evaluate | None = None
    confusion: list[np.ndarray] = []  # of the last evaluation
    if held_out is not None:
        print(f"{data.valid or 'held out'}: {held_out.about}")
        dataset = batches.eval_labelled(
            held_out.tokens,
            held_out.starts,
            held_out.labels,
            evaluation.rows_at_once(run),
            held_out.weights if name == "tag" else None,
        )
        answers_of = labels.make_answers()

        def evaluate_rows(roles):
            model = roles[run.objective.trains[0]]
            answers = answers_of(model, dataset)
            if model.config.classes:
                confusion[:] = [labels.confusion(answers, model.config)]
            return labels.metrics(answers, model.config)

        evaluate = evaluate_rows

    def pictures():
        if not confusion:
            return {}
        png = confusion_matrix.draw(confusion[0], train_labels.names)
        return {"confusion": png} if png else {}

    def prepare(roles):
        for role, source in run.objective.needs.items():
            adapt = getattr(roles[role], "adapt", None)
            # pretrained weights belong to the statistics that they were trained with
            if adapt and source in ("model", "start") and start.pretrained is None:
                adapt(rows.tokens, rows.starts[:-1])

    return Feed(
        train_from,
        evaluate,
        len(rows.starts) - 1,
        ("rows", data.batch),
        tokenizer,
        prepare,
        lambda roles: "",
        text.fingerprint_of(data, tokenizer),
        batches.bucket(int(max(np.diff(rows.starts)))),
        train_labels.names,
        pictures=pictures,
    )


def _labels(run, config, columns, parts, train, valid) -> tuple[Labels, Labels]:
    """What labels of the training and of the evaluation data may be."""
    if config.task == "regress":
        return Labels(), Labels()
    data, column = run.data, columns["tags" if config.task == "tag" else "label"]
    indexed = mixtures.label_names(parts, column)
    other = sources.label_names(data.valid, column) if data.valid else indexed
    names = config.labels
    if not names:
        found = formats.labels.names_of(train, column, indexed)
        known = indexed
        if known and data.mixture:  # a source that names no integers may add labels
            known = (*known, *sorted(found.keys() - set(known)))
        names = formats.labels.ordered(found, known, config.classes)
        indices = Labels(names, other).indexed
        for name, where in formats.labels.names_of(valid, column, indices).items():
            if name not in names:
                raise ValueError(
                    f"{where}: the label {name!r} occurs in the evaluation data only; "
                    "name all labels as config.model.labels."
                )
    return Labels(names, indexed), Labels(names, other)


def _texts(examples, columns) -> Iterator[str]:
    """The texts of the examples that have one, to train a tokenizer on."""
    for _, example in examples:
        try:
            if isinstance(example, ValueError):
                continue
            if "text" in columns:
                found = cell(example, columns["text"])
                if isinstance(found, str):
                    yield found
            else:
                yield " ".join(formats.tag.words_of(cell(example, columns["tokens"])))
        except ValueError:
            continue  # a bad row, which the format names
