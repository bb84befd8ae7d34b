"""GGUF files that the tests write, of models of every architecture, and broken ones."""

import struct

import gguf
import ml_dtypes
import numpy as np
import pytest

from zoo import directory, registry
from zoo.directory import assemble, hf
from zoo.directory.gguf import file as gguf_file
from zoo.directory.gguf import reader
from zoo.directory.gguf import tokenizer as gguf_tokenizer

K = gguf.GGMLQuantizationType
ROPE = {"rope_theta": 500000.0}
SIZES = {"vocab_size": 64, "max_position_embeddings": 32, "hidden_size": 32}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64}
SIZES |= {"num_hidden_layers": 2, "rms_norm_eps": 1e-6, "head_dim": 16, **ROPE}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}
LLAMA3 |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8}
LINEAR = {"rope_type": "linear", "factor": 8.0}
GEMMA = {**SIZES, "sliding_window": 8, "query_pre_attn_scalar": 16}
HF = {
    "llama": {"model_type": "llama", **SIZES, "rope_scaling": LLAMA3},
    "mistral": {"model_type": "mistral", **SIZES, "sliding_window": 8},
    "biased": {
        "model_type": "llama",
        **SIZES,
        "attention_bias": True,
        "mlp_bias": True,
        "tie_word_embeddings": True,
    },
    "qwen2": {"model_type": "qwen2", **SIZES, "rope_scaling": YARN},
    "qwen3": {"model_type": "qwen3", **SIZES, "tie_word_embeddings": True},
    "gemma2": {"model_type": "gemma2", **GEMMA},
    "gemma3": {
        "model_type": "gemma3_text",
        **GEMMA,
        "num_hidden_layers": 6,
        "rope_scaling": LINEAR,
    },
    "gpt2": {
        "model_type": "gpt2",
        "vocab_size": 64,
        "n_positions": 32,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_inner": 64,
    },
}
ARCHITECTURES = {"mistral": "llama", "biased": "llama"}
INNER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
OUTER = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
}


def ggml_name(hf_name, gemma):
    """The name that llama.cpp's converter gives a tensor."""
    body, end = hf_name.rsplit(".", 1)
    if body in OUTER:
        return f"{OUTER[body]}.{end}"
    block, inner = body.split(".", 3)[-2:]
    name = INNER[inner]
    if gemma and inner == "post_attention_layernorm":
        name = "post_attention_norm"
    return f"blk.{block}.{name}.{end}"


def permuted(rows, heads):
    """Two halves of a head become pairs, as llama.cpp's converter writes them."""
    order = np.arange(len(rows)).reshape(heads, 2, -1).transpose(0, 2, 1)
    return rows[order.reshape(-1)]


def tensors_of(value):
    """Random tensors by Hugging Face's names."""
    random = np.random.default_rng(0)
    config = hf.from_hf(value, "test")
    model = registry.build_config(config)
    shapes = {}
    variables = assemble.by_path(model)
    for mapping in assemble.weight_mappings(model, value["model_type"]):
        wanted = mapping.shapes(tuple(variables[mapping.path].shape))
        shapes |= dict(zip(mapping.hf_names, wanted, strict=True))
    # the 1 of Gemma's norms comes and goes without loss
    return {
        name: (random.integers(-8, 8, shape) / 8).astype(np.float32)
        for name, shape in shapes.items()
    }


def write(path, name, value=None, tensors=None, kind=K.F32, more=lambda writer: None):
    """Writes what llama.cpp's converter would."""
    value = value or HF[name]
    tensors = tensors_of(value) if tensors is None else tensors
    architecture = ARCHITECTURES.get(name, name)
    writer = gguf.GGUFWriter(path, architecture)
    gpt2 = architecture == "gpt2"

    def field(name, hf_name):
        return value[hf_name if gpt2 else name]

    writer.add_context_length(field("max_position_embeddings", "n_positions"))
    writer.add_embedding_length(field("hidden_size", "n_embd"))
    writer.add_block_count(field("num_hidden_layers", "n_layer"))
    writer.add_feed_forward_length(field("intermediate_size", "n_inner"))
    writer.add_head_count(field("num_attention_heads", "n_head"))
    if gpt2:
        writer.add_layer_norm_eps(1e-5)
    else:
        writer.add_head_count_kv(value["num_key_value_heads"])
        writer.add_key_length(value["head_dim"])
        writer.add_value_length(value["head_dim"])
        writer.add_layer_norm_rms_eps(value["rms_norm_eps"])
        writer.add_rope_freq_base(value["rope_theta"])
    if "sliding_window" in value:
        writer.add_sliding_window(value["sliding_window"])
    if name == "gemma2":
        writer.add_attn_logit_softcapping(50.0)
        writer.add_final_logit_softcapping(30.0)
    rope = value.get("rope_scaling", {})
    if rope.get("rope_type") in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    if rope.get("rope_type") == "yarn":
        before = rope["original_max_position_embeddings"]
        writer.add_rope_scaling_orig_ctx_len(before)
    if rope.get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(value))
    more(writer)
    for hf_name, array in tensors.items():
        ours = ggml_name(hf_name, architecture.startswith("gemma"))
        if architecture == "llama" and ".attn_q." in ours:
            array = permuted(array, value["num_attention_heads"])
        if architecture == "llama" and ".attn_k." in ours:
            array = permuted(array, value["num_key_value_heads"])
        if architecture.startswith("gemma") and ours.endswith("norm.weight"):
            array = array + np.float32(1)
        if gpt2 and array.ndim == 2 and ours.startswith("blk."):
            array = np.ascontiguousarray(array.T)
        this = kind if array.ndim == 2 else K.F32
        if this not in (K.F32, K.F16):
            array = gguf.quantize(array, this)
            writer.add_tensor(ours, array, raw_dtype=this)
        else:
            writer.add_tensor(ours, array.astype(np.float16 if this else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


def llama3_factors(value):
    """By how much each pair slows, as llama.cpp's converter computes it."""
    factors = []
    for i in range(0, value["head_dim"], 2):
        length = 2 * np.pi * value["rope_theta"] ** (i / value["head_dim"])
        if length < 8192 / 4:
            factors.append(1)
        elif length > 8192:
            factors.append(8)
        else:
            smooth = (8192 / length - 1) / (4 - 1)
            factors.append(1 / ((1 - smooth) / 8 + smooth))
    return np.array(factors, np.float32)


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


def byte_level(writer, pre="smollm", tokens=None, kinds=None):
    """The fields of a byte-level tokenizer: a special token, bytes, merges."""
    letters = "thermo"
    tokens = tokens or ["<|end|>", "<think>", *letters, "Ġ", *"0123"]
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("1", "2")]
    tokens = tokens + ["".join(pair) for pair in merges]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds or [3, 4, *[1] * (len(tokens) - 2)])
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(0)
    writer.add_chat_template("{{ messages[0].content }}")


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


# ------------------------------------------------------------------ refusals


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
