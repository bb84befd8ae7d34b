"""A model zoo for language models in TensorFlow: what exists, without training it.

Shapes are part of names: `logits_BTV` has the dimensions batch, time, vocabulary.

    B batch     T time (positions)     D width of the model     V vocabulary
    H heads     K key-value heads      N new tokens, or rows    F features
    C classes   S stop strings         M messages               W width of an MLP

The Python API is imported on first use, so that `import zoo` costs nothing:

    zoo.names()                         the names of the models
    zoo.build(name, **fields)           a built keras.Model
    zoo.load(source)                    a model, its tokenizer, its generation defaults
    zoo.save(directory, model, ...)     writes a model directory
    zoo.GenerationConfig(...)           the knobs of generation
    zoo.decode.generate(...)            continues texts with a language model
    zoo.export_saved_model(base, ...)   writes a SavedModel for TF Serving

For example:

    >>> import zoo
    >>> model = zoo.build("gru_lm", vocab_size=257, width=16, units=16)
    >>> tokenizer = zoo.train_tokenizer(["in the beginning"], vocab_size=257)
    >>> zoo.save(folder, model, tokenizer)
    >>> model, tokenizer, generation = zoo.load(folder)
    >>> knobs = zoo.GenerationConfig(max_new_tokens=5, temperature=0.7, seed=1)
    >>> (answer,) = zoo.decode.generate(model, tokenizer, "in the", knobs)
    >>> len(answer.tokens) <= 5
    True

`keras.models.load_model` reads the files *.keras of these models once `zoo.models` is
imported; `import zoo` after `import keras` does it.
"""

import importlib
import os
import sys

# TensorFlow's C++ side reports a missing GPU as an error at every start; every error of
# the user's is a Python exception
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_API = {
    "GenerationConfig": ("zoo.generation_config", "GenerationConfig"),
    "build": ("zoo.models", "build"),
    "export_saved_model": ("zoo.saved_model.writer", "write"),
    "load": ("zoo.directory", "load"),
    "names": ("zoo.models", "names"),
    "save": ("zoo.directory", "save"),
    "train_tokenizer": ("zoo.text.tokenizer", "train"),
}
_MODULES = ("decode", "directory", "models", "registry")
__all__ = sorted([*_API, *_MODULES])


def __getattr__(name: str):
    if name in _API:
        module, attribute = _API[name]
        return getattr(importlib.import_module(module), attribute)
    if name in _MODULES:
        return importlib.import_module(f"zoo.{name}")
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__():
    return __all__


if "keras" in sys.modules:  # registers the classes that load_model looks for
    importlib.import_module("zoo.models")
