"""The side of TRL in `benchmarks.grpo_trl`; needs torch, transformers and trl."""

import json
import pathlib
import re
import resource
import statistics
import sys
import time

import datasets
import torch
import transformers
import trl


class Clock(transformers.TrainerCallback):
    """Notes the time at the end of each optimizer step."""

    def __init__(self):
        self.times = []

    def on_step_begin(self, args, state, control, **kwargs):
        if not self.times:
            self.times.append(time.perf_counter())

    def on_step_end(self, args, state, control, **kwargs):
        self.times.append(time.perf_counter())


def peak():
    """The most resident memory so far, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(folder):
    imported = peak()
    settings = json.loads((folder / "settings.json").read_text())
    torch.set_num_threads(settings["threads"])
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder / "base", dtype=torch.float32
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "base")

    def reward(completions, **columns):
        found = (re.search(settings["pattern"], text) for text in completions)
        return [float(match is not None) for match in found]

    args = trl.GRPOConfig(
        output_dir=str(folder / "trl"),
        max_steps=settings["steps"],
        per_device_train_batch_size=settings["batch"],
        num_generations=settings["samples"],
        max_completion_length=settings["max_new_tokens"],
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        beta=0.0,
        num_iterations=1,
        loss_type="dapo",
        learning_rate=settings["rate"],
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        gradient_checkpointing=False,
        use_cpu=True,
        bf16=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    clock = Clock()
    prompts = (folder / "prompts.jsonl").read_text().splitlines()
    trainer = trl.GRPOTrainer(
        model,
        reward_funcs=reward,
        args=args,
        train_dataset=datasets.Dataset.from_list([json.loads(p) for p in prompts]),
        processing_class=tokenizer,
        callbacks=[clock],
    )
    trainer.train()
    times = [b - a for a, b in zip(clock.times, clock.times[1:], strict=False)]
    seconds = statistics.median(times[settings["untimed"] :])
    print(json.dumps({"seconds": seconds, "imported": imported, "peak": peak()}))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
