"""The feed of models that read features: the rows of a table with a label."""

from trainers import evaluation
from trainers.feeds.feed import Evaluate, Feed
from trainers.roles import Start
from trainers.run import Run
from zoo.data import batches, tables


def make(run: Run, start: Start) -> Feed:
    """Reads the table, and holds out rows where no evaluation table is given.

    Raises:
      ValueError: the model reads no features; the table is missing or broken; its
        columns or labels do not fit the model.
    """
    data, config = run.data, start.config
    if config.reads != "features":
        raise ValueError(
            f"config.model: {type(config).__module__} takes no features, and the "
            f"objective {run.objective.name} learns from a table."
        )
    everything = tables.table(data.source)
    if data.valid:
        train, valid = everything, tables.table(data.valid, everything.label_names)
    elif data.hold_out:
        train, valid = tables.hold_out_rows(everything, data.hold_out, run.seed)
    else:
        train, valid = everything, None
    for rows in (train, valid):
        _check(rows, config, data.source)

    def train_from(number, roles):
        del roles
        return batches.table_batches(
            train.features_NF, train.labels_N, data.batch, run.seed, start=number
        )

    evaluate: Evaluate | None = None
    if valid is not None:
        dataset, _ = batches.table_eval(valid.features_NF, valid.labels_N, data.batch)
        sums = evaluation.make_evaluate(run.objective)

        def evaluate_rows(roles):
            return sums(roles, dataset)

        evaluate = evaluate_rows

    def prepare(roles):
        # a pretrained model keeps the statistics that its weights were trained with
        if start.pretrained is None:
            roles[run.objective.trains[0]].adapt(train.features_NF)

    return Feed(
        train_from,
        evaluate,
        len(train.labels_N),
        ("rows", data.batch),
        None,
        prepare,
        lambda roles: "",
    )


def _check(rows, config, source):
    """Refuses a table whose columns or labels do not fit the model."""
    if rows is None:
        return
    if rows.features_NF.shape[1] != config.features:
        raise ValueError(
            f"config.model.features: {config.features}, but {source} has "
            f"{rows.features_NF.shape[1]}."
        )
    if config.classes and rows.labels_N.max() >= config.classes:
        raise ValueError(
            f"config.model.classes: {config.classes}, but {source} has the label "
            f"{rows.labels_N.max()}."
        )
