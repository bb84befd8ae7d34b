"""GGUF files that are refused: broken ones, and what our models do not have."""

import struct

import gguf
import numpy as np
import pytest
from gguf_files import HF, K, byte_level, write

from zoo import directory
from zoo.directory.gguf import file as gguf_file


@pytest.mark.parametrize(
    "more, message",
    [
        (lambda w: w.add_expert_count(8), "expert_count 8"),
        (lambda w: w.add_rope_dimension_count(8), "dimension_count 8; allowed: 16"),
        (lambda w: w.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE), "longrope"),
        (lambda w: w.add_uint16("split.count", 3), "is one of 3 files"),
        (lambda w: w.add_causal_attention(False), "attention.causal False"),
        (
            lambda w: w.add_tensor("rope_freqs.weight", np.full(8, 2, np.float32)),
            "has other numbers",
        ),
        (
            lambda w: w.add_tensor("blk.0.ssm_a.weight", np.ones(8, np.float32)),
            "blk.0.ssm_a.weight does not belong to",
        ),
    ],
)
def test_what_a_model_does_not_have(more, message, tmp_path):
    path = tmp_path / "model.gguf"
    value = {k: v for k, v in HF["biased"].items() if k != "rope_scaling"}

    def fields(writer):
        if "longrope" in message:
            writer.add_rope_scaling_factor(2.0)
        more(writer)

    write(path, "llama", value, more=fields)
    with pytest.raises(ValueError, match=message) as error:
        directory.read(path)
    assert str(error.value).startswith(str(path))


def test_unknown_architectures_and_types(tmp_path):
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "mamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ValueError, match="'mamba'.* Allowed: gemma2, gemma3, gpt2"):
        directory.read(path)
    header, kinds = (
        raw(tensors=1, fields=0),
        struct.pack("<I", 1) + struct.pack("<Q", 4),
    )
    for number, name in ((26, "I32"), (999, "999")):
        tail = struct.pack("<IQ", number, 0)
        text = header + string(b"w") + kinds + tail + bytes(200)
        path.write_bytes(text)
        with pytest.raises(ValueError, match=f"tensor w is of the type {name}"):
            directory.read(path)


def string(text):
    return struct.pack("<Q", len(text)) + text


def raw(version=3, tensors=0, fields=1):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, fields)


HUGE = 2**60
ARRAY = string(b"a") + struct.pack("<I", 9)
TENSOR = string(b"w") + struct.pack("<IQIQ", 1, 64, 0, 0)
BROKEN = {
    "magic": (b"GGML" + bytes(60), "does not begin with the letters GGUF"),
    "empty": (b"", "does not begin"),
    "version": (raw(9), "version 9"),
    "big-endian": (raw(3 << 24), "big-endian"),
    "cut": (b"GGUF\3", "the header continues"),
    "tensors": (raw(tensors=HUGE), f"{HUGE} tensors, at most"),
    "fields": (raw(fields=HUGE), f"{HUGE} fields, at most"),
    "name": (raw() + struct.pack("<Q", HUGE), f"has {HUGE} bytes"),
    "array": (raw() + ARRAY + struct.pack("<IQ", 0, HUGE), "the header continues"),
    "strings": (raw() + ARRAY + struct.pack("<IQ", 8, HUGE), "the header continues"),
    "nested": (raw() + ARRAY + struct.pack("<IQ", 9, 1) + bytes(99), "of the type 9"),
    "kind": (raw() + string(b"a") + struct.pack("<I", 77), "the unknown type 77"),
    "twice": (raw(fields=2) + (string(b"a") + bytes(5)) * 2, "appears twice"),
    "utf-8": (raw() + string(b"\xff\xfe"), "is not UTF-8"),
    "dims": (
        raw(tensors=1, fields=0) + string(b"w") + struct.pack("<I", HUGE >> 40),
        "dimensions",
    ),
    "shape": (
        raw(tensors=1, fields=0) + string(b"w") + struct.pack("<IQIQ", 1, 0, 0, 0),
        "has the shape",
    ),
    "large": (
        raw(tensors=1, fields=0) + string(b"w") + struct.pack("<IQIQ", 1, HUGE, 0, 0),
        "but the file has",
    ),
    "overlap": (
        raw(tensors=2, fields=0) + TENSOR + TENSOR.replace(b"w", b"v") + bytes(999),
        "lies inside",
    ),
    "offset": (
        raw(tensors=1, fields=0)
        + string(b"w")
        + struct.pack("<IQIQ", 1, 64, 0, 2**64 - 8)
        + bytes(999),
        "begins at the offset",
    ),
    "alignment": (
        raw(tensors=0, fields=1)
        + string(b"general.alignment")
        + struct.pack("<II", 4, 3),
        "general.alignment 3",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(name, tmp_path):
    text, message = BROKEN[name]
    path = tmp_path / "model.gguf"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=message) as error:
        directory.read(path)
    assert str(error.value).startswith(f"{path}: cannot be read as GGUF: ")


def test_every_cut_of_a_file_is_refused(tmp_path):
    path = tmp_path / "model.gguf"
    write(path, "gpt2", more=byte_level)
    text = path.read_bytes()
    gguf_file.read(path)
    cuts = {*range(0, 3000, 7), len(text) - 1, len(text) // 2}
    for cut in sorted(cut for cut in cuts if cut < len(text)):
        path.write_bytes(text[:cut])
        with pytest.raises(ValueError, match="model.gguf: "):
            gguf_file.read(path)


def test_changed_bytes_end_in_one_clear_error(tmp_path):
    path = tmp_path / "model.gguf"
    write(path, "llama", more=byte_level, kind=K.Q8_0)
    text = bytearray(path.read_bytes())
    random = np.random.default_rng(1)
    refused = 0
    for _ in range(300):
        changed = bytearray(text)
        for at in random.integers(0, 3000, 3):
            changed[at] = random.integers(256)
        path.write_bytes(changed)
        try:
            found = directory.read(path)
            found.tokenizer()
            for name in found.tensors:
                np.asarray(found.tensors[name])
        except ValueError as error:
            refused += 1
            assert str(error).startswith(str(path)), error
            assert len(str(error)) < 600, error
    assert refused > 100
