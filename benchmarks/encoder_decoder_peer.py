"""The side of transformers in `benchmarks.encoder_decoder`; needs torch too."""

import json
import pathlib
import statistics
import sys
import time

import numpy as np
import torch
import transformers


def main(folder, work):
    settings = json.loads((folder / "settings.json").read_text())
    model = transformers.MarianMTModel.from_pretrained(
        folder / "model", dtype=torch.float32
    )
    # all logits and no end, as on the other side
    model.generation_config = transformers.GenerationConfig(
        decoder_start_token_id=settings["start"], pad_token_id=settings["padding"]
    )
    batch = np.load(folder / "batch.npz")
    batch = {name: torch.from_numpy(x.astype(np.int64)) for name, x in batch.items()}
    result = train(model, batch, settings) if work == "train" else {}
    if work != "train":
        result = decode(model, batch, settings, *map(int, work.split("x")))
    print(json.dumps(result))


def train(model, batch, settings):
    model.train()  # its dropout is 0
    for stack in (model.model.encoder, model.model.decoder):
        stack.embed_positions.weight.requires_grad_(False)  # sines do not learn
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=settings["rate"],
        eps=settings["epsilon"],
        weight_decay=0.0,
    )
    losses, times = [], []
    mask = torch.ones_like(batch["source"])
    for _ in range(settings["steps"]):
        began = time.perf_counter()
        loss = model(
            input_ids=batch["source"],
            attention_mask=mask,
            decoder_input_ids=batch["tokens"],
            labels=batch["targets"],
        ).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        times.append(time.perf_counter() - began)
    seconds = statistics.median(times[settings["untimed"] :])
    return {"seconds": seconds, "losses": losses}


def decode(model, batch, settings, rows, beams):
    model.eval()
    source, new = batch["source"][:rows], settings["new"]

    def call():
        with torch.inference_mode():
            return model.generate(
                input_ids=source,
                attention_mask=torch.ones_like(source),
                max_new_tokens=new,
                num_beams=beams,
                do_sample=False,
            )

    answers = call()[:, 1 : new + 1].tolist()
    times = []
    for _ in range(settings["repeat"]):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return {"seconds": min(times) / new, "answers": answers}


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2])
