"""Additions by a small model: imitation, then GRPO and PPO with a checked reward.

    python -m benchmarks.align_arithmetic [--methods=grpo,ppo] [--write=FOLDER]

The prompts are all sums of two numbers below 100, such as "37+58=". A fifth of them is
held out. A small Transformer first imitates demonstrations, of which a fifth answers
with a marker, "#95", and the others without, "95". Then each method samples answers to
the training prompts and learns from one reward: 1 for the right number behind the
marker, else 0. So a policy must take the marker, and must be right. Success is the
share of such answers among the greedy ones to the held-out prompts, with its bootstrap
interval of 95 %. "right" is the share of right numbers, with a marker or without.
"""

import dataclasses
import itertools
import json
import pathlib
import random
import tempfile
import time

import numpy as np
from absl import flags

from zoo import command

with command.quiet_imports():
    from configs import grpo as grpo_config
    from configs import ppo as ppo_config
    from trainers import loop
    from trainers.objectives import LanguageModel
    from trainers.run import Data, Optimizer, Run
    from trainers.run_flags import run_app
    from zoo import directory
    from zoo.decode import generate
    from zoo.metrics import bootstrap
    from zoo.models import transformer_lm
    from zoo.text import tokenizer as tokenizers

_METHODS = flags.DEFINE_list("methods", ["grpo", "ppo"], "Which of both to run.")
_IMITATION = flags.DEFINE_integer("imitation", 3000, "Steps of the first training.")
_STEPS = flags.DEFINE_integer("steps", 160, "Optimizer steps of each method.")
_BATCH = flags.DEFINE_integer("batch", 512, "Answers of an optimizer step.")
_RATE = flags.DEFINE_float("lr", 2e-4, "The learning rate of each method.")
_BASE = flags.DEFINE_string(
    "base", "", "The model of an earlier --write to go on from."
)
_WRITE = flags.DEFINE_string("write", "", "Keeps the data and the runs there.")

_BELOW, _HELD_OUT, _MARKED, _SEED = 100, 0.2, 0.2, 0
_REWARD = "1 number_after:#|sum"
_CONFIGS = {"grpo": grpo_config.get_config, "ppo": ppo_config.get_config}


def main(argv):
    """Prints the success of the imitation and of each method."""
    del argv
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(_WRITE.value or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        train, held_out = sums()
        for name, examples in (("train", train), ("held_out", held_out)):
            lines = [json.dumps(example) for example in examples]
            (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        print(f"{len(train)} training prompts, {len(held_out)} held-out ones")
        print(
            f"{'model':10}  success (interval)         right       KL  length  minutes"
        )
        began = time.perf_counter()
        base = pathlib.Path(_BASE.value or folder / "imitation/model")
        if not _BASE.value:
            loop.train(imitation(folder), folder / "imitation")
        show("imitation", base, held_out, time.perf_counter() - began, {})
        for name in _METHODS.value:
            began = time.perf_counter()
            result = loop.train(aligned(name, folder, base), folder / name)
            seconds = time.perf_counter() - began
            lines = (folder / name / "metrics.jsonl").read_text().splitlines()
            logged = [json.loads(line) for line in lines]
            last = [line for line in logged if line["split"] == "train"][-1]
            assert result.step == _STEPS.value
            show(name, folder / name / "model", held_out, seconds, last)


def sums() -> tuple[list[dict], list[dict]]:
    """The training and the held-out examples."""
    draw = random.Random(_SEED)
    examples = []
    for a, b in itertools.product(range(_BELOW), repeat=2):
        marker = "#" if draw.random() < _MARKED else ""
        answer = {"completion": f"{marker}{a + b}", "sum": str(a + b)}
        examples.append({"prompt": f"{a}+{b}=", **answer})
    draw.shuffle(examples)
    count = round(_HELD_OUT * len(examples))
    return examples[count:], examples[:count]


def imitation(folder) -> Run:
    """A small language model on the right answers to the training prompts."""
    data = Data(source=f"jsonl:{folder}/train.jsonl", hold_out=0.0)
    tokenizer = tokenizer_of(folder)
    data = dataclasses.replace(data, format="prompt", tokenizer=tokenizer, batch=64)
    return Run(
        model=transformer_lm.Config(
            vocab_size=257, context=16, width=128, layers=3, heads=4
        ),
        objective=LanguageModel(),
        data=data,
        optimizer=Optimizer(lr=1e-3, warmup=50, final=0.1),
        steps=_IMITATION.value,
        log_every=100,
    )


def tokenizer_of(folder) -> str:
    """A folder with a tokenizer of bytes, so that each digit is a token."""
    place = folder / "tokenizer"
    place.mkdir(exist_ok=True)
    tokenizers.train(["0123456789+=#"], 257).save(place)
    return str(place)


def aligned(name, folder, base) -> Run:
    """The Run of a method from the imitation, on the same prompts."""
    run = _CONFIGS[name]()
    data = dataclasses.replace(
        run.data,
        source=f"jsonl:{folder}/train.jsonl",
        valid=f"jsonl:{folder}/held_out.jsonl",
        fields=(),
        batch=_BATCH.value,
        length=0,
    )
    objective = dataclasses.replace(run.objective, max_new_tokens=6, rewards=(_REWARD,))
    period = objective.period
    every = max(_STEPS.value // 4 // period, 1) * period
    return dataclasses.replace(
        run,
        data=data,
        objective=objective,
        init_from=str(base),
        steps=_STEPS.value,
        log_every=every,
        eval_every=every,
        save_every=0,
        best="+reward",
        accumulate=1,
        optimizer=dataclasses.replace(run.optimizer, lr=_RATE.value),
    )


def show(name, place, held_out, seconds, logged) -> None:
    """Prints the success of a model directory."""
    loaded = directory.load(place)
    options = directory.GenerationConfig(max_new_tokens=6)
    assert loaded.tokenizer is not None
    prompts = [example["prompt"] for example in held_out]
    answers = generate(loaded.model, loaded.tokenizer, prompts, options)
    pairs = list(zip(answers, held_out, strict=True))
    success = [float(answer.text == f"#{example['sum']}") for answer, example in pairs]
    right = [
        answer.text.removeprefix("#") == example["sum"] for answer, example in pairs
    ]
    counts = np.stack([success, np.ones(len(success))], 1)
    low, high = bootstrap.interval(counts, bootstrap.ratio)
    length = float(np.mean([len(answer.tokens) for answer in answers]))
    shown = f"{np.mean(success):.4f} ({low:.4f} to {high:.4f})  {np.mean(right):.4f}"
    kl = logged.get("rollout/kl", float("nan"))
    print(f"{name:10}  {shown}  {kl:6.3f}  {length:6.2f}  {seconds / 60:7.1f}")


if __name__ == "__main__":
    run_app(main)
