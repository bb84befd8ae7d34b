"""Checkpoints of TensorFlow: tf_model.h5 of transformers, and the files of GPT-2.

The names and layouts of tf_model.h5 are those of transformers 4; version 5 dropped
TensorFlow. GPT-2 was published (Radford et al. 2019) as a folder with hparams.json,
encoder.json, vocab.bpe and model.ckpt.*.
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
# The first level of a PyTorch name. That of an encoder-decoder has no fixed one.
_ROOTS = {"gpt2": "transformer", "bert": "bert", "roberta": "roberta"}
_ROOTS |= dict.fromkeys(["t5", "mt5", "bart", "marian"])
_ENDS = {"kernel": "weight", "embeddings": "weight", "gamma": "weight", "beta": "bias"}
_MODEL = re.compile(r"tf_\w+_for_")  # the scope of a model with a head
_VOCABULARY, _MERGES = "encoder.json", "vocab.bpe"
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
    """Returns the tensors of tf_model.h5 by the names of PyTorch files.

    Args:
      folder: the folder of the file.
      family: the model_type of its config.json.

    Raises:
      ValueError: the file is broken, has another family, or has a tensor twice.
    """
    path = files.inside(folder, H5)
    if not isinstance(family, str) or family not in _ROOTS:
        raise ValueError(
            f"{path}: model_type {family!r}; allowed with {H5}: {', '.join(_ROOTS)}."
        )
    arrays = {}
    for name, array in h5_file.arrays(path, str(path)).items():
        hf_name, transposed = _hf_name(name, _ROOTS[family])
        shape = array.shape
        if family == "gpt2" and len(shape) == 2 and hf_name.endswith(".bias"):
            shape = shape[1:] if shape[0] == 1 else shape  # a bias of Conv1D
        if hf_name in arrays:
            raise ValueError(f"{path}: the tensor {hf_name} is in the file twice.")
        arrays[hf_name] = array, shape[::-1] if transposed else shape, transposed

    def read(name):
        array, shape, transposed = arrays[name]
        value = array[()]
        return value.T if transposed else value.reshape(shape)

    return Tensors({name: entry[1] for name, entry in arrays.items()}, read)


def _hf_name(path, root) -> tuple[str, bool]:
    """Returns the name in a PyTorch file, and whether it has the matrix transposed."""
    # "mlm___cls" is the name of a layer and the name of its attribute.
    parts = re.sub(r":\d+$", "", path).replace("_._", "/").split("/")
    parts = _seq2seq(parts) if root is None else parts[_start(parts, root) :]
    parts[0] = parts[0].rpartition("___")[2]
    transposed = parts[-1] == "kernel"
    parts[-1] = _ENDS.get(parts[-1], parts[-1])
    return ".".join(parts), transposed


def _start(parts, root) -> int:
    """Returns the level of a path at which the name in a PyTorch file begins."""
    if root in parts:
        return len(parts) - 1 - parts[::-1].index(root)
    heads = [i for i, part in enumerate(parts) if "___" in part]
    models = [i + 1 for i, part in enumerate(parts) if _MODEL.match(part)]
    return (heads[-1:] or models[-1:] or [0])[0]


def _seq2seq(parts) -> list[str]:
    """Returns the levels of a PyTorch name of an encoder-decoder.

    A path begins with the group of a layer and the scope of the model.
    """
    group, *parts = parts
    parts = parts[1:] or parts
    if parts[0] == "shared" and group in ("encoder", "decoder"):
        return [group, "embed_tokens", *parts[1:]]  # T5's stacks repeat the table
    return parts


# ------------------------------------------------------------------ GPT-2's files


def read(path) -> Pretrained:
    """Reads a folder in the layout that GPT-2 was published in.

    Raises:
      ValueError: a file is missing or broken, or a tensor is unknown.
    """
    folder = pathlib.Path(path)
    hparams = files.read_json(files.inside(folder, HPARAMS))
    config = {"model_type": "gpt2"}
    for name, hf_name in _FIELDS.items():
        if type(hparams.get(name)) is not int or hparams[name] < 1:
            raise ValueError(
                f"{folder / HPARAMS}: {name} {hparams.get(name)!r}, 1 or more allowed."
            )
        config[hf_name] = hparams[name]
    # GPT-2's fixed choices, which hparams.json does not have.
    config |= {"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}
    tensors = _variables(folder)
    return Pretrained(
        str(folder), config, tensors, lambda: _tokenizer(folder), GenerationConfig()
    )


def _variables(folder) -> Tensors:
    """Opens the checkpoint of a folder; tensors have Hugging Face's names."""
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
        hf_name = _gpt2_name(name)
        if hf_name is not None:
            names[hf_name] = name
        elif name.startswith("model/") and "/Adam" not in name:
            raise ValueError(f"{prefix}: the variable {name} does not belong to GPT-2.")
    sizes = {hf_name: tuple(shapes[name]) for hf_name, name in names.items()}
    # The kernel of a Conv1D has a first axis of size 1.
    sizes = {n: s[1:] if len(s) == 3 and s[0] == 1 else s for n, s in sizes.items()}
    total = 4 * sum(math.prod(shape) for shape in sizes.values())
    size = sum(os.path.getsize(path) for path in parts)
    if total > size:
        raise ValueError(f"{prefix}: holds {size} bytes of data, expected {total}.")

    def value(hf_name):
        try:
            array = reader.get_tensor(names[hf_name])
        except (tf.errors.OpError, ValueError, RuntimeError) as error:
            raise _broken(prefix, error) from None
        return np.asarray(array).reshape(sizes[hf_name])

    return Tensors(sizes, value)


def _gpt2_name(name) -> str | None:
    """Returns Hugging Face's name of a variable; None if it is not a weight."""
    block = _BLOCK.fullmatch(name)
    if block is None:
        return _OUTER.get(name)
    inner = block[2].replace("/", ".")
    return f"transformer.h.{int(block[1])}.{inner}.{_NAMES[block[3]]}"


def _tokenizer(folder) -> Tokenizer | None:
    """Reads the tokenizer of the folder, or None if it has none."""
    if not (folder / _VOCABULARY).exists():
        return None
    paths = [files.inside(folder, name) for name in (_VOCABULARY, _MERGES)]
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
    settings = {name: END for name in ("bos_token", "eos_token", "unk_token")}
    try:
        return Tokenizer(engine.to_str(pretty=True), settings)
    except ValueError as error:
        raise ValueError(f"{paths[0]}: {error}") from None


def _broken(prefix, error):
    first = (str(error).splitlines() or [""])[0]
    return ValueError(f"{prefix}: cannot be read as a checkpoint: {first:.200}")
