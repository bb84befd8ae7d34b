"""Writes golden/lengths.json: answers by transformers that a least length changes.

    python tests/zoo/decode/make_golden_lengths.py

Made with transformers 5.24.0 and torch 2.13.0, with encoder-decoders of
`../directory/families/seq2seq` and a language model of `../directory/families`. Each
case is a directory's fields in generation_config.json, prompts, and the answers of
greedy decoding and of four beams. The end token is one that the model writes early.
"""

import json
import pathlib

import torch
import transformers

HERE = pathlib.Path(__file__).parent
FAMILIES = HERE.parent / "directory" / "families"
SOURCES = [[5, 9, 4, 7, 30], [8, 21], [10, 6, 33]]
# as facebook/bart-large-cnn has them, with smaller numbers
SUMMARY = {
    "min_length": 9,
    "max_length": 13,
    "no_repeat_ngram_size": 3,
    "length_penalty": 2.0,
    "early_stopping": True,
    "forced_bos_token_id": 5,
}
CASES = {
    "bart_summary": ("seq2seq/bart", SUMMARY),
    "t5_new": ("seq2seq/t5", {"min_new_tokens": 7, "max_length": 12}),
    "marian_both": (
        "seq2seq/marian",
        {"min_length": 12, "min_new_tokens": 5, "max_length": 15},
    ),
    "gpt2_new": ("gpt2", {"min_new_tokens": 6, "max_new_tokens": 10}),
    "gpt2_total": ("gpt2", {"min_length": 7, "max_new_tokens": 10}),
}


def answers(model, fields, end, beams):
    """The ids of each answer, without what stands before it."""
    found = []
    for prompt in SOURCES:
        tokens = torch.tensor([prompt])
        before = 1 if model.config.is_encoder_decoder else len(prompt)
        ids = model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            do_sample=False,
            num_beams=beams,
            eos_token_id=end,
            pad_token_id=-1,
            **fields,
        )[0, before:].tolist()
        found.append(ids)
    return found


def case(folder, fields):
    """A case with an end token early in an answer, where the least length matters."""
    kind = transformers.AutoModelForCausalLM
    if folder.startswith("seq2seq"):
        kind = transformers.AutoModelForSeq2SeqLM
    model = kind.from_pretrained(FAMILIES / folder, dtype=torch.float32).eval()
    free = {k: v for k, v in fields.items() if not k.startswith("min_")}
    for end in sorted({ids[2] for ids in answers(model, free, None, 4)}):
        found = {"folder": folder, "fields": {**fields, "eos_token_id": end}}
        found["prompts"] = SOURCES
        changed = True
        for name, beams in (("greedy", 1), ("beams", 4)):
            found[name] = answers(model, fields, end, beams)
            changed &= answers(model, free, end, beams) != found[name]
        if changed:
            return found
    raise SystemExit(f"{folder}: no end token changes the answers.")


if __name__ == "__main__":
    found = {name: case(*given) for name, given in CASES.items()}
    for name, value in found.items():
        print(name, value["fields"], value["greedy"], value["beams"])
    text = ",\n".join(f'"{n}": {json.dumps(v)}' for n, v in found.items())
    (HERE / "golden" / "lengths.json").write_text("{\n" + text + "\n}\n")
