"""Evaluation of models of features on a table."""

from typing import Any

import numpy as np
import tensorflow as tf

from trainers.evaluation import request as requests
from trainers.evaluation.measured import Evaluated, of_classes, of_values
from trainers.evaluation.request import Request
from zoo.data import batches

_ROWS = 16  # of a batch


def of_table(model: Any, request: Request) -> Evaluated:
    """The numbers of a model that classifies or regresses.

    Raises:
      ValueError: a table that is missing, broken, or does not fit the model.
    """
    config = model.config
    table = requests.table(request, config.labels, config.classes)
    dataset, _ = batches.table_eval(
        table.features_NF, table.labels_N, request.batch or _ROWS
    )
    count = len(table.labels_N)
    parts = [model(batch["features"], training=False) for batch in dataset]
    answers = tf.concat(parts, 0)[:count]
    about = f"rows {count}"
    if not config.classes:
        return of_values(about, table.labels_N, answers.numpy())
    probabilities_NC = np.asarray(tf.nn.softmax(answers))
    return of_classes(about, table.labels_N, probabilities_NC, config.labels)
