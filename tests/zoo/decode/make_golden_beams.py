"""Writes golden/beams.json: ids and scores of beam search by transformers.

    python tests/zoo/decode/make_golden_beams.py

Made with transformers 5.24.0 and torch 2.13.0. Each case is a batch of one row: the
padding of transformers is on the left.
"""

import json
import pathlib

import torch
import transformers
from golden_beams import CONFIG, DIRECTORIES, cases, tensors

EARLY = (False, True, "never")


def main():
    config = transformers.GPT2Config(
        **CONFIG, attn_implementation="eager", bos_token_id=None, eos_token_id=None
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    weights = {name: torch.tensor(x) for name, x in tensors().items()}
    weights["lm_head.weight"] = weights["transformer.wte.weight"]
    missing = model.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys, missing
    assert all("attn.bias" in key for key in missing.missing_keys), missing
    answers = {}
    for name, rows in cases().items():
        end_ids, rules = DIRECTORIES[name]
        answers[name] = [answer(model, row, end_ids, rules) for row in rows]
    path = pathlib.Path(__file__).with_name("golden") / "beams.json"
    lines = [
        f'"{name}": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]"
        for name, rows in answers.items()
    ]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


def answer(model, row, end_ids, rules):
    """Ids without the prompt up to an end token, and scores."""
    prompt = torch.tensor([row["prompt"]])
    out = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=row["max_new_tokens"],
        repetition_penalty=row["repetition_penalty"],
        num_beams=row["beams"],
        length_penalty=row["length_penalty"],
        early_stopping=EARLY[row["early_stopping"]],
        num_return_sequences=row["num_return_sequences"],
        no_repeat_ngram_size=row["no_repeat_ngram"],
        eos_token_id=end_ids or None,
        pad_token_id=0,
        output_scores=True,
        return_dict_in_generate=True,
        **rules,
    )
    scores = [round(x, 7) for x in out.sequences_scores.tolist()]
    counts = (out.beam_indices >= 0).sum(1).tolist()
    ids = [
        x[prompt.shape[1] :][:count]
        for x, count in zip(out.sequences.tolist(), counts, strict=True)
    ]
    return {"ids": ids, "scores": scores}


if __name__ == "__main__":
    main()
