"""Builds a model whose variables have shapes only, and get their values later.

A config from anybody can ask for any amount of memory. And drawing initial weights that
a file replaces takes longer than reading the file. So the model is built in a scope of
Keras in which no variable is initialised.
"""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state

from zoo import registry

_PENDING = "uninitialized_variables"
_ALIGNMENT = 64  # bytes; TensorFlow copies an array with a smaller alignment


def build(config):
    """Builds the model of a Config without initialising it.

    Returns:
      The model, and all variables that were created with it (weights and the states of
      random generators). The caller passes each of them to `initialise`.
    """
    pending: Any = global_state.get_global_attribute(_PENDING, [], set_to_default=True)
    before = len(pending)
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = registry.build_config(config)
        return model, pending[before:]
    finally:
        # At the end of its next scope, Keras initialises all that is in this list.
        del pending[before:]


def empty(shape) -> np.ndarray:
    """Returns a float32 array that `initialise` can use without a copy."""
    count = math.prod(shape)
    buffer = np.empty(count + _ALIGNMENT // 4, np.float32)
    skip = -buffer.ctypes.data % _ALIGNMENT // 4
    return buffer[skip : skip + count].reshape(shape)


def initialise(variable, value: np.ndarray | None = None) -> None:
    """Initialises a variable.

    Args:
      variable: a variable from `build`.
      value: an array from `empty`. It becomes the memory of the variable, so the caller
        must not write to it again. None takes the variable's own initial value.
    """
    if value is not None:
        shared = tf.experimental.dlpack.from_dlpack(value.__dlpack__())
        variable._initializer = lambda shape, dtype: shared
    variable._deferred_initialize()
