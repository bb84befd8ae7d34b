"""The Run: everything that decides a training run, to JSON and back.

No `from __future__ import annotations` and nothing frozen here: either breaks the
overrides of the command line.
"""

import dataclasses
import math
from typing import Any

from zoo import registry
from zoo.fields import at_least, check_fraction, from_fields, one_of, suggest
from zoo.lora_config import Lora


@dataclasses.dataclass(kw_only=True, slots=True)
class Data:
    """The training and evaluation data.

    Attributes:
      source: a spec of `zoo.data.sources`: kjv, text:, jsonl:, csv:, parquet:, arrow:,
        warc:, hf:, tfds:; of a table csv:, sklearn:; or shards:DIR, a folder of
        `zoo.data.shards`.
      valid: the spec for evaluation while training; empty means the source's own
        "valid" split, or `hold_out` of its documents.
      hold_out: the share of documents (or table rows) kept for evaluation where
        `valid` is empty and the source has no split for it; 0 switches evaluation off.
        Shards hold out their split "valid", and no share.
      clean: the names of the cleaning steps of `zoo.data.cleaning`, in order.
      tokenizer: where to read it from: a folder with tokenizer files, or anything that
        `init_from` may be; empty means that of `init_from`, or a new one, trained on
        the source for the model's vocab_size.
      batch: examples in one optimizer step, of all replicas and accumulated parts.
      length: tokens in one example; 0 means the model's context, of which a model of
        `init_from` takes at most 1,024.
      format: how examples become tokens, of `zoo.data.formats`: "lm" joins documents;
        "chat", "instruction" and "prompt" make one row of each example; "prompts" are
        answered by the model itself; "pair" and "preference" make groups of rows;
        "classify" and "tag" give a text or its words their labels; "seq2seq" gives an
        encoder-decoder sources and targets, and "span_corruption" texts with holes.
      prefix: of "seq2seq": a text before each source, such as T5's "summarize: ".
      fields: entries "field=column", where a format's field has another column.
      too_long: what happens to a longer row: "error", "drop", or "cut" at its end (a
        token that stands after each text is kept).
      augment: entries of `zoo.data.augmentation`, which change the training texts of a
        classifier at random: "token_dropout=0.1", "span_swap=0.1".
      max_bad_rows: how many bad examples, or damaged records of shards, are dropped
        and counted before one is an error.
      pack: how rows share windows of `length` tokens, without seeing each other:
        "best_fit" keeps rows whole, "concat" splits them where a window ends; empty
        pads each row.
      mixture: entries "WEIGHT SPEC" of several sources, in the place of `source`:
        "3 kjv" and "1 text:more/*.txt" draw three windows, rows or pairs of the
        first for one of the second. An epoch is as long as all sources together.
      schedule: entries "STEP: WEIGHT WEIGHT", with a weight for each source of the
        mixture: the weights from that step on, counted from 0. They replace those of
        the mixture; 0 leaves a source out.
      mask_rate: the share of the tokens that a fill_mask model learns to guess, or
        that "span_corruption" takes out.
      metrics: of answers that each evaluation generates to the prompts of held-out
        rows, by the names of `trainers.evaluation.answers`: "exact_match", "rougeL".
      metric_rows: how many held-out rows, the first, are answered; 0 is all.
      generation: entries "KNOB=VALUE" of these answers, such as "max_new_tokens=32";
        without them the defaults of `init_from` apply.
    """

    source: str = "kjv"
    valid: str = ""
    hold_out: float = 0.05
    clean: tuple[str, ...] = ()
    tokenizer: str = ""
    batch: int = 32
    length: int = 0
    format: str = "lm"
    prefix: str = ""
    fields: tuple[str, ...] = ()
    too_long: str = "error"
    max_bad_rows: int = 0
    pack: str = ""
    mixture: tuple[str, ...] = ()
    schedule: tuple[str, ...] = ()
    mask_rate: float = 0.15
    augment: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    metric_rows: int = 0
    generation: tuple[str, ...] = ()


@dataclasses.dataclass(kw_only=True, slots=True)
class Optimizer:
    """The optimizer and its schedule.

    Attributes:
      name: "adamw", "adam", "muon" (matrices by Muon, the rest by AdamW) or "sgd".
      lr: the highest learning rate.
      warmup: steps of a linear rise; the last of them has lr.
      decay: "cosine" down to lr * final, the rate of the last step, or "constant".
      final: see decay.
      weight_decay: of adamw and muon; weights of one dimension (biases, norms) have
        none.
      beta_1, beta_2, epsilon: of adam, adamw and the AdamW part of muon.
      momentum: of sgd.
      scales: entries "PATTERN=FACTOR": the weights whose paths fit the pattern, such as
        "block_0/*", learn with factor * lr. The last entry that fits counts.
      ema: the momentum of an average of the weights over the steps, such as 0.999; in
        [0, 1), 0 is off. The first steps have no more than their share in it.
        Evaluation and the kept model use the average; training does not.
      l1, l2: the penalty of the weights of two or more dimensions, a part of the loss:
        l1 * sum of |w| + l2 * sum of w^2.
    """

    name: str = "adamw"
    lr: float = 1e-3
    warmup: int = 0
    decay: str = "cosine"
    final: float = 0.1
    weight_decay: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.95
    epsilon: float = 1e-8
    momentum: float = 0.0
    scales: tuple[str, ...] = ()
    ema: float = 0.0
    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self):
        one_of("optimizer.name", self.name, ("adam", "adamw", "muon", "sgd"))
        one_of("optimizer.decay", self.decay, ("constant", "cosine"))
        for field in ("lr", "warmup", "final", "weight_decay", "epsilon", "l1", "l2"):
            at_least(f"optimizer.{field}", getattr(self, field), 0)
        for field in ("beta_1", "beta_2", "momentum", "ema"):
            check_fraction(f"optimizer.{field}", getattr(self, field))
        for entry in self.scales:
            scale(entry)


def scale(entry: str) -> tuple[str, float]:
    """The pattern and the factor of an entry of `Optimizer.scales`.

    Raises:
      ValueError: it is not "PATTERN=FACTOR" with a finite factor above 0.
    """
    pattern, _, text = entry.rpartition("=")
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not pattern or not 0 < factor < math.inf:
        raise ValueError(
            f"optimizer.scales: {entry!r}; PATTERN=FACTOR with a finite factor above 0 "
            "allowed. config.freeze stops weights from learning."
        )
    return pattern, factor


@dataclasses.dataclass(kw_only=True, slots=True)
class Run:
    """One training run.

    Attributes:
      model: the Config of a model of the registry; None means that of `init_from`.
      objective: an objective of `trainers.objectives`.
      data: the training and evaluation data.
      optimizer: the optimizer and its schedule.
      steps: optimizer steps; 0 means `epochs`.
      epochs: passes over the data, where `steps` is 0; the last step is the first
        that completes them.
      seed: of weights, order of data, and dropout.
      precision: "float32" or "bfloat16" (compute; weights stay float32).
      accumulate: into how many parts a batch is cut, to save memory.
      clip_norm: the largest global norm of the gradient; 0 is off.
      replicas: devices to mirror the model on; 0 means all of them.
      init_from: a pretrained model to start from (a model directory, a Hub id, or
        another source of `zoo.directory.read`), or empty; `model` may differ from it in
        dropout only.
      lora: low-rank adapters, which learn instead of the weights of `init_from`. The
        run then leaves the merged `model` and the `adapter`, in PEFT's layout.
      freeze: patterns of weight paths that do not learn, such as "embedding/*".
      log_every, eval_every, save_every: in steps; 0 is off.
      best: the metric of evaluation that chooses the model to keep; "loss" is best
        where it is smallest, "+accuracy" where it is largest.
      patience: after how many evaluations without a better one training stops; 0 is
        off.
    """

    model: Any = None
    objective: Any
    data: Data = dataclasses.field(default_factory=Data)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    steps: int = 0
    epochs: int = 0
    seed: int = 0
    precision: str = "float32"
    accumulate: int = 1
    clip_norm: float = 1.0
    replicas: int = 1
    init_from: str = ""
    lora: Lora = dataclasses.field(default_factory=Lora)
    freeze: tuple[str, ...] = ()
    log_every: int = 10
    eval_every: int = 0
    save_every: int = 0
    best: str = "loss"
    patience: int = 0


def to_json(run: Run) -> dict[str, Any]:
    """The Run as JSON-able values: tuples as lists, registry names beside fields."""
    value = {f.name: getattr(run, f.name) for f in dataclasses.fields(run)}
    value["model"] = None if run.model is None else registry.to_fields(run.model)
    name = type(run.objective).name
    value["objective"] = {"name": name, **dataclasses.asdict(run.objective)}
    value["data"] = dataclasses.asdict(run.data)
    value["optimizer"] = dataclasses.asdict(run.optimizer)
    value["lora"] = dataclasses.asdict(run.lora)
    return _as_lists(value)


def from_json(value: dict[str, Any], objectives: dict[str, type]) -> Run:
    """The Run that `to_json` wrote, every field checked again.

    Args:
      value: the JSON object.
      objectives: the objective classes by name.

    Raises:
      ValueError: an unknown name or field, a wrong type or value.
    """
    fields = dict(value)
    if fields["model"] is not None:
        model = dict(fields["model"])
        fields["model"] = registry.config(model.pop("name"), **model)
    objective = dict(fields.pop("objective"))
    name = objective.pop("name")
    if name not in objectives:
        raise ValueError(f"Unknown objective {name!r}.{suggest(name, objectives)}")
    fields["objective"] = from_fields(objectives[name], objective, name)
    run = from_fields(Run, fields, "config")
    check(run)
    return run


def check(run: Run) -> None:
    """Raises ValueError for values that no run can have.

    Data are checked when they are read.
    """
    one_of("config.precision", run.precision, ("bfloat16", "float32"))
    for field in ("steps", "epochs", "clip_norm", "replicas", "patience", "seed"):
        at_least(f"config.{field}", getattr(run, field), 0)
    for field in ("log_every", "eval_every", "save_every"):
        at_least(f"config.{field}", getattr(run, field), 0)
    if run.seed >= 2**32:
        raise ValueError(f"config.seed: {run.seed}, below 2^32 allowed.")
    at_least("config.accumulate", run.accumulate, 1)
    if run.accumulate > 1 and getattr(run.objective, "whole_batch", False):
        raise ValueError(
            f"config.accumulate: {run.accumulate}, 1 allowed: the objective "
            f"{run.objective.name} compares all examples of a batch."
        )
    at_least("config.data.batch", run.data.batch, 1)
    at_least("config.data.length", run.data.length, 0)
    at_least("config.data.max_bad_rows", run.data.max_bad_rows, 0)
    at_least("config.data.metric_rows", run.data.metric_rows, 0)
    check_fraction("config.data.hold_out", run.data.hold_out)
    check_fraction("config.data.mask_rate", run.data.mask_rate)
    if bool(run.steps) == bool(run.epochs):
        wrong = "set one of the two to 0" if run.steps else "one must be above 0"
        raise ValueError(
            f"config.steps: {run.steps}, config.epochs: {run.epochs}; {wrong}."
        )
    if run.data.batch % (max(run.replicas, 1) * run.accumulate):
        raise ValueError(
            f"config.data.batch: {run.data.batch}, a multiple of replicas "
            f"{run.replicas} x accumulate {run.accumulate} allowed."
        )
    empty = getattr(run.model, "body", run.model) is None  # that of init_from
    if empty and not run.init_from:
        part = "config.model" if run.model is None else "config.model.body"
        raise ValueError(f"{part}: None; give a model, or config.init_from.")
    if run.lora.rank and not run.init_from:
        raise ValueError(
            f"config.lora.rank: {run.lora.rank}, but config.init_from is empty; "
            "adapters need a pretrained model."
        )
    context = 0 if empty else getattr(run.model, "context", 0)
    bounded = not empty and run.model.task != "seq2seq"  # which has two limits
    if bounded and run.data.length > context:
        raise ValueError(
            f"config.data.length: {run.data.length}, at most the model's context "
            f"{context} allowed."
        )
    if run.data.metrics and not run.eval_every:
        raise ValueError(
            f"config.data.metrics: {run.data.metrics!r} needs eval_every above 0."
        )
    if run.patience and not run.eval_every:
        raise ValueError(f"config.patience: {run.patience} needs eval_every above 0.")


def differences(a: dict[str, Any], b: dict[str, Any], prefix="") -> list[str]:
    """The fields in which two JSON objects differ, as "field: a -> b"."""
    lines = []
    for key in sorted(a.keys() | b.keys()):
        left, right = a.get(key), b.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            lines += differences(left, right, f"{prefix}{key}.")
        elif left != right:
            lines.append(f"{prefix}{key}: {left!r} -> {right!r}")
    return lines


def _as_lists(value: Any) -> Any:
    """The value with lists in place of tuples, as JSON gives it back."""
    if isinstance(value, dict):
        return {k: _as_lists(v) for k, v in value.items()}
    return [_as_lists(v) for v in value] if isinstance(value, list | tuple) else value
