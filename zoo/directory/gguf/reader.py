"""Reads GGUF files, llama.cpp's format, as Hugging Face's config and names.

Rounding from quantisation remains in the tensors.
"""

import functools
import re

from zoo.directory.gguf import file as gguf_file
from zoo.directory.gguf import rope
from zoo.directory.gguf import tokenizer as gguf_tokenizer
from zoo.directory.gguf.architectures import ARCHITECTURES
from zoo.directory.gguf.fields import Fields
from zoo.directory.pretrained import Pretrained, Tensors
from zoo.fields import suggest
from zoo.generation_config import GenerationConfig
from zoo.text.tokenizer import Tokenizer

# Fields that change what a model computes, and that no Config has. Each may only have
# the value with which it changes nothing.
_UNSUPPORTED = {
    "attention.causal": True,
    "attention.clamp_kqv": 0,
    "attention.max_alibi_bias": 0,
    "attention.output_scale": 0,
    "attention.scale": 0,
    "attention.shared_kv_layers": 0,
    "attention.temperature_scale": 0,
    "embedding_scale": 0,
    "expert_count": 0,
    "logit_scale": 0,
    "residual_scale": 0,
    "rope.dimension_sections": 0,
    "rope.scale_linear": 1,
    "rope.scaling.attn_factor": 1,
    "rope.scaling.yarn_attn_factor": 1,
    "rope.scaling.yarn_ext_factor": 1,
    "rope.scaling.yarn_log_multiplier": 0,
}


def read(path) -> Pretrained:
    """Reads the header of a file. Its tensors are read when they are asked for.

    Raises:
      ValueError: the file is broken, or one of several; its architecture, tokenizer or
        a type of tensor is unknown; or a field is missing.
    """
    file = gguf_file.read(path)
    fields = Fields(file)
    known = ARCHITECTURES.get(fields.architecture)
    if known is None:
        name = fields.architecture[:64]
        raise ValueError(
            f"{file.where}: general.architecture {name!r}."
            f"{suggest(name, ARCHITECTURES)}"
        )
    if file.fields.get("split.count", 1) != 1:
        raise ValueError(
            f"{file.where}: is one of {file.fields['split.count']} files; join them "
            "with llama-gguf-split --merge."
        )
    for name, allowed in _UNSUPPORTED.items():
        fields.refuse(name, allowed)
    config = known.config(fields, file)
    names = {}
    for name in file.tensors:
        hf_name = _hf_name(name, known, file.where)
        if hf_name is not None:
            names[hf_name] = name
    if config["tie_word_embeddings"]:
        names.pop("lm_head.weight", None)

    def tensor(hf_name):
        name = names[hf_name]
        array = known.undo(name, file.array(name), config)
        return array.T if known.is_transposed(name, array.shape) else array

    shapes = {hf_name: file.tensors[name].shape for hf_name, name in names.items()}
    for hf_name, name in names.items():
        if known.is_transposed(name, shapes[hf_name]):
            shapes[hf_name] = shapes[hf_name][::-1]
    tokenizer = functools.partial(gguf_tokenizer.read, file.fields, file.where)
    tensors = Tensors(shapes, tensor, file.release)
    return Pretrained(file.where, config, tensors, tokenizer, GenerationConfig())


def read_tokenizer(path) -> Tokenizer:
    """Reads the tokenizer of a file, whose architecture may be any.

    Raises:
      ValueError: the file is broken, or has no tokenizer or one that is unknown.
    """
    file = gguf_file.read(path)
    return gguf_tokenizer.read(file.fields, file.where)


def _hf_name(name, known, where) -> str | None:
    """Returns Hugging Face's name of a tensor; None if it is not a weight."""
    if name == rope.FREQUENCIES:
        return None
    block = re.fullmatch(r"blk\.(\d{1,5})\.(.+)\.(weight|bias)", name)
    outer = re.fullmatch(r"(.+)\.(weight|bias)", name)
    if block and str(int(block[1])) == block[1] and f"{{i}}.{block[2]}" in known.names:
        hf_name = known.names[f"{{i}}.{block[2]}"].replace("{i}", block[1])
        return f"{hf_name}.{block[3]}"
    if outer and not block and outer[1] in known.names:
        return f"{known.names[outer[1]]}.{outer[2]}"
    raise ValueError(
        f"{where}: the tensor {name} does not belong to this architecture."
    )
