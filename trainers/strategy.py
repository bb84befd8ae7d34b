"""The devices of a run, and the number type that its models compute in."""

import contextlib
import functools
from typing import Any

import keras
import tensorflow as tf

from trainers.run import Run

_SEED_STEP = 0x9E3779B9  # odd and large, so that no two replicas meet
_POLICIES = {"bfloat16": "mixed_bfloat16", "float32": "float32"}


def make_strategy(run: Run) -> tf.distribute.Strategy:
    """One device, or the Run's number of mirrored ones.

    Raises:
      ValueError: this machine has fewer devices, or they cannot share a batch.
    """
    count = replica_count(run)
    if run.data.batch % (count * run.accumulate):
        raise ValueError(
            f"config.data.batch: {run.data.batch}, a multiple of replicas {count} x "
            f"accumulate {run.accumulate} allowed."
        )
    if count == 1:
        return tf.distribute.get_strategy()
    return _mirrored(tuple(d.name for d in _devices()[:count]))


def replica_count(run: Run) -> int:
    """The devices that a Run trains on: its `replicas`, or all where that is 0.

    Raises:
      ValueError: this machine has fewer devices.
    """
    here = len(_devices())
    if run.replicas > here:
        raise ValueError(
            f"config.replicas: {run.replicas}, at most {here} devices are here."
        )
    return run.replicas or here


def _devices():
    """The GPUs of this machine, or its CPUs where there is none."""
    gpus = tf.config.list_logical_devices("GPU")
    return gpus or tf.config.list_logical_devices("CPU")


@functools.cache
def _mirrored(devices):
    """One strategy for the whole process.

    Two strategies would name their reductions alike, and those of a second model fail
    by their shapes.
    """
    return tf.distribute.MirroredStrategy(list(devices))


def distribute(strategy, batches) -> Any:
    """An iterator over the batches, each of which is split over the replicas.

    A generator is asked for a batch when the caller wants it. A tf.data.Dataset may run
    ahead.
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return iter(batches)
    if isinstance(batches, tf.data.Dataset):
        return iter(strategy.experimental_distribute_dataset(batches))

    def split(batch):
        parts = {name: tf.split(x, replicas) for name, x in batch.items()}
        return strategy.experimental_distribute_values_from_function(
            lambda context: {
                name: part[context.replica_id_in_sync_group]
                for name, part in parts.items()
            }
        )

    return map(split, batches)


def separate_random_streams(strategy, variables) -> None:
    """Gives each replica random numbers of its own, such as other dropout masks.

    The first replica keeps its state, which is the one that checkpoints store. Call it
    after a restore.

    Args:
      strategy: under which the variables were made.
      variables: Keras variables; those that are no state of a generator stay.
    """
    if strategy.num_replicas_in_sync == 1:
        return
    for variable in variables:
        if variable.name == "seed_generator_state":
            first, *others = strategy.experimental_local_results(variable.value)
            for i, copy in enumerate(others, 1):
                shift = tf.constant([i * _SEED_STEP % 2**31, 0], tf.int64)
                copy.assign(tf.cast(tf.cast(first, tf.int64) + shift, copy.dtype))


@contextlib.contextmanager
def dtype_policy_restored():
    """Sets Keras' dtype policy back at the end; also works as a decorator."""
    policy = keras.config.dtype_policy()
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def set_precision(precision: str) -> None:
    """Makes the models built from here on compute in "float32" or "bfloat16"."""
    keras.config.set_dtype_policy(_POLICIES[precision])
