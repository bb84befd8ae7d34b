"""The side of transformers in `benchmarks.decoding`; needs torch too.

    PYTHON benchmarks/decoding_transformers.py FOLDER BATCH THREADS NEW

FOLDER has `model`, a Hugging Face directory, and `ids.json`, the tokens of the prompt.
"""

import json
import pathlib
import sys
import time

import torch
import transformers


def main(folder, batch, threads, new, repeat=2):
    torch.set_num_threads(threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder / "model", dtype=torch.float32
    ).eval()
    ids = torch.tensor([json.loads((folder / "ids.json").read_text())] * batch)
    times = []
    for _ in range(1 + repeat):
        began = time.perf_counter()
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new,
            min_new_tokens=new,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=None,
        )
        times.append(time.perf_counter() - began)
    tokens = out[0, ids.shape[1] :].tolist()
    print(json.dumps({"seconds": min(times[1:]) / new, "tokens": tokens}))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:]))
