"""Makes the folder `adapters` beside it: LoRA adapters that PEFT trained.

    python3 -m venv /tmp/peers
    /tmp/peers/bin/pip install torch==2.13.0 transformers==5.24.0 peft==0.21.2
    /tmp/peers/bin/python tests/zoo/directory/families/make_adapters.py

The cases with a task get a new head, which is trained in full: "modules_to_save".

One folder a case: what `save_pretrained` of PEFT writes for the model of a family, and
golden.npz with `tokens` [B, T], `lengths` [B], and the `logits` [B, T, V] of the
adapted model, or `features` [B, T, D] of an encoder; [B, C] of a classifier of texts.
"""

import json
import pathlib
import shutil
import sys

import numpy as np
import peft
import torch
import transformers

HERE = pathlib.Path(__file__).parent
STEPS = 4
CASES = {
    "llama": {"r": 3, "lora_alpha": 5, "target_modules": "all-linear"},
    "llama_patterns": {
        "r": 4,
        "target_modules": ["q_proj", "v_proj", "up_proj"],
        "rank_pattern": {"v_proj": 2, "layers.1.self_attn.q_proj": 1},
        "alpha_pattern": {"self_attn.q_proj": 3, "^model.layers.0.mlp.up_proj": 2},
        "use_rslora": True,
    },
    "gpt2": {"r": 3, "target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True},
    "gpt_neox": {"r": 2, "target_modules": ["query_key_value", "dense"]},
    "bert": {"r": 2, "target_modules": ["query", "value", "dense"]},
    "bert_classify": {
        "r": 2,
        "target_modules": ["query", "value"],
        "modules_to_save": ["classifier", "pooler"],
    },
    "llama_classify": {"r": 2, "target_modules": ["q_proj", "v_proj"]},
    "gpt2_tag": {"r": 2, "target_modules": ["c_attn"], "fan_in_fan_out": True},
}
HEADS = {
    "classify": (transformers.AutoModelForSequenceClassification, "SEQ_CLS"),
    "tag": (transformers.AutoModelForTokenClassification, "TOKEN_CLS"),
}


def make(case):
    """Writes the folder of one case."""
    name, _, kind_of = case.rpartition("_")
    family = case if case == "gpt_neox" or not name else name
    encoder = family == "bert"
    base = HERE / ("encoders/bert" if encoder else family)
    torch.manual_seed(1)
    kind = transformers.AutoModel if encoder else transformers.AutoModelForCausalLM
    task = "FEATURE_EXTRACTION" if encoder else "CAUSAL_LM"
    extra = {}
    if kind_of in HEADS:
        kind, task = HEADS[kind_of]
        extra = {"num_labels": 3, "pad_token_id": 0}
    model = kind.from_pretrained(base, attn_implementation="eager", **extra)
    config = peft.LoraConfig(task_type=task, lora_dropout=0.1, **CASES[case])
    model = peft.get_peft_model(model, config)
    golden = np.load(base / "golden.npz")
    tokens = torch.from_numpy(golden["tokens"].astype(np.int64))
    lengths = torch.from_numpy(golden["lengths"].astype(np.int64))
    mask = torch.arange(tokens.shape[1])[None] < lengths[:, None]
    if kind_of in HEADS:  # by the padding, transformers finds the last token
        tokens = torch.where(mask, tokens, 0)
    inputs = {"input_ids": tokens, "attention_mask": mask.long()}
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=0.1)
    for _ in range(STEPS):
        y = model(**inputs)[0]
        errors = torch.square(y - torch.randn(y.shape))
        loss = (errors[mask] if y.dim() == 3 else errors).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = HERE / "adapters" / case
    shutil.rmtree(folder, ignore_errors=True)
    model.eval().save_pretrained(folder)
    (folder / "README.md").unlink()
    path = folder / "adapter_config.json"
    value = json.loads(path.read_text())
    value["base_model_name_or_path"] = f"../../{base.relative_to(HERE)}"
    value["target_modules"].sort()
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
    with torch.no_grad():
        y = model(**inputs)[0]
    if y.dim() == 3:
        y = y * mask[..., None]
    name = "features" if task == "FEATURE_EXTRACTION" else "logits"
    np.savez_compressed(
        folder / "golden.npz",
        tokens=tokens.numpy().astype(np.int32),
        lengths=golden["lengths"],
        **{name: y.numpy()},
    )
    size = sum(p.stat().st_size for p in folder.iterdir())
    print(f"{case}: loss {float(loss):.3f}, {size} bytes")


if __name__ == "__main__":
    for name in sys.argv[1:] or CASES:
        make(name)
