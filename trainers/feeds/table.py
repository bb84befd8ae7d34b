"""The feed of models that read features: the rows of a table with a label."""

from trainers import evaluation
from trainers.feeds.feed import Evaluate, Feed
from trainers.roles import Start
from trainers.run import Run
from zoo.data import batches, fingerprints, splits


def make(run: Run, start: Start) -> Feed:
    """Reads the table, and holds out rows where no evaluation table is given.

    Raises:
      ValueError: the model reads no features; the table is missing or broken; its
        columns or labels do not fit the model.
    """
    data, config = run.data, start.config
    if data.format != "lm":
        raise ValueError(
            f"config.data.format: {data.format!r}, but a table is read by no format; "
            "leave it out."
        )
    labels = config.labels if config.task == "classify" else ()
    train, valid = splits.table(
        data.source, data.valid, data.hold_out, labels, config.classes
    )
    for rows, spec in ((train, data.source), (valid, data.valid or data.source)):
        if rows is not None and rows.features_NF.shape[1] != config.features:
            raise ValueError(
                f"config.model.features: {config.features}, but {spec} has "
                f"{rows.features_NF.shape[1]}."
            )

    def train_from(number, roles):
        del roles
        return batches.table_batches(
            train.features_NF, train.labels_N, data.batch, run.seed, start=number
        )

    evaluate: Evaluate | None = None
    if valid is not None:
        part = evaluation.rows_at_once(run)
        dataset, _ = batches.table_eval(valid.features_NF, valid.labels_N, part)
        sums = evaluation.make_evaluate(run.objective)

        def evaluate_rows(roles):
            return sums(roles, dataset)

        evaluate = evaluate_rows

    def prepare(roles):
        for name, source in run.objective.needs.items():
            if source not in ("model", "start"):
                continue  # a model of its own
            # pretrained weights belong to the statistics that they were trained with
            if start.pretrained is None:
                roles[name].adapt(train.features_NF)

    return Feed(
        train_from,
        evaluate,
        len(train.labels_N),
        ("rows", data.batch),
        None,
        prepare,
        lambda roles: "",
        fingerprints.of_run(data.source, data.valid),
        1,
        train.label_names if config.task == "classify" else (),
    )
