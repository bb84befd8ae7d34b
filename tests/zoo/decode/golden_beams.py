"""A small GPT-2 and 200 cases of beam search, for the golden file and for its test."""

import numpy as np

VOCAB, WIDTH, LAYERS, CONTEXT, MOST = 61, 16, 2, 48, 14
CONFIG = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "vocab_size": VOCAB,
    "n_positions": CONTEXT,
    "n_embd": WIDTH,
    "n_layer": LAYERS,
    "n_head": 2,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
}
# directories of rules: end tokens, and fields of a generation_config.json
DIRECTORIES = {
    "plain": ([3], {}),
    "two_ends": ([3, 17], {}),
    "no_end": ([], {}),
    "rules": (
        [3],
        {
            "forced_bos_token_id": 5,
            "forced_eos_token_id": 3,
            "bad_words_ids": [[7], [8, 9], [3], [11, 12, 13]],
        },
    ),
}


def tensors():
    """The weights by Hugging Face's names, [in, out] as GPT-2 has them."""
    random = np.random.RandomState(12)

    def normal(*shape, scale=0.35):
        return (scale * random.standard_normal(shape)).astype(np.float32)

    found = {
        "transformer.wte.weight": normal(VOCAB, WIDTH, scale=0.6),
        "transformer.wpe.weight": normal(CONTEXT, WIDTH),
    }
    for i in range(LAYERS):
        for name, rows, columns in (
            ("attn.c_attn", WIDTH, 3 * WIDTH),
            ("attn.c_proj", WIDTH, WIDTH),
            ("mlp.c_fc", WIDTH, 4 * WIDTH),
            ("mlp.c_proj", 4 * WIDTH, WIDTH),
        ):
            found[f"transformer.h.{i}.{name}.weight"] = normal(rows, columns)
            found[f"transformer.h.{i}.{name}.bias"] = normal(columns, scale=0.1)
        for name in ("ln_1", "ln_2"):
            found[f"transformer.h.{i}.{name}.weight"] = 1 + normal(WIDTH, scale=0.1)
            found[f"transformer.h.{i}.{name}.bias"] = normal(WIDTH, scale=0.1)
    found["transformer.ln_f.weight"] = 1 + normal(WIDTH, scale=0.1)
    found["transformer.ln_f.bias"] = normal(WIDTH, scale=0.1)
    return found


def cases():
    """The 50 rows of each directory: a prompt, and the value of each knob."""
    random = np.random.RandomState(34)
    found = {}
    for name in DIRECTORIES:
        rows = []
        for _ in range(50):
            size = int(random.randint(1, 9)) if name != "rules" else 1
            size += int(random.randint(0, 2)) if name == "rules" else 0
            beams = int(random.randint(2, 6))
            rows.append(
                {
                    "prompt": random.randint(18, VOCAB, size).tolist(),
                    "max_new_tokens": int(random.randint(1, MOST + 1)),
                    "repetition_penalty": float(random.choice([1.0, 1.0, 1.3, 0.8])),
                    "beams": beams,
                    "length_penalty": float(random.choice([1.0, 0.0, 2.0, -0.5])),
                    "early_stopping": int(random.randint(0, 3)),
                    "num_return_sequences": int(random.randint(1, beams + 1)),
                    "no_repeat_ngram": int(random.choice([0, 0, 1, 2, 3])),
                }
            )
        found[name] = rows
    return found
