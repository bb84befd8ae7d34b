"""The feed of preferences: prompts with a chosen and rejected answers."""

import contextlib

import numpy as np

from trainers import evaluation
from trainers.evaluation import preferences as groups_of
from trainers.feeds import companions, reference_cache, text
from trainers.feeds.feed import Evaluate, Feed, check_best, check_dropout
from trainers.objectives.dpo import answer_logprobs
from trainers.objectives.reward import rewards_of
from trainers.roles import Start
from trainers.run import Run
from zoo.data import batches, formats, splits
from zoo.data.formats import Rows

_NORMALISED = 512  # groups whose rewards decide the scale of a reward model
_CACHE = "reference.safetensors"
_METRICS = ("loss", "accuracy", "margin", "chosen_reward", "rejected_reward")


def make(run: Run, start: Start) -> Feed:
    """Makes the groups of all examples, and holds out some of them for evaluation.

    A reward model is kept with rewards of mean 0 and deviation 1 over answers of the
    training data (Ziegler et al. 2019, arXiv:1909.08593): its head changes for the file
    only, so training goes on as if nothing was kept.

    Raises:
      ValueError: the model or the format is not the objective's; a policy has dropout;
        the source or a row is broken; the reference has another vocabulary.
    """
    data, config, objective = run.data, start.config, run.objective
    _check_model(run, config)
    if data.format != "preference":
        raise ValueError(f"config.data.format: {data.format!r}, 'preference' allowed.")
    tokenizer = text.tokenizer_of(run, start)
    text.check_vocabulary(tokenizer, config)
    length = text.window(run, config)
    others = companions.check(run, tokenizer, config, length)
    rewards = objective.task == "regress"

    def read(examples):
        rows = formats.rows.read(
            examples,
            formats.BY_NAME["preference"],
            tokenizer,
            length + 1,
            data.fields,
            data.too_long,
            data.max_bad_rows,
        )
        _check_groups(objective, rows)
        return rows

    train, valid = splits.examples(data.source, data.valid, data.hold_out)
    rows = read(train)
    held_out = read(valid) if valid else None
    if run.eval_every and held_out:
        check_best(run, (*_METRICS, *_more_metrics(objective)))
    print(f"{data.source}: {rows.about}")
    parts = {"train": rows} | ({"valid": held_out} if held_out else {})
    beside = {name: _beside(part, rewards) for name, part in parts.items()}

    def train_from(number, roles):
        del roles
        return batches.preference_batches(
            *rows[:3], rows.groups, data.batch, run.seed, number, beside["train"]
        )

    at_once = evaluation.rows_at_once(run)
    if getattr(objective, "whole_batch", False):
        at_once = max(at_once, 2)  # a prompt needs the answer to another one
    evaluate: Evaluate | None = None
    if held_out:
        sums = evaluation.make_evaluate(objective)

        def evaluate_groups(roles):
            dataset = batches.eval_preferences(
                *held_out[:3], held_out.groups, at_once, beside["valid"]
            )
            return sums(roles, dataset)

        evaluate = evaluate_groups

    def cache(roles, folder):
        if getattr(objective, "reference", "") != "cached":
            return
        policy = roles[objective.trains[0]]

        def compute():
            logprobs_of = groups_of.make_groups(_training_logprobs)
            return {
                name: logprobs_of(policy, part, at_once) for name, part in parts.items()
            }

        fingerprint = {
            "model": reference_cache.of_weights(policy),
            "rows": reference_cache.of_rows(parts.values()),
        }
        found = reference_cache.read_or_compute(folder / _CACHE, fingerprint, compute)
        for name, sums_E2 in found.items():
            beside[name]["reference_logprobs"] = sums_E2

    answers_of = groups_of.make_groups(rewards_of)

    @contextlib.contextmanager
    def kept(roles):
        model = roles[objective.trains[0]]
        before = [variable.numpy() for variable in model.classifier.weights]
        values_EG = answers_of(model, _some(rows, _NORMALISED), at_once)
        _normalise(model.classifier, values_EG[np.isfinite(values_EG)])
        try:
            yield
        finally:
            for variable, value in zip(model.classifier.weights, before, strict=True):
                variable.assign(value)

    longest = int(np.diff(rows.starts).max()) - 1
    return Feed(
        train_from,
        evaluate,
        len(rows.groups) - 1,
        ("pairs", data.batch),
        tokenizer,
        lambda roles: None,
        lambda roles: "",
        text.fingerprint_of(data, tokenizer) | others,
        batches.bucket(longest) * int(np.diff(rows.groups).max()),
        cache=cache,
        kept=kept if rewards else contextlib.nullcontext,
    )


def _check_model(run, config):
    """Refuses a model of another kind than the objective's, and a policy's dropout."""
    objective, body = run.objective, getattr(config, "body", None)
    name = f"the objective {objective.name}"
    if objective.task == "regress":
        kinds = config.task, getattr(body, "task", "")
        pooling = getattr(config, "pooling", "")
        if kinds != ("regress", "generate") or pooling not in ("", "last"):
            raise ValueError(
                f"config.model: {type(config).__module__}, but {name} learns a model "
                "headed on a language model, with the task regress and the pooling "
                "last."
            )
        if not config.bias:
            raise ValueError(
                f"config.model.bias: False, but {name} moves rewards to mean 0 by the "
                "bias; True allowed."
            )
        return
    if (config.reads, config.task) != ("text", "generate"):
        raise ValueError(
            f"config.model: {type(config).__module__}, but {name} learns a language "
            "model."
        )
    check_dropout(
        run,
        config,
        "the policy differs from its reference before it has learnt anything",
    )
    if objective.whole_batch and run.data.batch < 2:
        raise ValueError(
            f"config.data.batch: {run.data.batch}, at least 2 allowed: kto gives each "
            "prompt the answer to another one."
        )


def _check_groups(objective, rows):
    """Refuses several rejected answers where the loss is one of pairs."""
    if np.diff(rows.groups).max() == 2:
        return
    if objective.task == "generate":
        raise ValueError(
            f"rejected: a list of texts, but the objective {objective.name} learns "
            "from pairs; one text allowed."
        )
    if objective.center:
        raise ValueError(
            f"objective.center: {objective.center}, 0 allowed where rejected is a list "
            "of texts."
        )
    if len(rows.labels):
        raise ValueError("margin: only a pair has one; rejected is a list of texts.")


def _more_metrics(objective) -> tuple[str, ...]:
    """The metrics of evaluation that only this objective has."""
    if objective.task == "regress":
        return ("brier",)
    return ("kl",) if objective.kind == "kto" else ()


def _beside(rows, rewards) -> dict[str, np.ndarray]:
    """What stands beside the tokens of each group: the margins of a reward model."""
    if not rewards or not len(rows.labels):
        return {}
    return {"margin": rows.labels[rows.groups[:-1]]}


def _training_logprobs(model, batch):
    """The sums of answers as training computes them, [B, 2]."""
    return answer_logprobs(model, batch, True)


def _some(rows: Rows, count: int) -> Rows:
    """At most `count` groups, evenly spaced."""
    total = len(rows.groups) - 1
    chosen = np.unique(np.linspace(0, total - 1, count).astype(int))
    sizes = np.diff(rows.groups)[chosen]
    numbers = [np.arange(rows.groups[i], rows.groups[i + 1]) for i in chosen]
    of_rows = [slice(*rows.starts[i : i + 2]) for i in np.concatenate(numbers)]
    starts = np.cumsum([0, *(s.stop - s.start for s in of_rows)], dtype=np.int64)
    return rows._replace(
        tokens=np.concatenate([rows.tokens[s] for s in of_rows]),
        weights=np.concatenate([rows.weights[s] for s in of_rows]),
        starts=starts,
        groups=np.concatenate([[0], np.cumsum(sizes)]),
    )


def _normalise(head, rewards_N):
    """Gives a head the gain and the bias by which rewards have mean 0, deviation 1."""
    mean, deviation = float(rewards_N.mean()), float(rewards_N.std())
    gain = 1 / deviation if deviation > 0 else 1.0
    head.weight.assign(head.weight * gain)
    head.bias.assign((head.bias - mean) * gain)
