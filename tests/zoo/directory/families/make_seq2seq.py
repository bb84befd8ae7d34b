"""Makes the golden files of encoder-decoders: tiny random models by transformers.

    python3 -m venv /tmp/peers
    /tmp/peers/bin/pip install torch==2.13.0 transformers==5.24.0
    /tmp/peers/bin/python tests/zoo/directory/families/make_seq2seq.py

One folder a model in `seq2seq`: a Hugging Face directory with weights in float16, and
golden.npz. It has `source` [B, S] and `lengths` [B]; `tokens` [B, T], which the decoder
reads, and `target_lengths` [B]; `logits` [B, T, V] in float32 (zeros behind a row's
end); `greedy` [B, 64]; `beams` [B, 64], the best answer of four beams, and `scores` [B]
of these answers. No model has a token that ends an answer.
"""

import pathlib
import shutil
import sys

import numpy as np
import torch
import transformers

HERE = pathlib.Path(__file__).parent / "seq2seq"
LENGTHS, TARGETS = [9, 1, 5], [3, 8, 1]
NEW, WIDTH, KINDS = 64, 16, 2
ENDLESS = {"bos_token_id": None, "eos_token_id": None, "forced_eos_token_id": None}
T5 = {
    **ENDLESS,
    "vocab_size": 40,
    "d_model": WIDTH,
    "d_kv": 6,
    "d_ff": 20,
    "num_layers": 2,
    "num_decoder_layers": 1,
    "num_heads": 2,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
}
BART = {
    **ENDLESS,
    "vocab_size": 40,
    "d_model": WIDTH,
    "max_position_embeddings": 72,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_ffn_dim": 20,
    "decoder_ffn_dim": 20,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "pad_token_id": 3,
    "decoder_start_token_id": 3,
}
LAST = ("decoder.final_layer_norm.weight", "layers.1.final_layer_norm.weight")
UNTIED = {"tie_word_embeddings": False}
MODELS = {
    "t5": ("t5", T5),
    "flan_t5": ("t5", {**T5, "feed_forward_proj": "gated-gelu", **UNTIED}),
    "mt5": ("mt5", {**T5, "feed_forward_proj": "gated-gelu"}),
    "bart": ("bart", {**BART, "decoder_start_token_id": 2}),
    "marian": (
        "marian",
        {**BART, "scale_embedding": True, "activation_function": "swish"},
    ),
    "marian_two": (
        "marian",
        {
            **BART,
            "vocab_size": 33,
            "decoder_vocab_size": 40,
            "share_encoder_decoder_embeddings": False,
            **UNTIED,
        },
    ),
}


def made(name, seed):
    """A model whose weights are large enough that everything in it matters."""
    family, fields = MODELS[name]
    config = transformers.AutoConfig.for_model(family, **fields)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForSeq2SeqLM.from_config(config).eval()
    if name == "flan_t5":  # whose files have a head; transformers ties it without them
        head = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
        model.lm_head.weight = head
        model.all_tied_weights_keys.pop("lm_head.weight", None)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if "embed_positions" in path and family == "marian":
                continue
            noise = torch.randn(parameter.shape, generator=random)
            is_scale = parameter.dim() == 1 and parameter.mean() == 1
            wide = "relative" in path or "encoder_attn" in path
            factor = 1.0 if wide else 0.5
            value = noise * factor + (1.0 if is_scale else 0.0)
            if path.endswith(LAST):  # with a tied head a model repeats its last token
                value = noise
            parameter.copy_(value.half().float())  # the file has float16
        if hasattr(model, "final_logits_bias"):
            bias = torch.randn(model.final_logits_bias.shape, generator=random) * 0.3
            model.final_logits_bias.copy_(bias.half().float())
    return model


def generated(model, source, beams):
    """The tokens after a source, and the score of the best beam."""
    with torch.no_grad():
        found = model.generate(
            source[None],
            attention_mask=torch.ones_like(source[None]),
            do_sample=False,
            num_beams=beams,
            max_new_tokens=NEW,
            output_scores=True,
            return_dict_in_generate=True,
        )
    score = float(found.sequences_scores[0]) if beams > 1 else 0.0
    return found.sequences[0], score


def margin(model, source, ids):
    """By how much the closest of greedy's choices won."""
    with torch.no_grad():
        logits = model(source[None], decoder_input_ids=ids[None, :-1]).logits[0]
    best = logits.topk(2).values
    return float((best[:, 0] - best[:, 1]).min())


def make(name):
    """Writes the folder of one model, of the first seed with clear choices."""
    for seed in range(2000):
        model = made(name, seed)
        config = model.config
        random = torch.Generator().manual_seed(seed)
        shape = (len(LENGTHS), max(LENGTHS))
        source = torch.randint(config.vocab_size, shape, generator=random)
        greedy, least, kinds = [], 1.0, NEW
        for row, length in zip(source, LENGTHS, strict=True):
            ids, _ = generated(model, row[:length], 1)
            greedy.append(ids[1:])
            least = min(least, margin(model, row[:length], ids))
            kinds = min(kinds, len(ids.unique()))
            if least < 5e-4 or kinds < KINDS:
                break
        else:
            break
    else:
        raise SystemExit(f"{name}: no seed gives clear and varied choices.")
    beams = [
        generated(model, row[:n], 4) for row, n in zip(source, LENGTHS, strict=True)
    ]
    targets = getattr(config, "decoder_vocab_size", None) or config.vocab_size
    shape = (len(TARGETS), max(TARGETS))
    tokens = torch.randint(targets, shape, generator=random)
    tokens[:, 0] = model.generation_config.decoder_start_token_id
    mask = torch.arange(source.shape[1])[None] < torch.tensor(LENGTHS)[:, None]
    real = torch.arange(tokens.shape[1])[None] < torch.tensor(TARGETS)[:, None]
    with torch.no_grad():
        logits = model(
            source, attention_mask=mask.long(), decoder_input_ids=tokens
        ).logits
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.half().save_pretrained(folder)
    np.savez_compressed(
        folder / "golden.npz",
        source=source.numpy().astype(np.int32),
        lengths=np.int32(LENGTHS),
        tokens=tokens.numpy().astype(np.int32),
        target_lengths=np.int32(TARGETS),
        logits=(logits * real[..., None]).numpy(),
        greedy=torch.stack(greedy).numpy().astype(np.int32),
        beams=torch.stack([ids[1:] for ids, _ in beams]).numpy().astype(np.int32),
        scores=np.float32([score for _, score in beams]),
    )
    size = sum(p.stat().st_size for p in folder.iterdir())
    print(f"{name}: seed {seed}, margin {least:.4f}, {kinds} kinds, {size} bytes")


if __name__ == "__main__":
    for name in sys.argv[1:] or MODELS:
        make(name)
