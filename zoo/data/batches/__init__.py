"""Batches as tf.data pipelines whose position is one integer, a file a kind.

Batch i is a function of (data, seed, i): the pipeline remembers nothing. So a run that
restarts at batch i sees the same batches as a run without a stop.
"""

from zoo.data.batches.labelled import eval_labelled, labelled_batches
from zoo.data.batches.lm import eval_windows, lm_batches, windows_per_epoch
from zoo.data.batches.masked import Masking, eval_masked, masked_batches, masking_of
from zoo.data.batches.packing import PACKINGS, Packed, pack, packed_batches, packed_eval
from zoo.data.batches.pairs import (
    eval_pairs,
    eval_preferences,
    pair_batches,
    preference_batches,
)
from zoo.data.batches.pipeline import Batch
from zoo.data.batches.rows import bucket, eval_rows, row_batches
from zoo.data.batches.seq2seq import eval_seq2seq, seq2seq_batches
from zoo.data.batches.spans import Corruption, eval_spans, sentinels_of, span_batches
from zoo.data.batches.streams import eval_stream, stream_batches
from zoo.data.batches.table import table_batches, table_eval

__all__ = [
    "PACKINGS",
    "Batch",
    "Corruption",
    "Masking",
    "Packed",
    "bucket",
    "eval_labelled",
    "eval_masked",
    "eval_pairs",
    "eval_preferences",
    "eval_rows",
    "eval_seq2seq",
    "eval_spans",
    "eval_stream",
    "eval_windows",
    "labelled_batches",
    "lm_batches",
    "masked_batches",
    "masking_of",
    "pair_batches",
    "preference_batches",
    "pack",
    "packed_batches",
    "packed_eval",
    "row_batches",
    "sentinels_of",
    "seq2seq_batches",
    "span_batches",
    "stream_batches",
    "table_batches",
    "table_eval",
    "windows_per_epoch",
]
