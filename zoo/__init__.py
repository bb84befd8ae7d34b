"""A model zoo for language models in TensorFlow: what exists, without training it.

Shapes are part of names: `logits_BTV` has the dimensions batch, time, vocabulary.

    B batch     T time (positions)     D width of the model     V vocabulary
    H heads     K key-value heads      N new tokens, or rows    F features
    C classes   S stop strings         M messages               W width of an MLP

The Python API, imported on first use so that `import zoo` costs nothing:

    zoo.names()                         the names of the models
    zoo.build(name, **fields)           a built keras.Model
    zoo.load(source)                    a model, its tokenizer and its settings
    zoo.save(directory, model, ...)     writes a model directory
"""

import importlib
import os

# TensorFlow's C++ side reports a missing GPU as an error at every start; what concerns
# the user arrives as a Python exception
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_API = {
    "build": "zoo.models",
    "names": "zoo.models",
    "load": "zoo.directory",
    "save": "zoo.directory",
}
__all__ = sorted(_API)


def __getattr__(name: str):
    if name in _API:
        return getattr(importlib.import_module(_API[name]), name)
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__():
    return __all__
