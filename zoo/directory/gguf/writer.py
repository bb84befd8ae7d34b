"""Writes a model as a GGUF file, which llama.cpp reads.

`architectures` has the names of tensors and the changes to them. Before the file is
written, its fields are read back and compared with the model. So a model that GGUF
cannot express is refused.
"""

import dataclasses
import math
import pathlib
from typing import Any

import gguf as ggml
import numpy as np

from zoo import files, registry
from zoo.directory import assemble, hf
from zoo.directory.gguf import file as gguf_file
from zoo.directory.gguf import rope, vocabulary
from zoo.directory.gguf.architectures import ARCHITECTURES
from zoo.directory.gguf.fields import Fields

SUFFIX = ".gguf"
_F32 = ggml.GGMLQuantizationType.F32
_SIZE = np.dtype(np.float32).itemsize
# Families that have an architecture of another name.
_ARCHITECTURE = {"mistral": "llama", "gemma3_text": "gemma3"}
# Not in a file: `dropout`. A reader finds a tied head by comparing tensors.
_NOT_IN_FILE = ("dropout", "tied_head")


class _Plan(gguf_file.File):
    """The header of a file that is not written yet, for the functions that read one."""

    def __init__(self, fields, shapes, factors):
        self.where, self.fields, self._factors = "GGUF", fields, factors
        self.tensors = {
            name: gguf_file.Stored(_F32, shape, 0, 0)
            for name, shape in shapes.items()
            if not name.startswith("output.")  # the reader would compare its bytes
        }

    def array(self, name):
        return self._factors


def write(path, model, tokenizer) -> None:
    """Writes a GGUF file in float32. After an error, no part of it stays.

    Args:
      path: the name of a new file *.gguf.
      model: a `transformer_lm`.
      tokenizer: a `Tokenizer`.

    Raises:
      ValueError: the name, or a model or tokenizer that GGUF or llama.cpp does not
        support.
    """
    check_name(path)
    config = model.config
    family = registry.name_of(config)
    value = hf.to_hf(config) if family == "transformer_lm" else None
    family = value["model_type"] if value else family
    architecture = _ARCHITECTURE.get(family, family)
    if value is None or architecture not in ARCHITECTURES:
        raise ValueError(
            f"GGUF: a model of the kind {family}; a transformer_lm with the layers "
            f"of {', '.join(sorted(ARCHITECTURES))} allowed."
        )
    if tokenizer is None:
        raise ValueError("GGUF: the model has no tokenizer; one is needed.")
    config, known = hf.with_defaults(config), ARCHITECTURES[architecture]
    names = _names(known, config.layers)
    mappings = assemble.weight_mappings(model, family)
    variables = assemble.by_path(model)
    shapes = {}
    for mapping in mappings:
        sizes = mapping.shapes(tuple(variables[mapping.path].shape))
        for hf_name, shape in zip(mapping.hf_names, sizes, strict=True):
            name = names[hf_name]
            shapes[name] = shape[::-1] if known.is_transposed(name, shape) else shape
    values, factors = _fields(architecture, config), _factors(config)
    if factors is not None:
        shapes = {rope.FREQUENCIES: factors.shape, **shapes}
    fields: dict[str, Any] = {"general.architecture": architecture}
    fields |= {f"{architecture}.{name}": value for name, value in values.items()}
    _compare(config, architecture, known.config, _Plan(fields, shapes, factors))
    _check_llama_cpp(config, architecture)
    fields["general.file_type"] = int(ggml.LlamaFileType.ALL_F32)
    fields |= vocabulary.fields(tokenizer, config.vocab_size)

    def arrays():
        if factors is not None:
            yield factors
        for mapping in mappings:
            numbers = np.asarray(variables[mapping.path].value, np.float32)
            for hf_name, array in mapping.to_hf(numbers).items():
                name = names[hf_name]
                array = array.T if known.is_transposed(name, array.shape) else array
                yield known.redo(name, array, value)

    with files.staged_file(path) as new:
        _write(new, fields, shapes, arrays())


def check_name(path) -> None:
    """Checks the name of a new GGUF file.

    Raises:
      ValueError: the name does not end in .gguf, or the file exists.
    """
    if pathlib.Path(path).suffix != SUFFIX:
        raise ValueError(f"{path}: a name that ends in {SUFFIX} allowed.")
    files.refuse_existing(path)


def _names(known, layers) -> dict[str, str]:
    """Returns ggml's names by Hugging Face's names."""
    names = {}
    for pattern, hf_name in known.names.items():
        for i in range(layers) if "{i}" in pattern else (0,):
            name = pattern.replace("{i}", f"blk.{i}")
            for end in ("weight", "bias"):
                names[f"{hf_name.replace('{i}', str(i))}.{end}"] = f"{name}.{end}"
    return names


# ------------------------------------------------------------------ fields


def _fields(architecture, c) -> dict[str, Any]:
    """Returns the fields of a Config; `_compare` finds what they do not express."""
    fields = {
        "context_length": c.context,
        "embedding_length": c.width,
        "block_count": c.layers,
        "feed_forward_length": c.mlp_width,
        "attention.head_count": c.heads,
    }
    if architecture == "gpt2":
        return fields | {"attention.layer_norm_epsilon": c.norm_epsilon}
    fields |= {
        "attention.head_count_kv": c.kv_heads,
        "attention.key_length": c.head_width,
        "attention.value_length": c.head_width,
        "attention.layer_norm_rms_epsilon": c.norm_epsilon,
        "rope.dimension_count": c.head_width,
        "rope.freq_base": float(c.rope_theta),
    }
    if c.rope_scaling in ("linear", "yarn"):
        fields["rope.scaling.type"] = c.rope_scaling
        fields["rope.scaling.factor"] = float(c.rope_factor)
    if c.rope_scaling == "yarn":
        fields["rope.scaling.original_context_length"] = c.rope_context
    if architecture == "llama":
        return fields | ({"attention.sliding_window": c.window} if c.window else {})
    if architecture in ("gemma2", "gemma3"):
        fields["attention.sliding_window"] = c.window or c.context
        if c.attention_softcap:
            fields["attn_logit_softcapping"] = float(c.attention_softcap)
        if c.logit_softcap:
            fields["final_logit_softcapping"] = float(c.logit_softcap)
    if architecture == "gemma3":
        every = c.global_layers[0] + 1 if c.global_layers else c.layers + 1
        fields["attention.sliding_window_pattern"] = every if c.window else 1
        if c.rope_local_theta:
            fields["rope.freq_base_swa"] = float(c.rope_local_theta)
    return fields


def _factors(c):
    """Returns the slowdown of each frequency by Llama 3's scaling, or None."""
    if c.rope_scaling != "llama3":
        return None
    slowdown = rope.slowdown(c.rope_factor, c.rope_theta, c.rotary_width)
    return slowdown.astype(np.float32)


def _compare(config, architecture, read, plan):
    """Refuses a Config that would be read back as another Config."""
    found = hf.with_defaults(hf.from_hf(read(Fields(plan), plan), plan.where))
    for field in dataclasses.fields(config):
        wanted, read_back = getattr(config, field.name), getattr(found, field.name)
        if isinstance(wanted, float) and math.isclose(wanted, read_back, rel_tol=1e-6):
            continue  # a file has float32
        if field.name not in _NOT_IN_FILE and wanted != read_back:
            raise ValueError(
                f"GGUF: {architecture} with {field.name} {wanted!r}; {read_back!r} "
                "allowed in a file."
            )


def _check_llama_cpp(c, architecture):
    """Refuses what a file can express, but llama.cpp does not support."""
    square = c.heads * c.head_width
    for wrong, field, allowed in (
        (architecture == "llama" and 0 < c.window < c.context, "window", "0"),
        (
            architecture != "llama" and c.rope_scaling == "llama3",
            "rope_scaling",
            "none, linear, yarn",
        ),
        (
            architecture == "qwen2" and square != c.width,
            "head_width",
            f"{c.width} / {c.heads}",
        ),
        (
            architecture in ("qwen3", "gemma2", "gemma3") and c.out_bias,
            "out_bias",
            "False",
        ),
        (architecture == "gemma2" and not c.tied_head, "tied_head", "True"),
    ):
        if wrong:
            raise ValueError(
                f"GGUF: {architecture} with {field} {getattr(c, field)!r}, which "
                f"llama.cpp does not support; {allowed} allowed."
            )


# ------------------------------------------------------------------ the file


def _write(path, fields, shapes, arrays):
    """Writes the header and the tensors, in the order of `shapes`."""
    writer = ggml.GGUFWriter(path, fields.pop("general.architecture"))
    add = {
        bool: writer.add_bool,
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
        list: writer.add_array,
    }
    for name, value in fields.items():
        value = value.tolist() if isinstance(value, np.ndarray) else value
        add[type(value)](name, value)
    for name, shape in shapes.items():
        size = int(np.prod(shape)) * _SIZE
        writer.add_tensor_info(name, shape, np.dtype(np.float32), size)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for (name, shape), array in zip(shapes.items(), arrays, strict=True):
            if array.shape != shape:
                raise ValueError(f"{name}: {array.shape}, {shape} expected.")
            writer.write_tensor_data(np.ascontiguousarray(array, np.float32))
    finally:
        writer.close()
