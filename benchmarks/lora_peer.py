"""The side of PEFT in `benchmarks.lora_peft`; needs torch, transformers and peft."""

import json
import pathlib
import resource
import statistics
import sys
import time

import numpy as np
import peft
import torch
import transformers


def main(folder):
    settings = json.loads((folder / "settings.json").read_text())
    model = transformers.AutoModelForCausalLM.from_pretrained(
        settings["base"], dtype=torch.float32
    )
    model = peft.PeftModel.from_pretrained(
        model, folder / "adapter", is_trainable=True
    ).train()
    ids = torch.from_numpy(np.load(folder / "ids.npy").astype(np.int64))
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        learning, lr=settings["rate"], betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0
    )
    losses, times = [], []
    for _ in range(settings["steps"]):
        began = time.perf_counter()
        loss = 0.0
        for part in ids.chunk(settings["parts"]):
            own = model(input_ids=part, labels=part, use_cache=False).loss
            own = own / settings["parts"]
            own.backward()
            loss += float(own)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss)
        times.append(time.perf_counter() - began)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = statistics.median(times[settings["untimed"] :])
    print(json.dumps({"seconds": seconds, "losses": losses, "peak": peak}))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
