"""The pipeline under all batches: from batch numbers to batches.

Rows are numbered through all epochs: row g is place g % n of epoch g // n. Each epoch
permutes its n places by a keyed bijection instead of a shuffled list.

A mixture of sources repeats a pattern with so many rows of each source as its share is.
Each repetition permutes the pattern, and each source has epochs of its own. An example:
the shares 3 and 1 make patterns of 4 rows. In pattern p, the first source has its rows
3p, 3p + 1 and 3p + 2 at three of the four places; row 3p is place 3p % n of its epoch
3p // n. So row g is known without the rows before it.
"""

import itertools
from collections.abc import Callable, Sequence

import tensorflow as tf

from zoo.data import phases, shuffling
from zoo.fields import at_least

Batch = dict[str, tf.Tensor]
_GROUP = 16  # batches


def endless(
    rows: Callable[[tf.Tensor, tf.Tensor], Batch],
    count: int,
    batch: int,
    seed: int,
    start: int,
    shuffle: bool,
) -> tf.data.Dataset:
    """Batches without end.

    Args:
      rows: makes a batch of the epochs and places of its rows, both int64 [B].
      count: places in an epoch.
      batch: B.
      seed: decides the orders.
      start: the number of the first batch.
      shuffle: False takes the places in their order.

    Raises:
      ValueError: `batch` or `start` is out of its range.
    """

    def of_source(source_B, epoch_B, place_B) -> Batch:
        del source_B  # there is one
        return rows(epoch_B, place_B)

    return endless_mixture(of_source, (count,), (1,), batch, seed, start, shuffle)


def endless_mixture(
    rows: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Batch],
    counts: Sequence[int],
    shares: Sequence[int],
    batch: int,
    seed: int,
    start: int,
    shuffle: bool = True,
    schedule: Sequence[tuple[int, Sequence[int]]] = (),
    worker: tuple[int, int] = (0, 1),
    read: Callable[[Batch], Batch] | None = None,
) -> tf.data.Dataset:
    """Batches without end, whose rows are those of several sources; see the module.

    Args:
      rows: makes a batch of the sources, epochs and places of its rows, all int64 [B].
        Sources are numbers from 0 on; epochs and places are those of the source.
      counts: places in an epoch of each source.
      shares: rows of each source in a pattern of sum(shares) rows, at least 1 each.
      batch: B.
      seed: decides the orders.
      start: the number of the first batch.
      shuffle: False takes patterns and places in their order.
      schedule: the number of a batch, and the shares from it on (`zoo.data.phases`).
      worker: the number of this worker, and how many there are. Each makes its part of
        the rows of every batch, in the order of the workers.
      read: makes the batch of what `rows` gives. Then `rows` is called for the rows of
        several batches at once: small tensors cost as much as larger ones.

    Raises:
      ValueError: `batch` or `start` is out of its range, or `schedule` or `worker` does
        not fit.
    """
    at_least("batch", batch, 1)
    at_least("start", start, 0)
    index, workers = worker
    if batch % workers or not 0 <= index < workers:
        raise ValueError(
            f"worker: {index} of {workers}, 0 to {workers - 1} allowed, and as many "
            f"workers as divide the batch of {batch}."
        )
    draw = drawn(counts, shares, seed, shuffle, schedule, batch)
    own, end = batch // workers, 2**62 // batch  # row numbers stay below 2^62

    def make(number) -> Batch:
        first = number * batch + index * own
        return rows(*draw(first + tf.range(own, dtype=tf.int64)))

    def make_group(number) -> Batch:
        first_G = (number + tf.range(_GROUP, dtype=tf.int64)) * batch + index * own
        row_GB = first_G[:, None] + tf.range(own, dtype=tf.int64)
        made = rows(*draw(tf.reshape(row_GB, [-1])))
        return {name: tf.reshape(x, [_GROUP, own]) for name, x in made.items()}

    if read is None:
        return _pipeline(tf.data.Dataset.range(start, end), make)
    groups = tf.data.Dataset.range(start, end, _GROUP).map(make_group)
    return _pipeline(groups.unbatch(), read)


def drawn(
    counts: Sequence[int],
    shares: Sequence[int],
    seed: int,
    shuffle: bool = True,
    schedule: Sequence[tuple[int, Sequence[int]]] = (),
    batch: int = 1,
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """The function from numbers of rows to their sources, epochs and places.

    The numbers count through all epochs; they and the results are int64 [B]. The
    arguments are those of `endless_mixture`.

    Raises:
      ValueError: a phase of the schedule does not end with a whole pattern.
    """
    sources = len(counts)
    found = phases.phases(shares, schedule, batch)
    ends = [list(itertools.accumulate(phase.shares)) for phase in found]

    def draw(row_B):
        source_B, count_B = tf.zeros_like(row_B), counts[0]
        if sources > 1:
            row_P, shares_PS, patterns_P, used_PS = (
                tf.constant(x, tf.int64) for x in zip(*found, strict=True)
            )
            phase_B = tf.searchsorted(row_P, row_B, "right") - 1
            ends_BS = tf.gather(tf.constant(ends, tf.int64), phase_B)
            pattern_B = ends_BS[:, -1]
            row_B -= tf.gather(row_P, phase_B)
            number_B, at_B = row_B // pattern_B, row_B % pattern_B
            if shuffle:
                key_B = tf.gather(patterns_P, phase_B) + number_B
                at_B = shuffling.permuted(seed, key_B, at_B, pattern_B)
            before_BS = tf.cast(ends_BS <= at_B[:, None], tf.int64)
            source_B = tf.reduce_sum(before_BS, 1)

            def own(x_BS):
                return tf.gather(x_BS, source_B, batch_dims=1)

            share_B = own(tf.gather(shares_PS, phase_B))
            # the number of the row among all rows of its source
            row_B = own(tf.gather(used_PS, phase_B)) + number_B * share_B
            row_B += at_B - (own(ends_BS) - share_B)
            count_B = tf.gather(tf.constant(counts, tf.int64), source_B)
        epoch_B, place_B = row_B // count_B, row_B % count_B
        if shuffle:
            key_B = epoch_B * sources + source_B
            place_B = shuffling.permuted(seed, key_B, place_B, count_B)
        return source_B, epoch_B, place_B

    return draw


def firsts(counts: Sequence[int]) -> tf.Tensor:
    """The number of each source's first row, int64 [S], where sources follow others."""
    with tf.device("CPU:0"):  # where tf.data reads it
        return tf.constant([sum(counts[:i]) for i in range(len(counts))], tf.int64)


def endless_batches(
    make: Callable[[tf.Tensor], Batch],
    count: int,
    seed: int,
    start: int,
) -> tf.data.Dataset:
    """Batches without end, each made whole; an epoch takes each once in random order.

    Args:
      make: makes the batch of a place, an int64 scalar from 0 to `count` - 1.
      count: batches in an epoch.
      seed: decides the orders.
      start: the number of the first batch.

    Raises:
      ValueError: `start` is out of its range.
    """
    at_least("start", start, 0)

    def numbered(number) -> Batch:
        epoch_1, place_1 = number[None] // count, number[None] % count
        return make(shuffling.permuted(seed, epoch_1, place_1, count)[0])

    return _pipeline(tf.data.Dataset.range(start, 2**62), numbered)


def one_pass(
    rows: Callable[[tf.Tensor], Batch], count: int, batch: int
) -> tuple[tf.data.Dataset, int]:
    """Batches that hold each of `count` rows once, and how many batches there are.

    Args:
      rows: makes a batch of row numbers, int64 [B]; numbers from `count` on fill the
        last batch, and `rows` gives them the weight 0.
      count: rows.
      batch: B.

    Raises:
      ValueError: `batch` is out of its range.
    """
    at_least("batch", batch, 1)
    batches = -(-count // batch)

    def make(number) -> Batch:
        return rows(number * batch + tf.range(batch, dtype=tf.int64))

    return _pipeline(tf.data.Dataset.range(batches), make), batches


def _pipeline(numbers: tf.data.Dataset, make: Callable) -> tf.data.Dataset:
    """Maps numbers or places to batches, with the options of all data sets."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    # One thread beside the step's own is enough for gathers, and steals no core.
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    # tf.distribute must not split a batch that is made whole.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    return numbers.map(make).prefetch(2).with_options(options)
