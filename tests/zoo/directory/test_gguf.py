"""GGUF files of every architecture, of every type of numbers, with tokenizers."""

import gguf
import ml_dtypes
import numpy as np
import pytest
from gguf_files import HF, K, byte_level, tensors_of, write

from zoo import directory
from zoo.directory import hf
from zoo.directory.gguf import reader
from zoo.directory.gguf import tokenizer as gguf_tokenizer

# ------------------------------------------------------------------ models


@pytest.mark.parametrize("name", HF)
def test_architectures(name, tmp_path):
    path = tmp_path / "model.gguf"
    wanted = write(path, name)
    found = directory.read(path)
    assert set(found.tensors) == set(wanted)
    for hf_name, array in wanted.items():
        assert found.tensors.shapes[hf_name] == array.shape
        np.testing.assert_array_equal(found.tensors[hf_name], array, hf_name)
    assert hf.with_defaults(hf.from_hf(found.config, "")) == hf.with_defaults(
        hf.from_hf(HF[name] | {"resid_pdrop": 0.1}, "")
    )


def test_a_file_becomes_the_same_model(tmp_path):
    wanted = write(tmp_path / "model.gguf", "qwen3", more=byte_level)
    loaded = directory.load(tmp_path / "model.gguf")
    directory.save(tmp_path / "model", *loaded)
    again = directory.read(tmp_path / "model")
    for name, array in wanted.items():
        np.testing.assert_array_equal(again.tensors[name], array)
    assert again.tokenizer().encode("the theme") == loaded.tokenizer.encode("the theme")


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0"])
def test_types_of_numbers(kind, tmp_path):
    kind = K[kind]
    path = tmp_path / "model.gguf"
    wanted = write(path, "llama", kind=kind)
    found = directory.read(path).tensors
    for name, array in wanted.items():
        if array.ndim == 2 and kind not in (K.F16, K.BF16):
            array = gguf.dequantize(gguf.quantize(array, kind), kind)
        if array.ndim == 2 and kind == K.F16:
            assert found[name].dtype == np.float16
        if array.ndim == 2 and kind == K.BF16:
            assert found[name].dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(found[name].astype(np.float32), array)


def test_a_head_of_its_own_and_a_copy(tmp_path):
    value = HF["qwen3"] | {"tie_word_embeddings": False}
    tensors = tensors_of(value)
    write(tmp_path / "a.gguf", "qwen3", value, tensors)
    assert directory.read(tmp_path / "a.gguf").config["tie_word_embeddings"] is False
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    write(tmp_path / "b.gguf", "qwen3", value, tensors)
    found = directory.read(tmp_path / "b.gguf")
    assert found.config["tie_word_embeddings"] is True
    assert "lm_head.weight" not in found.tensors


# ------------------------------------------------------------------ tokenizers


@pytest.mark.parametrize("pre, twelve", [("smollm", 2), ("llama-bpe", 1), ("qwen2", 2)])
def test_byte_level_tokenizer(pre, twelve, tmp_path):
    path = tmp_path / "model.gguf"
    write(path, "gpt2", more=lambda writer: byte_level(writer, pre))
    tokenizer = directory.read(path).tokenizer()
    assert tokenizer.end_token == "<|end|>"
    assert tokenizer.chat_template == "{{ messages[0].content }}"
    ids = tokenizer.encode("the the12")
    assert len(ids) == 2 + twelve
    assert tokenizer.decode(ids) == "the the12"
    assert tokenizer.encode("<think>") == [1]  # no special one, so users write it too
    assert tokenizer.encode("the<|end|>", special=True)[1:] == [0]
    assert 0 not in tokenizer.encode("the<|end|>")


def test_sentencepiece_tokenizer(tmp_path):
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    merged = ["▁a", "ab", "▁ab", "abc"]  # the worst score comes first in the file
    kinds = [2, 3, 3, *[6] * 256, *[1] * 8]
    scores = [0.0] * 259 + [-9.0, -2.0, -3.0, -1.0] + [-10.0] * 4

    def fields(writer):
        writer.add_tokenizer_model("llama")
        writer.add_token_list([*pieces, *merged, *"▁abc"])
        writer.add_token_scores(scores)
        writer.add_token_types(kinds)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_eot_token_id(1)

    write(tmp_path / "model.gguf", "gpt2", more=fields)
    tokenizer = reader.read(tmp_path / "model.gguf").tokenizer()
    first = 259
    # "ab" has a better score than "▁a", and "▁abc" is no piece
    assert tokenizer.encode("abc") == [first + 4, first + 3]
    assert tokenizer.encode("ab") == [first + 2]
    assert tokenizer.encode("a") == [first]
    text = "ab é"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.config["end_tokens"] == ["</s>", "<s>"]
    assert tokenizer.config["bos_token"] == "<s>"


def test_rows_that_fill_up_are_no_tokens(tmp_path):
    def fields(writer):
        tokens = ["<|end|>", *"therm", "Ġ", "1", "2"]
        byte_level(writer, "gpt-2", tokens, [3, *[1] * 8, 1, 1, 1, 5])

    write(tmp_path / "model.gguf", "gpt2", more=fields)
    with pytest.raises(ValueError, match="not a tokenizer"):
        directory.read(tmp_path / "model.gguf").tokenizer()  # a merge needs the last


def test_tokenizers_that_do_not_fit():
    fields = {
        "general.architecture": "gpt2",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["a", "b", "[PAD2]", "[PAD3]"],
        "tokenizer.ggml.token_type": np.array([1, 3, 5, 5]),
        "tokenizer.ggml.merges": [],
        "tokenizer.ggml.eos_token_id": 1,
    }
    assert gguf_tokenizer.read(fields, "x").vocab_size == 2
    for name, value, message in (
        ("tokens", ["a", "a", "b"], "'a' appears twice"),
        ("token_type", np.array([1, 3]), "2 numbers"),
        ("eos_token_id", 7, "0 to 1 allowed"),
        ("pre", "tekken", "'tekken'. Allowed: default, gpt-2"),
        ("model", "bert", "'bert'. Allowed: gpt2, llama"),
        ("merges", ["a c"], "not a tokenizer"),
        ("merges", 3, "a list allowed"),
        ("tokens", None, "tokenizer.ggml.tokens is missing"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            broken = fields | {f"tokenizer.ggml.{name}": value}
            if name == "tokens" and value:
                broken["tokenizer.ggml.token_type"] = np.ones(3, int)
            gguf_tokenizer.read(broken, "x.gguf")
        assert str(error.value).startswith("x.gguf: ")
