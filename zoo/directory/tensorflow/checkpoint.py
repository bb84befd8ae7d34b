"""Checkpoints of TensorFlow: what transformers wrote (tf_model.h5), and GPT-2's first.

transformers dropped TensorFlow in version 5, but its files are around; names and
layouts are those of version 4. GPT-2's own files (Radford et al. 2019) are a folder
with hparams.json, encoder.json, vocab.bpe and model.ckpt.*.
"""

import math
import os
import pathlib
import re

import numpy as np
import tensorflow as tf
import tokenizers
from tokenizers import models

from zoo import files
from zoo.directory.pretrained import Pretrained, Tensors
from zoo.directory.tensorflow import h5_file
from zoo.generation_config import GenerationConfig
from zoo.text.importers import byte_level_presets
from zoo.text.tokenizer import END, Tokenizer

H5 = "tf_model.h5"
HPARAMS = "hparams.json"
_ROOTS = {"gpt2": "transformer", "bert": "bert", "roberta": "roberta"}
_ENDS = {"kernel": "weight", "embeddings": "weight", "gamma": "weight", "beta": "bias"}
_TABLE, _MERGES = "encoder.json", "vocab.bpe"
_LARGEST = 64 * 2**20
_FIELDS = {
    "n_vocab": "vocab_size",
    "n_ctx": "n_positions",
    "n_embd": "n_embd",
    "n_head": "n_head",
    "n_layer": "n_layer",
}
_NAMES = {"g": "weight", "b": "bias", "w": "weight"}
_BLOCK = re.compile(
    r"model/h(\d+)/(ln_1|ln_2|attn/c_attn|attn/c_proj|mlp/c_fc|mlp/c_proj)/([gbw])"
)
_OUTER = {
    "model/wte": "transformer.wte.weight",
    "model/wpe": "transformer.wpe.weight",
    "model/ln_f/g": "transformer.ln_f.weight",
    "model/ln_f/b": "transformer.ln_f.bias",
}


def h5(folder: pathlib.Path, family) -> Tensors:
    """The tensors of transformers' tf_model.h5, by the names of its PyTorch files.

    Args:
      folder: that holds the file.
      family: the model_type of its config.json.

    Raises:
      ValueError: the file is broken, of another family, or has a tensor twice.
    """
    path = files.inside(folder, H5)
    root = _ROOTS.get(family) if isinstance(family, str) else None
    if root is None:
        raise ValueError(
            f"{path}: model_type {family!r}; allowed with {H5}: {', '.join(_ROOTS)}."
        )
    places = {}
    for name, array in h5_file.arrays(path, str(path)).items():
        theirs, turned = _their_name(name, root)
        shape = array.shape
        if family == "gpt2" and len(shape) == 2 and theirs.endswith(".bias"):
            shape = shape[1:] if shape[0] == 1 else shape  # of its Conv1D
        if theirs in places:
            raise ValueError(f"{path}: the tensor {theirs} is there twice.")
        places[theirs] = array, shape[::-1] if turned else shape, turned

    def read(name):
        array, shape, turned = places[name]
        value = array[()]
        return value.T if turned else value.reshape(shape)

    return Tensors({name: place[1] for name, place in places.items()}, read)


def _their_name(path, root) -> tuple[str, bool]:
    """The name in a PyTorch file, and whether the matrix is transposed there."""
    # "mlm___cls" is the name of a layer and then that of its attribute
    parts = re.sub(r":\d+$", "", path).replace("_._", "/").split("/")
    heads = [i for i, part in enumerate(parts) if "___" in part]
    starts = [len(parts) - 1 - parts[::-1].index(root)] if root in parts else heads[-1:]
    parts = parts[starts[0] :] if starts else parts
    parts[0] = parts[0].rpartition("___")[2]
    turned = parts[-1] == "kernel"
    parts[-1] = _ENDS.get(parts[-1], parts[-1])
    return ".".join(parts), turned


# ------------------------------------------------------------------ GPT-2's own


def read(path) -> Pretrained:
    """Reads a folder as GPT-2's authors published theirs.

    Raises:
      ValueError: a file is missing or broken, or a tensor is unknown.
    """
    folder = pathlib.Path(path)
    hparams = files.read_json(files.inside(folder, HPARAMS))
    config = {"model_type": "gpt2"}
    for ours, theirs in _FIELDS.items():
        if type(hparams.get(ours)) is not int or hparams[ours] < 1:
            raise ValueError(
                f"{folder / HPARAMS}: {ours} {hparams.get(ours)!r}, 1 or more allowed."
            )
        config[theirs] = hparams[ours]
    # read as GPT-2 was trained
    config |= {"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}
    tensors = _variables(folder)
    return Pretrained(
        str(folder), config, tensors, lambda: _tokenizer(folder), GenerationConfig()
    )


def _variables(folder) -> Tensors:
    found = sorted(path.name for path in folder.glob("*.index"))
    if len(found) != 1:
        names = ", ".join(found) or "none"
        raise ValueError(
            f"{folder}: {len(found)} files *.index ({names}), one allowed."
        )
    prefix = folder / found[0].removesuffix(".index")
    parts = sorted(folder.glob(f"{prefix.name}.data-*"))
    for path in (prefix.with_name(found[0]), *parts):
        files.inside(folder, path.name)
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = reader.get_variable_to_shape_map()
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise _broken(prefix, error) from None
    names = {}
    for name in shapes:
        theirs = _first_name(name)
        if theirs is not None:
            names[theirs] = name
        elif name.startswith("model/") and "/Adam" not in name:
            raise ValueError(f"{prefix}: the variable {name} is none of GPT-2's.")
    sizes = {theirs: tuple(shapes[name]) for theirs, name in names.items()}
    # a Conv1D has a window of one
    sizes = {n: s[1:] if len(s) == 3 and s[0] == 1 else s for n, s in sizes.items()}
    total = 4 * sum(math.prod(shape) for shape in sizes.values())
    there = sum(os.path.getsize(path) for path in parts)
    if total > there:
        raise ValueError(f"{prefix}: holds {there} bytes of data, expected {total}.")

    def value(theirs):
        try:
            array = reader.get_tensor(names[theirs])
        except (tf.errors.OpError, ValueError, RuntimeError) as error:
            raise _broken(prefix, error) from None
        return np.asarray(array).reshape(sizes[theirs])

    return Tensors(sizes, value)


def _first_name(name) -> str | None:
    block = _BLOCK.fullmatch(name)
    if block is None:
        return _OUTER.get(name)
    inner = block[2].replace("/", ".")
    return f"transformer.h.{int(block[1])}.{inner}.{_NAMES[block[3]]}"


def _tokenizer(folder) -> Tokenizer | None:
    if not (folder / _TABLE).exists():
        return None
    paths = [files.inside(folder, name) for name in (_TABLE, _MERGES)]
    for path in paths:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"{path}: larger than {_LARGEST} bytes.")
    try:
        engine = byte_level_presets.build(
            *models.BPE.read_file(*map(str, paths)), "gpt-2"
        )
    except Exception as error:  # the library raises plain Exception
        raise ValueError(f"{paths[0]}: not a tokenizer: {error}") from None
    if engine.token_to_id(END) is not None:
        engine.add_special_tokens([tokenizers.AddedToken(END, normalized=False)])
    names = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END)
    try:
        return Tokenizer(engine.to_str(pretty=True), names)
    except ValueError as error:
        raise ValueError(f"{paths[0]}: {error}") from None


def _broken(prefix, error):
    first = (str(error).splitlines() or [""])[0]
    return ValueError(f"{prefix}: cannot be read as a checkpoint: {first:.200}")
