"""A model without memory, whose variables get their values later.

A config of anybody can ask for any amount of memory, and drawing initial weights that a
file will replace takes longer than reading the file. So the model is built in a scope
of Keras in which variables have shapes only.
"""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state

from zoo import registry

_PENDING = "uninitialized_variables"
_ALIGNMENT = 64  # bytes, of what TensorFlow does not copy


def build(config):
    """Builds the model of a Config without initialising it.

    Returns:
      The model, and all variables that were made with it (weights and the states of
      random generators), each to be given to `initialise`.
    """
    pending: Any = global_state.get_global_attribute(_PENDING, [], set_to_default=True)
    before = len(pending)
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = registry.build_config(config)
        return model, pending[before:]
    finally:
        # Keras initialises what it still finds here at the end of its next scope.
        del pending[before:]


def empty(shape) -> np.ndarray:
    """A float32 array that `initialise` need not copy."""
    count = math.prod(shape)
    room = np.empty(count + _ALIGNMENT // 4, np.float32)
    skip = -room.ctypes.data % _ALIGNMENT // 4
    return room[skip : skip + count].reshape(shape)


def initialise(variable, value: np.ndarray | None = None) -> None:
    """Makes a variable, with its own initial value or with one that `empty` made.

    The array becomes the variable's memory: nobody may write to it any more.
    """
    if value is not None:
        shared = tf.experimental.dlpack.from_dlpack(value.__dlpack__())
        variable._initializer = lambda shape, dtype: shared
    variable._deferred_initialize()
