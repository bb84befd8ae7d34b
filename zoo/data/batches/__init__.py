"""Batches as tf.data pipelines whose position is one integer, a file a kind.

Batch i is a function of (data, seed, i): the pipeline remembers nothing. So a run that
restarts at batch i sees the same batches as a run without a stop.
"""

from zoo.data.batches.labelled import eval_labelled, labelled_batches
from zoo.data.batches.lm import eval_windows, lm_batches, windows_per_epoch
from zoo.data.batches.pipeline import Batch
from zoo.data.batches.rows import bucket, eval_rows, row_batches
from zoo.data.batches.table import table_batches, table_eval

__all__ = [
    "Batch",
    "bucket",
    "eval_labelled",
    "eval_rows",
    "eval_windows",
    "labelled_batches",
    "lm_batches",
    "row_batches",
    "table_batches",
    "table_eval",
    "windows_per_epoch",
]
