"""Samples n answers to each prompt, and writes the best ones to learn from.

    python -m trainers.best_of_n --model=DIR --source=jsonl:questions.jsonl \
        --format=prompts --fields=prompt=question --rewards="1 number_after:####" \
        --n=8 --output=best.jsonl
    python -m trainers.train --config=configs/best_of_n.py --workdir=runs/best

With --threshold, all different answers of at least that reward are written (rejection
sampling) instead of the best one. An answer that no end token or stop string ended is
not written: training would put an end behind it. Each line is an example of the format
`prompt`, or of `chat` where the prompt is a list of messages.

Best-of-n moves the distribution of answers by at most log n - (n - 1) / n nats of KL
(Stiennon et al. 2020, arXiv:2009.01325; Beirami et al. 2024, arXiv:2401.01879).
"""

import json
import math

import numpy as np
from absl import flags

from zoo import command, files
from zoo.fields import at_least, one_of

with command.quiet_imports():
    from trainers import rewards
    from trainers.evaluation.comparison import rewarded
    from trainers.evaluation.request import Request
    from zoo import directory
    from zoo.metrics import bootstrap, generation

_MODEL = flags.DEFINE_string("model", None, "A model directory.", required=True)
_SOURCE = flags.DEFINE_string("source", None, "Where prompts are from.", required=True)
_SPLIT = flags.DEFINE_string("split", "", "Of the source; default: train.")
_FORMAT = flags.DEFINE_string("format", "prompts", "Of the examples: prompts.")
_FIELDS = flags.DEFINE_list(
    "fields", [], "prompt=column, where another column has the prompt."
)
_TOO_LONG = flags.DEFINE_string(
    "too_long", "error", "What happens to a longer prompt: error or drop."
)
_LIMIT = flags.DEFINE_integer("limit", 0, "Prompts to take; 0 is all.")
_REWARDS = flags.DEFINE_multi_string(
    "rewards",
    None,
    'What is best: "WEIGHT NAME" or "WEIGHT NAME:ARGUMENT"; may repeat. See '
    "trainers.rewards.functions.",
    required=True,
)
_TIMEOUT = flags.DEFINE_float(
    "reward_timeout", 10.0, "Seconds that the rewards of one answer may take."
)
_ERRORS = flags.DEFINE_string(
    "reward_errors", "stop", "What a reward that fails does: stop or score."
)
_ERROR_REWARD = flags.DEFINE_float(
    "error_reward", 0.0, "The score of a failed reward with --reward_errors=score."
)
_N = flags.DEFINE_integer("n", 8, "Answers to each prompt.")
_THRESHOLD = flags.DEFINE_float(
    "threshold", None, "Write all answers of at least this reward."
)
_BATCH = flags.DEFINE_integer("batch", 0, "Answers at a time; 0 is 16.")
_OUTPUT = flags.DEFINE_string("output", None, "A new file *.jsonl.", required=True)
_KNOBS = command.define_knobs()


def main(argv):
    del argv
    at_least("--n", _N.value, 1)
    # a cut prompt asks something else than the one that would be written
    one_of("--too_long", _TOO_LONG.value, ("drop", "error"))
    command.suggest_model(_MODEL)
    files.refuse_existing(_OUTPUT.value)
    files.check_room(_OUTPUT.value, 0)
    request = Request(
        source=_SOURCE.value,
        split=_SPLIT.value,
        format=_FORMAT.value,
        fields=tuple(_FIELDS.value),
        too_long=_TOO_LONG.value,
        limit=_LIMIT.value,
        batch=_BATCH.value,
    )
    loaded = directory.load(_MODEL.value)
    prompts = rewarded.prompts_of(loaded, _MODEL.value, request)
    knobs = command.given(_KNOBS)
    if loaded.generation.temperature == 0:  # a model's default may be greedy
        knobs.setdefault("temperature", 1.0)
    knobs["beams"] = 1  # answers are sampled, and a search samples none
    made = rewards.make(
        command.texts(_REWARDS),
        _TIMEOUT.value,
        _ERRORS.value,
        _ERROR_REWARD.value,
        loaded.tokenizer,
    )
    with made as score:
        found = rewarded.answered(loaded, prompts, score, knobs, _N.value, _BATCH.value)
    kept = [_kept(answered, _THRESHOLD.value) for answered in found]
    lines = [
        json.dumps(_example(answered, i), ensure_ascii=False) + "\n"
        for answered, numbers in zip(found, kept, strict=True)
        for i in numbers
    ]
    print(_report(request.name, found, kept, score))
    if not lines:
        raise ValueError(
            f"--output: no answer of {len(found)} prompts is good enough, so nothing "
            "is written; raise --max_new_tokens or lower --threshold."
        )
    with files.staged_file(_OUTPUT.value) as new:
        new.write_text("".join(lines), encoding="utf-8")
    print(f"{_OUTPUT.value}: {len(lines)} answers to {sum(map(bool, kept))} prompts")


def _kept(answered: rewarded.Answered, threshold: float | None) -> list[int]:
    """The numbers of the answers to write: the best one, or those that are different.

    Of equal rewards, the first one is the best.
    """
    able = [
        i
        for i, sample in enumerate(answered.samples)
        if answered.finished[i] and sample.answer.strip()
    ]
    reward_N = answered.reward_N
    if threshold is None:
        return [max(able, key=lambda i: (reward_N[i], -i))] if able else []
    first: dict[str, int] = {}
    for i in able:
        if reward_N[i] >= threshold:
            first.setdefault(answered.samples[i].answer, i)
    return list(first.values())


def _example(answered: rewarded.Answered, number: int) -> dict:
    """What a line holds: an example of the format `prompt` or `chat`."""
    answer = answered.samples[number].answer
    given, reward = answered.prompt.given, float(answered.reward_N[number])
    if isinstance(given, str):
        return {"prompt": given, "completion": answer, "reward": reward}
    message = {"role": "assistant", "content": answer}
    return {"messages": [*given, message], "reward": reward}


def _report(name, found, kept, score) -> str:
    """What the rewards of one answer and of the best are."""
    reward_PN = np.array([answered.reward_N for answered in found])
    n = reward_PN.shape[1]
    parts_P = np.concatenate([a.parts_NP for a in found]).mean(0)
    finished = np.mean([a.finished for a in found])
    length = np.mean([s.length for a in found for s in a.samples])
    lines = [
        f"{name}: {len(found)} prompts, {n} answers to each, "
        f"{length:.1f} tokens an answer, {finished:.1%} ended",
        f"reward of one answer  {_with_interval(reward_PN.mean(1))}",
        f"reward of the best    {_with_interval(reward_PN.max(1))}",
    ]
    if len(score.names) > 1:
        parts = zip(score.names, parts_P, strict=True)
        lines.append("parts  " + "  ".join(f"{p} {mean:.4f}" for p, mean in parts))
    limit = _THRESHOLD.value
    if limit is None:  # what full marks in all parts that count would give
        limit = float(np.maximum(score.weights, 0).sum())
    right_P = (reward_PN >= limit - 1e-9).sum(1)
    lines.append(f"success (reward at least {limit:g})  {right_P.mean() / n:.4f}")
    sizes = [2**i for i in range(n.bit_length()) if 2**i <= n]
    lines.append(
        "  ".join(
            f"pass@{k} "
            f"{np.mean([generation.pass_at_k(n, int(c), k) for c in right_P]):.4f}"
            for k in dict.fromkeys([*sizes, n])
        )
    )
    if _THRESHOLD.value is None:
        bound = math.log(n) - (n - 1) / n
        lines.append(f"KL of best-of-{n} to the model  at most {bound:.4f} nats")
    if score.failed:
        failed = ", ".join(f"{part} {count}" for part, count in score.failed.items())
        lines.append(f"failed rewards  {failed}")
    if not all(kept):
        lines.append(f"prompts without an answer to write  {kept.count([])}")
    return "\n".join(lines)


def _with_interval(rows_P) -> str:
    """A mean over prompts with its 95 % interval."""
    low, high = bootstrap.interval(rows_P)
    return f"{rows_P.mean():.4f} ({low:.4f} to {high:.4f})"


def run():
    command.run_app(main)


if __name__ == "__main__":
    run()
