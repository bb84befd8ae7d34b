"""Writes a model as a GGUF file, which llama.cpp reads.

The names, and what llama.cpp changes in some tensors, are those of `gguf`, read from
right to left. Before a byte is written, what would be written is read as `gguf` reads
it and compared with the model, so that nothing GGUF has no word for gets lost.
"""

import dataclasses
import math
import pathlib
from typing import Any

import gguf as ggml
import numpy as np

from zoo import files, registry
from zoo.directory import hf
from zoo.directory.gguf import file as gguf_file
from zoo.directory.gguf import rope, vocabulary
from zoo.directory.gguf.fields import Fields
from zoo.directory.gguf.reader import ARCHITECTURES
from zoo.directory.pretrained import by_path, table
from zoo.models.transformer_config import Config

SUFFIX = ".gguf"
_F32 = ggml.GGMLQuantizationType.F32
_SIZE = np.dtype(np.float32).itemsize
# Families that have an architecture of another name.
_ARCHITECTURE = {"mistral": "llama", "gemma3_text": "gemma3"}
# Not in a file: of training, and a head that is equal to the embedding is tied.
_UNSAID = ("dropout", "tied_head")


class _Plan(gguf_file.File):
    """What a file will say, for the functions that read one; there is none yet."""

    def __init__(self, fields, shapes, factors):
        self.where, self.fields, self._factors = "GGUF", fields, factors
        self.tensors = {
            name: gguf_file.Stored(_F32, shape, 0, 0)
            for name, shape in shapes.items()
            if not name.startswith("output.")  # nobody needs to look into it
        }

    def array(self, name):
        return self._factors


def write(path, model, tokenizer) -> None:
    """Writes a GGUF file in float32, whole or not at all.

    Args:
      path: a name *.gguf that nothing has yet.
      model: a `transformer_lm`.
      tokenizer: a `Tokenizer`.

    Raises:
      ValueError: the name, or a model or tokenizer that GGUF or llama.cpp has no word
        for.
    """
    check_name(path)
    config = model.config
    value = hf.to_hf(config) if isinstance(config, Config) else None
    family = value["model_type"] if value else registry.name_of(config)
    architecture = _ARCHITECTURE.get(family, family)
    if value is None or architecture not in ARCHITECTURES:
        raise ValueError(
            f"GGUF: a model of the kind {family}; a transformer_lm that is built like "
            f"one of {', '.join(sorted(ARCHITECTURES))} allowed."
        )
    if tokenizer is None:
        raise ValueError("GGUF: the model has no tokenizer; one is needed.")
    config, known = hf.filled(config), ARCHITECTURES[architecture]
    names = _names(known, config.layers)
    rows, variables = table(model, family), by_path(model)
    shapes = {}
    for row in rows:
        wanted = row.shapes(tuple(variables[row.ours].shape))
        for theirs, shape in zip(row.theirs, wanted, strict=True):
            turns = known.turns(names[theirs], shape)
            shapes[names[theirs]] = shape[::-1] if turns else shape
    said, factors = _fields(architecture, config), _factors(config)
    if factors is not None:
        shapes = {rope.FREQUENCIES: factors.shape, **shapes}
    fields = {"general.architecture": architecture}
    fields |= {f"{architecture}.{name}": said[name] for name in said}
    _compare(config, architecture, known.config, _Plan(fields, shapes, factors))
    _check_llama_cpp(config, architecture)
    fields["general.file_type"] = int(ggml.LlamaFileType.ALL_F32)
    fields |= vocabulary.fields(tokenizer, config.vocab_size)

    def arrays():
        if factors is not None:
            yield factors
        for row in rows:
            ours = np.asarray(variables[row.ours].value, np.float32)
            for theirs, array in row.to_theirs(ours).items():
                name = names[theirs]
                array = array.T if known.turns(name, array.shape) else array
                yield known.redo(name, array, value)

    with files.staged_file(path) as new:
        _write(new, fields, shapes, arrays())


def check_name(path) -> None:
    """Refuses what cannot be the name of a new GGUF file.

    Raises:
      ValueError: it ends otherwise, or something has it already.
    """
    if pathlib.Path(path).suffix != SUFFIX:
        raise ValueError(f"{path}: a name that ends in {SUFFIX} allowed.")
    files.refuse_there(path)


def _names(known, layers) -> dict[str, str]:
    """ggml's names by Hugging Face's."""
    names = {}
    for ours, theirs in known.names.items():
        for i in range(layers) if "{i}" in ours else (0,):
            name = ours.replace("{i}", f"blk.{i}")
            for end in ("weight", "bias"):
                names[f"{theirs.replace('{i}', str(i))}.{end}"] = f"{name}.{end}"
    return names


# ------------------------------------------------------------------ fields


def _fields(architecture, c) -> dict[str, Any]:
    """What a file says of a `filled` Config; what it cannot say is found later."""
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
    """What Llama 3's stretch is kept as, or None."""
    if c.rope_scaling != "llama3":
        return None
    slowed = rope.slowed(c.rope_factor, c.rope_theta, c.rotary_width)
    return slowed.astype(np.float32)


def _compare(config, architecture, read, plan):
    """Refuses a Config that would be read as another one."""
    found = hf.filled(hf.from_hf(read(Fields(plan), plan), plan.where))
    for field in dataclasses.fields(config):
        ours, theirs = getattr(config, field.name), getattr(found, field.name)
        if isinstance(ours, float) and math.isclose(ours, theirs, rel_tol=1e-6):
            continue  # a file has float32
        if field.name not in _UNSAID and ours != theirs:
            raise ValueError(
                f"GGUF: {architecture} with {field.name} {ours!r}; {theirs!r} is what "
                "a file can say."
            )


def _check_llama_cpp(c, architecture):
    """Refuses what a file can say, but llama.cpp does not do."""
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
                f"llama.cpp does not do; {allowed} allowed."
            )


# ------------------------------------------------------------------ the file


def _write(path, fields, shapes, arrays):
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
