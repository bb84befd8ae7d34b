"""Makes the golden files beside it: tiny random models by transformers and torch.

    python3 -m venv /tmp/peers
    /tmp/peers/bin/pip install torch==2.13.0 transformers==5.23.0
    /tmp/peers/bin/python tests/zoo/directory/families/make_golden.py

One folder a family: a Hugging Face directory, and golden.npz with `tokens` [B, T]
(right-padded), `lengths` [B], `logits` [B, T, V] of transformers (zeros behind a row's
end), and the 64 tokens that its greedy generation writes after each prompt [B, 64].
rope.json holds the angles of stretched rotary positions.
"""

import json
import pathlib
import shutil
import sys

import numpy as np
import torch
import transformers
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

HERE = pathlib.Path(__file__).parent
LENGTHS = [11, 1, 6]
NEW = 64
CONTEXT = 96
ENDLESS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
SIZES = {"vocab_size": 48, "hidden_size": 32, "num_attention_heads": 4}
SIZES |= {"num_hidden_layers": 2, "max_position_embeddings": CONTEXT, **ENDLESS}
GATED = {**SIZES, "num_key_value_heads": 2, "intermediate_size": 24}
PLAIN = {**SIZES, "intermediate_size": 40}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}
LLAMA3 |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 32}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24}
LINEAR = {"rope_type": "linear", "factor": 8.0}
MIXED = ["full_attention", "sliding_attention"]

FAMILIES = {
    "gpt2": {
        **ENDLESS,
        "vocab_size": 48,
        "n_embd": 32,
        "n_head": 4,
        "n_layer": 2,
        "n_positions": CONTEXT,
        "n_inner": 40,
    },
    "llama": {**GATED, "rope_parameters": {**LLAMA3, "rope_theta": 100.0}},
    "mistral": {**GATED, "head_dim": 12, "sliding_window": 5},
    "qwen2": {
        **GATED,
        "tie_word_embeddings": True,
        "rope_parameters": {**YARN, "rope_theta": 100.0},
    },
    "qwen3": {
        **GATED,
        "head_dim": 16,
        "use_sliding_window": True,
        "sliding_window": 4,
        "max_window_layers": 1,
    },
    "gemma2": {
        **GATED,
        "head_dim": 16,
        "query_pre_attn_scalar": 24,
        "sliding_window": 4,
        "attn_logit_softcapping": 3.0,
        "final_logit_softcapping": 8.0,
    },
    "gemma3_text": {
        **GATED,
        "num_hidden_layers": 3,
        "head_dim": 12,
        "query_pre_attn_scalar": 20,
        "sliding_window": 4,
        "layer_types": [MIXED[1], MIXED[1], MIXED[0]],
        "rope_parameters": {
            "full_attention": {**LINEAR, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    },
    "gpt_neox": {**PLAIN, "rotary_pct": 0.25},
    "opt": {
        **SIZES,
        "ffn_dim": 40,
        "word_embed_proj_dim": 32,
    },
    "phi": {**PLAIN, "partial_rotary_factor": 0.5, "num_key_value_heads": 2},
}


def made(family, seed):
    """A model whose weights are large enough that everything in it matters."""
    config = transformers.AutoConfig.for_model(family, **FAMILIES[family])
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=random)
            is_scale = parameter.dim() == 1 and parameter.mean() == 1
            parameter.copy_(noise * 0.3 + (1.0 if is_scale else 0.0))
        if family.startswith("gemma"):
            # tied, and scaled as well: the model would only repeat its last token
            model.model.embed_tokens.weight *= 0.5
            model.model.norm.weight.copy_(torch.randn(32, generator=random) - 1)
    return model


def written(model, prompt):
    """Greedy tokens after a prompt, and by how much the closest of them won."""
    with torch.no_grad():
        ids = model.generate(
            prompt[None],
            attention_mask=torch.ones_like(prompt[None]),
            do_sample=False,
            max_new_tokens=NEW,
            use_cache=True,
        )
        logits = model(ids).logits[0, len(prompt) - 1 : -1]
    best = logits.topk(2).values
    return ids[0, len(prompt) :], (best[:, 0] - best[:, 1]).min()


def make(family):
    """Writes the folder of one family, of the first seed with clear choices."""
    folder = HERE / family
    for seed in range(200):
        model = made(family, seed)
        random = torch.Generator().manual_seed(seed)
        shape = (len(LENGTHS), max(LENGTHS))
        tokens = torch.randint(model.config.vocab_size, shape, generator=random)
        greedy, least, kinds = [], 1.0, NEW
        for row, length in zip(tokens, LENGTHS, strict=True):
            ids, margin = written(model, row[:length])
            greedy.append(ids.numpy().astype(np.int32))
            least, kinds = min(least, float(margin)), min(kinds, len(ids.unique()))
            if least < 1e-3 or kinds < 8:
                break
        else:
            break
    else:
        raise SystemExit(f"{family}: no seed gives clear and varied choices.")
    mask = torch.arange(shape[1])[None] < torch.tensor(LENGTHS)[:, None]
    with torch.no_grad():
        logits = model(tokens, attention_mask=mask.long()).logits
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    np.savez_compressed(
        folder / "golden.npz",
        tokens=tokens.numpy().astype(np.int32),
        lengths=np.int32(LENGTHS),
        logits=(logits * mask[..., None]).numpy(),
        greedy=np.stack(greedy),
    )
    size = sum(p.stat().st_size for p in folder.iterdir())
    print(f"{family}: seed {seed}, margin {least:.4f}, {kinds} kinds, {size} bytes")


STRETCHED = [
    {"rope_type": "default"},
    {**LINEAR, "factor": 2.5},
    LLAMA3,
    {**LLAMA3, "factor": 32.0, "original_max_position_embeddings": 8192},
    {**LLAMA3, "low_freq_factor": 0.5, "high_freq_factor": 6.0},
    YARN,
    {**YARN, "factor": 40.0, "original_max_position_embeddings": 4096},
    {**YARN, "beta_fast": 8.0, "beta_slow": 0.5},
    {**YARN, "attention_factor": 0.7},
    {**YARN, "mscale": 0.8, "mscale_all_dim": 0.5},
    {**YARN, "factor": 1.0},
]


def make_rope():
    """Writes what transformers makes of each way to stretch, of two head widths."""
    entries = []
    for head_dim in (16, 64):
        for said in STRETCHED:
            rope = {**said, "rope_theta": 5e5}
            sizes = {**GATED, "head_dim": head_dim, "max_position_embeddings": 32768}
            config = transformers.LlamaConfig(**sizes, rope_parameters=rope)
            layer = LlamaRotaryEmbedding(config)
            entries.append(
                {
                    "head_dim": head_dim,
                    "rope_parameters": rope,
                    "frequencies": layer.inv_freq.double().tolist(),
                    "magnitude": layer.attention_scaling,
                }
            )
    (HERE / "rope.json").write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    make_rope()
    for name in sys.argv[1:] or FAMILIES:
        make(name)
