"""Makes the golden files of heads: tiny random models by transformers and torch.

    python3 -m venv /tmp/peers
    /tmp/peers/bin/pip install torch==2.13.0 transformers==5.24.0
    /tmp/peers/bin/python tests/zoo/directory/families/make_heads.py

One folder a model in `heads`, named family_task: a Hugging Face directory, and
golden.npz with `tokens` [B, T] (right-padded), `lengths` [B] and `logits` of
transformers: [B, C] of a text, [B, T, C] of tokens (zeros behind a row's end). The
config.json of four folders is that of a published model, with small sizes.
"""

import json
import pathlib
import shutil
import sys

import numpy as np
import torch
import transformers

HERE = pathlib.Path(__file__).parent / "heads"
LENGTHS = [9, 2, 6]
FIRST = 5  # the smallest id of a text; those before are padding and special tokens
ENTITIES = ["O", "B-MISC", "I-MISC", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC"]
ENTITIES += ["I-LOC"]


def names(*labels):
    """The fields of a config.json for the names of labels."""
    return {
        "id2label": {str(i): name for i, name in enumerate(labels)},
        "label2id": {name: i for i, name in sorted(enumerate(labels), reverse=True)},
    }


SIZES = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
SIZES |= {"intermediate_size": 12}
BERT = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 16,
    "model_type": "bert",
    "pad_token_id": 0,
    "type_vocab_size": 2,
    "vocab_size": 30,
    **SIZES,
}
ROBERTA = {
    **BERT,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 18,
    "model_type": "roberta",
    "pad_token_id": 1,
    "type_vocab_size": 1,
}
# config.json files as they were published, by folder
PUBLISHED = {
    # of fine-tunings on SST-2 by transformers 2 to 4: two labels have no names
    "bert_classify": {
        **BERT,
        "architectures": ["BertForSequenceClassification"],
        "finetuning_task": "sst-2",
        "gradient_checkpointing": False,
    },
    # of cross-encoder/ms-marco-*
    "bert_regress": {
        **BERT,
        "architectures": ["BertForSequenceClassification"],
        **names("LABEL_0"),
        "position_embedding_type": "absolute",
        "transformers_version": "4.11.0",
        "use_cache": True,
    },
    # of dslim/bert-base-NER
    "bert_tag": {
        **BERT,
        "_num_labels": 9,
        "architectures": ["BertForTokenClassification"],
        **names(*ENTITIES),
        "output_past": True,
    },
    # of cardiffnlp/twitter-roberta-base-sentiment
    "roberta_classify": {
        **ROBERTA,
        "architectures": ["RobertaForSequenceClassification"],
        "gradient_checkpointing": False,
        **names("LABEL_0", "LABEL_1", "LABEL_2"),
    },
}
PLAIN = {**SIZES, "vocab_size": 30, "max_position_embeddings": 16}
PLAIN |= {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
GATED = {**PLAIN, "num_key_value_heads": 1, "head_dim": 4}
WITHOUT = {k: v for k, v in PLAIN.items() if k != "intermediate_size"}
DECODERS = {
    "gpt2": {**WITHOUT, "n_inner": 12},
    "llama": GATED,
    "mistral": {**GATED, "sliding_window": 4},
    "qwen2": GATED,
    "qwen3": GATED,
    "gemma2": {**GATED, "query_pre_attn_scalar": 3, "sliding_window": 4},
    "gemma3_text": {**GATED, "query_pre_attn_scalar": 3, "sliding_window": 4},
    "gpt_neox": {**PLAIN, "rotary_pct": 0.5},
    "opt": {**WITHOUT, "ffn_dim": 12, "word_embed_proj_dim": 8},
    "phi": PLAIN,
}
CLASSES = {
    "classify": transformers.AutoModelForSequenceClassification,
    "regress": transformers.AutoModelForSequenceClassification,
    "tag": transformers.AutoModelForTokenClassification,
    "mask": transformers.AutoModelForMaskedLM,
}
LABELS = {
    "classify": names("bad", "fair", "good"),
    "regress": names("LABEL_0"),
    "tag": names("O", "B-PER", "I-PER"),
    "mask": {},
}


def cases():
    """Yields the name of each folder, and its config.json."""
    yield from PUBLISHED.items()
    for base, task in ((BERT, "mask"), (ROBERTA, "mask"), (ROBERTA, "tag")):
        yield f"{base['model_type']}_{task}", {**base, **LABELS[task]}
    for family, fields in DECODERS.items():
        without = {"opt": ["tag"], "gemma3_text": ["tag"]}.get(family, [])
        for task in ("classify", "tag"):
            if task not in without:
                yield (
                    f"{family}_{task}",
                    {
                        **fields,
                        "model_type": family,
                        **LABELS[task],
                    },
                )
    yield "gpt2_regress", {**DECODERS["gpt2"], "model_type": "gpt2", "num_labels": 1}


def make(folder, fields):
    """Writes one folder."""
    kind = CLASSES[folder.name.rpartition("_")[2]]
    fields = dict(fields)
    config = transformers.AutoConfig.for_model(
        fields.pop("model_type"), **{k: v for k, v in fields.items() if k[0] != "_"}
    )
    model = kind.from_config(config)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=random)
            is_scale = parameter.dim() == 1 and parameter.mean() == 1
            parameter.copy_(noise * 0.5 + (1.0 if is_scale else 0.0))
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    if folder.name in PUBLISHED:
        text = json.dumps(PUBLISHED[folder.name], indent=2, sort_keys=True)
        (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    model, report = kind.from_pretrained(
        folder, attn_implementation="eager", output_loading_info=True
    )
    assert not any(report.values()), report
    shape = (len(LENGTHS), max(LENGTHS))
    tokens = torch.randint(FIRST, config.vocab_size, shape, generator=random)
    mask = torch.arange(shape[1])[None] < torch.tensor(LENGTHS)[:, None]
    tokens = torch.where(mask, tokens, config.pad_token_id)
    with torch.no_grad():
        logits = model.eval()(tokens, attention_mask=mask.long()).logits
    if logits.dim() == 3:
        logits = logits * mask[..., None]
    np.savez_compressed(
        folder / "golden.npz",
        tokens=tokens.numpy().astype(np.int32),
        lengths=np.int32(LENGTHS),
        logits=logits.numpy(),
    )
    size = sum(p.stat().st_size for p in folder.iterdir())
    print(f"{folder.name}: {tuple(logits.shape)}, {size} bytes")


if __name__ == "__main__":
    for name, fields in cases():
        if name in sys.argv[1:] or not sys.argv[1:]:
            make(HERE / name, fields)
