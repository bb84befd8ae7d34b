"""GGUF files that the tests write: models of every architecture, and a tokenizer."""

import gguf
import numpy as np

from zoo import registry
from zoo.directory import assemble, hf

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
