"""Makes the golden files of encoders: tiny random models by transformers and torch.

    python3 -m venv /tmp/peers
    /tmp/peers/bin/pip install torch==2.13.0 transformers==5.23.0
    /tmp/peers/bin/python tests/zoo/directory/families/make_encoders.py

One folder an encoder in `encoders`: a Hugging Face directory with the files that
sentence-transformers adds, a tokenizer.json, and golden.npz with `tokens` [B, T]
(right-padded), `lengths` [B], `features` [B, T, D] of transformers (zeros behind a
row's end) and `embeddings` [B, D]; texts.json holds the texts of the rows. BERT is
written with a head, and so its names have a prefix; RoBERTa with a pooler.
"""

import json
import pathlib
import shutil

import numpy as np
import tokenizers
import torch
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

HERE = pathlib.Path(__file__).parent / "encoders"
TEXTS = ["The sea was calm, wasn't it?", "", "Éléphants & 海 <s> [SEP]", "calm"]
SIZES = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2}
SIZES |= {"intermediate_size": 40}


def wordpiece():
    """The tokenizer of BERT, with letters and a few words."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "sea", "##lm", "was"]
    letters = "abcdefghijklmnopqrstuvwxyzé"
    words += [*letters, *(f"##{x}" for x in letters), *"!&',.<>?[]"]
    vocabulary = {word: i for i, word in enumerate(words)}
    engine = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    engine.add_special_tokens(words[:5])
    engine.normalizer = normalizers.BertNormalizer(strip_accents=False)
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    engine.decoder = decoders.WordPiece()
    engine.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return engine


def byte_level():
    """The tokenizer of RoBERTa, with bytes and a few merges."""
    words = [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        *sorted(pre_tokenizers.ByteLevel.alphabet()),
    ]
    merges = [("t", "h"), ("th", "e"), ("Ġ", "s"), ("e", "a")]
    words += ["".join(pair) for pair in merges] + ["<mask>"]
    vocabulary = {word: i for i, word in enumerate(words)}
    engine = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    engine.add_special_tokens(words[:4])
    engine.add_special_tokens([tokenizers.AddedToken("<mask>", lstrip=True)])
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    engine.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return engine


BERT = transformers.BertConfig(max_position_embeddings=64, pad_token_id=0, **SIZES)
ROBERTA = transformers.RobertaConfig(
    max_position_embeddings=66,
    pad_token_id=1,
    bos_token_id=0,
    eos_token_id=2,
    type_vocab_size=1,
    layer_norm_eps=1e-5,
    **SIZES,
)
MODELS = {
    "bert": (BERT, transformers.BertForMaskedLM, wordpiece(), "[SEP]", "mean", True),
    "roberta": (ROBERTA, transformers.RobertaModel, byte_level(), "</s>", "cls", False),
}


def make(name):
    """Writes the folder of one encoder."""
    config, kind, engine, end, pooling, unit = MODELS[name]
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    config.vocab_size = engine.get_vocab_size()
    config._attn_implementation = "eager"
    model = kind(config).eval()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=random)
            is_scale = parameter.dim() == 1 and parameter.mean() == 1
            parameter.copy_(noise * 0.3 + (1.0 if is_scale else 0.0))
    model.save_pretrained(folder)
    engine.save(str(folder / "tokenizer.json"))
    write(folder / "tokenizer_config.json", {"sep_token": end, "eos_token": end})
    steps = ["Transformer", "Pooling", "Normalize"][: 3 if unit else 2]
    kinds = [f"sentence_transformers.models.{step}" for step in steps]
    paths = [f"{i}_{step}" if i else "" for i, step in enumerate(steps)]
    modules = [{"type": t, "path": p} for t, p in zip(kinds, paths, strict=True)]
    write(folder / "modules.json", modules)
    (folder / "1_Pooling").mkdir()
    modes = {
        f"pooling_mode_{x}": x.startswith(pooling) for x in ("cls_token", "mean_tokens")
    }
    write(folder / "1_Pooling" / "config.json", modes)
    write(folder / "texts.json", TEXTS)
    engine.encode_special_tokens = True  # what a user writes is text
    rows = [engine.encode(text).ids for text in TEXTS]
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.full((len(rows), int(lengths.max())), config.pad_token_id)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(row)
    mask = (torch.arange(tokens.shape[1])[None] < lengths[:, None]).long()
    with torch.no_grad():
        body = getattr(model, name, model)
        x = body(tokens, attention_mask=mask).last_hidden_state * mask[..., None]
    e = x.sum(1) / lengths[:, None] if pooling == "mean" else x[:, 0]
    e = torch.nn.functional.normalize(e) if unit else e
    np.savez_compressed(
        folder / "golden.npz",
        tokens=tokens.numpy().astype(np.int32),
        lengths=lengths.numpy().astype(np.int32),
        features=x.numpy(),
        embeddings=e.numpy(),
    )
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    print(f"{name}: {size} bytes, lengths {lengths.tolist()}")


def write(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for name in MODELS:
        make(name)
