"""Writes a model as a SavedModel that stock TF Serving answers with.

    BASE/<version>/saved_model.pb, variables/
    BASE/<version>/assets.extra/signature.json    what each signature takes and gives
    BASE/<version>/...                            the files of `serving_files`

Core TensorFlow operations only, no XLA, no Python, no state; see docs/serving.md.
"""

import inspect
import os
import pathlib

import tensorflow as tf
from absl import logging

from zoo import files, registry
from zoo.directory import Loaded
from zoo.generation_config import KNOBS
from zoo.saved_model import serving_files
from zoo.saved_model.checker.graph import Graph
from zoo.saved_model.signatures.language_model import TextGenerator
from zoo.saved_model.signatures.table import TableModel
from zoo.saved_model.signatures.text_encoder import TextEncoderModule

_EXAMPLES = {
    "prompt": "In the beginning",
    "completion": " was the Word",
    "text": "In the beginning was the Word",
    "tokens": [1, 2, 3],
    "lengths": 3,
    "token": 1,
    "roles": ["user"],
    "contents": ["What is the capital of France?"],
}


def write(
    base, loaded: Loaded, version: int = 0, batch: int = 0, capacity: int = 1024
) -> pathlib.Path:
    """Exports a model.

    Args:
      base: the folder of versions that TF Serving watches.
      loaded: a model with its tokenizer, as `zoo.load` returns it.
      version: its number; 0 takes the next free one.
      batch: the most rows of an in-graph batch; 0 leaves batching to the server.
      capacity: the number of positions in the state of `start` and `step`, at most the
        model's context.

    Returns:
      The folder of the version.

    Raises:
      ValueError: the version exists already, or the model or its tokenizer cannot be
        exported.
    """
    base = pathlib.Path(base)
    if base.exists() and not base.is_dir():
        raise ValueError(f"{base}: is a file; a folder for versions allowed.")
    numbers = [int(p.name) for p in base.glob("*") if p.name.isdecimal()]
    folder = base / str(version or max(numbers, default=0) + 1)
    module = _module(loaded, batch, capacity)
    with files.staged(folder) as new:
        _save(module, loaded.model.config, new, batch)
    return folder


def _module(loaded, batch, capacity) -> TableModel | TextEncoderModule | TextGenerator:
    """The signatures of a model, by its task."""
    config = loaded.model.config
    name = registry.name_of(config)
    if reason := registry.entry(name).not_exported:
        raise ValueError(f"{name}: cannot be exported: {reason}.")
    if config.reads == "features":
        return TableModel(loaded.model, batch)
    if loaded.tokenizer is None:
        raise ValueError(f"{name}: the model directory has no tokenizer.json.")
    if config.task == "embed":
        return TextEncoderModule(loaded.model, loaded.tokenizer, batch)
    module = TextGenerator(
        loaded.model, loaded.tokenizer, loaded.generation, batch, capacity
    )
    if loaded.tokenizer.chat_template and module.no_chat:
        logging.warning("no signature chat: %s", module.no_chat)
    return module


def _save(module, config, folder, batch) -> None:
    """Writes every file of a version."""
    parts = module.signatures()
    functions = {name: _function(*part) for name, part in parts.items()}
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, os.fspath(folder), functions, options)
    examples = dict(_EXAMPLES)
    if config.reads == "features":
        examples["features"] = [0.0] * config.features
    about = {knob.name: knob.about() for knob in KNOBS}
    described = {}
    for name, signature in Graph(os.fspath(folder)).signatures.items():
        inputs = {key: _describe(info) for key, info in signature.inputs.items()}
        outputs = {key: _describe(info) for key, info in signature.outputs.items()}
        for key in inputs.keys() & examples.keys():
            inputs[key]["example"] = examples[key]
        for key, value in parts[name][2].items():
            inputs[key]["default"] = _plain(value.numpy().tolist())[0]
        for key in inputs.keys() & about.keys():
            inputs[key]["about"] = about[key]
        described[name] = {"inputs": inputs, "outputs": outputs}
    extra = folder / "assets.extra"
    extra.mkdir()
    files.write_json(extra / "signature.json", {"format": 1, "signatures": described})
    sizes = 1, min(8, batch or 8)
    served = tf.saved_model.load(os.fspath(folder)).signatures
    serving_files.write(folder, described, served, sizes, server_batching=not batch)


def _function(method, specs, defaults):
    """A tf.function whose inputs have their names, and defaults for gRPC.

    TensorFlow stores the default of a Python parameter if that default is a tensor.
    """

    def call(*values):
        return method(**dict(zip(specs, values, strict=True)))

    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=defaults.get(name, inspect.Parameter.empty),
        )
        for name in specs
    ]
    call.__signature__ = inspect.Signature(parameters)
    named = [tf.TensorSpec(s.shape, s.dtype, name) for name, s in specs.items()]
    return tf.function(call, input_signature=named, autograph=False)


def _describe(info):
    """The entry of an input or output in signature.json."""
    return {"dtype": info.dtype, "shape": list(info.shape)}


def _plain(value):
    """Nested lists with texts in place of bytes."""
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.decode() if isinstance(value, bytes) else value
