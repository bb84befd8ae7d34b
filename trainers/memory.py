"""Estimates the memory of a training step, and refuses one that cannot fit.

Linux kills a process that asks for too much, without a word. The estimate counts what
a step adds to the weights:

    gradients and slots   4 bytes for each weight that learns, and for each of its
                          slots; with LoRA only A and B learn
    activations           of each token and layer of a Transformer 18 D + 4.5 M (6.5 M
                          with a gate) + 0.75 H T numbers, where D is the width, M that
                          of the MLP, H the heads and T the window; of a recurrent layer
                          25 for each unit
    logits                twice the rows that the head makes at a time

The factors were fitted to the peaks of four Transformers and an LSTM, and meet them
within 5 %. Of other models only gradients and slots are counted. An encoder-decoder
counts the layers of both sides; of attention to the source, that of a recurrent one.
"""

import math
import pathlib
import re

import tensorflow as tf

from trainers.run import Run
from zoo.layers import cross_entropy, head_chunks

_SLOTS = {"adam": 2, "adamw": 2, "muon": 1, "sgd": 0}
_CGROUP = pathlib.Path("/sys/fs/cgroup")


def check(run: Run, config, variables, length: int) -> None:
    """Refuses a step that needs more memory than is free; on accelerators nothing.

    Args:
      run: the Run.
      config: the Config of the model that learns.
      variables: the Keras variables that learn.
      length: tokens or rows of one example.

    Raises:
      ValueError: the step cannot fit; the message has the estimate and what to lower.
    """
    free = available()
    if free is None or tf.config.list_logical_devices("GPU"):
        return
    fixed = _fixed(run, variables)
    batch = run.data.batch // run.accumulate
    changing = activations(config, batch, length, run.precision)
    if fixed + changing > free:
        raise ValueError(
            f"memory: a step needs about {_shown(fixed + changing)} beside the weights "
            f"({_shown(changing)} for activations of {batch} x {length}), and "
            f"{_shown(free)} are free; lower config.data.length or config.data.batch, "
            "raise config.accumulate, or freeze weights by config.freeze or "
            "config.lora."
        )


def activations(config, batch: int, length: int, precision: str) -> int:
    """The bytes of a part's activations; see the module."""

    answers_tokens = config.task in ("generate", "fill_mask", "seq2seq")
    config = getattr(config, "body", config)

    def size(name: str) -> int:
        return getattr(config, name, 0)

    width = size("width")
    mlp = size("mlp_width") or 4 * width
    layer = 25 * size("units")
    if not layer:
        layer = 18 * width + (6.5 if size("gated") else 4.5) * mlp
        layer += 0.75 * size("heads") * length
    tokens = batch * length
    numbers = tokens * (size("layers") + size("encoder_layers")) * layer
    if config.task == "seq2seq" and size("units"):
        # two directions, the decoder, and the tanh of each pair of positions
        numbers = tokens * ((2 * size("layers") + 1) * layer + size("units") * length)
    if answers_tokens:
        rows = head_chunks.limited(cross_entropy.CHUNK, size("vocab_size"))
        numbers += 2 * min(tokens, rows) * size("vocab_size")
    return int(numbers * (2 if precision == "bfloat16" else 4))


def available() -> int | None:
    """The free bytes of this machine or container; None where Linux does not say."""
    free: list[int] = []
    try:
        text = pathlib.Path("/proc/meminfo").read_text(encoding="utf-8")
        match = re.search(r"MemAvailable:\s+(\d+) kB", text)
        free += [int(match[1]) * 1024] if match else []
        limit = (_CGROUP / "memory.max").read_text(encoding="utf-8").strip()
        if limit != "max":
            used = (_CGROUP / "memory.current").read_text(encoding="utf-8")
            free.append(int(limit) - int(used))
    except (OSError, ValueError):
        pass  # no such file: another system, or another layout of cgroups
    return min(free) if free else None


def _fixed(run, variables) -> int:
    """The bytes of gradients and slots."""
    copies = 1 + _SLOTS[run.optimizer.name] + bool(run.optimizer.momentum)
    copies += bool(run.optimizer.ema)
    copies += run.accumulate > 1  # the sum beside the part's own
    return 4 * copies * sum(math.prod(v.shape) for v in variables)


def _shown(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
