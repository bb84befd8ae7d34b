"""Writes a model as a SavedModel that stock TF Serving answers with.

    BASE/<version>/saved_model.pb, variables/
    BASE/<version>/assets.extra/signature.json    what each signature takes and gives

Core TensorFlow operations only, no XLA, no Python, no state; see docs/serving.md.
"""

import inspect
import os
import pathlib

import tensorflow as tf

from zoo.directory import Loaded, files
from zoo.models import dense_net
from zoo.saved_model.table_model import TableModel
from zoo.saved_model.text_generator import TextGenerator

_EXAMPLES = {
    "prompt": "In the beginning",
    "completion": " was the Word",
    "text": "In the beginning was the Word",
    "tokens": [1, 2, 3],
    "lengths": 3,
}


def write(base, loaded: Loaded, version: int = 0) -> pathlib.Path:
    """Exports a model.

    Args:
      base: the folder of versions, as TF Serving takes it.
      loaded: what `zoo.load` gave.
      version: its number; 0 takes the next free one.

    Returns:
      The folder of the version.

    Raises:
      ValueError: the version is there already, or the model or its tokenizer cannot
        be exported.
    """
    base = pathlib.Path(base)
    if base.exists() and not base.is_dir():
        raise ValueError(f"{base}: is a file; a folder for versions is needed.")
    numbers = [int(p.name) for p in base.glob("*") if p.name.isdecimal()]
    folder = base / str(version or max(numbers, default=0) + 1)
    if isinstance(loaded.model.config, dense_net.Config):
        module = TableModel(loaded.model)
    elif loaded.tokenizer is None:
        raise ValueError("The model directory has no tokenizer.json, needed to export.")
    else:
        module = TextGenerator(loaded.model, loaded.tokenizer, loaded.generation)
    with files.staged(folder) as new:
        _save(module, loaded, new)
    return folder


def _save(module, loaded, folder) -> None:
    functions, described = {}, {}
    for name, (method, specs, defaults) in module.signatures().items():
        functions[name] = _function(method, specs, defaults)
        outputs = functions[name].get_concrete_function().structured_outputs
        described[name] = {
            "inputs": {key: _describe(spec, key) for key, spec in specs.items()},
            "outputs": {key: _describe(value, "") for key, value in outputs.items()},
        }
        for key, value in defaults.items():
            described[name]["inputs"][key]["default"] = value.numpy().tolist()[0]
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, os.fspath(folder), functions, options)
    extra = folder / "assets.extra"
    extra.mkdir()
    if "classify" in functions or "regress" in functions:
        row = [0.0] * loaded.model.config.features
        for signature in described.values():
            signature["inputs"]["features"]["example"] = row
    files.write_json(extra / "signature.json", {"format": 1, "signatures": described})


def _function(method, specs, defaults):
    """A tf.function whose inputs have their names, and defaults for gRPC.

    TensorFlow stores a default where the Python parameter has one and it is a tensor.
    """

    def call(*values):
        return method(**dict(zip(specs, values, strict=True)))

    call.__signature__ = inspect.Signature(
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=defaults.get(name, inspect.Parameter.empty),
        )
        for name in specs
    )
    named = [tf.TensorSpec(s.shape, s.dtype, name) for name, s in specs.items()]
    return tf.function(call, input_signature=named, autograph=False)


def _describe(spec, name):
    text = {"dtype": spec.dtype.name, "shape": list(spec.shape)}
    if name in _EXAMPLES:
        text["example"] = _EXAMPLES[name]
    return text
