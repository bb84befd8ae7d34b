"""The page of `benchmarks.align_story`: its figures as tables of Markdown."""

from typing import Any

_POLICIES = {"sft": "SFT", "ppo": "PPO", "grpo": "GRPO"}


def page(kept: dict[str, Any]) -> str:
    """The tables, from the figures of all stages."""
    blocks = [_greedy(kept), _sampled(kept), _pairs(kept), _served(kept), _times(kept)]
    blocks.append(_samples(kept))
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _greedy(kept) -> list[str]:
    """Greedy answers to the test prompts."""
    names = ("success", "reward", "true", "right", "trivial", "annotations")
    names += ("tokens", "ended")
    lines = [
        f"Greedy answers to {kept['sft']['prompts']} test questions:",
        "",
        "| model | success | reward | true annotations | right answer "
        "| trivial annotations | annotations | tokens | ended | steps | minutes |",
        "|" + "---|" * 11,
    ]
    for name, title in _POLICIES.items():
        found = kept[name]
        cells = [_interval(found[measure]) for measure in names[:5]]
        cells += [f"{found[measure]['value']:.2f}" for measure in names[5:]]
        minutes = f"{found['training_seconds'] / 60:.1f}"
        cells += [str(found["steps"]), minutes]
        lines.append(_row(title, *cells))
    return lines


def _sampled(kept) -> list[str]:
    """Sampled answers to the test prompts."""
    lines = [
        "Sampled answers (temperature 1) to the same questions:",
        "",
        "| model | success | reward | wins against SFT | KL to SFT (nats an answer) "
        "| tokens |",
        "|" + "---|" * 6,
    ]
    best, compared = kept["best_of_4"], kept["compare"]
    lengths = compared["grpo"]["metrics"]["tokens"]
    one, four = best["one"], best["best"]
    lines.append(
        _row(
            "SFT, one answer",
            _interval(one["success"]),
            _interval(one["reward"]),
            "",
            "0",
            f"{lengths['b']:.1f}",
        )
    )
    lines.append(
        _row(
            "SFT, best of 4",
            _interval(four["success"]),
            _interval(four["reward"]),
            "",
            f"at most {best['kl_bound']:.2f}",
            "",
        )
    )
    for name in ("ppo", "grpo"):
        found = compared[name]
        metrics, rate = found["metrics"], found["win_rate"]
        wins = f"{_interval(rate)}, ties {rate['ties']:.2f}"
        lines.append(
            _row(
                _POLICIES[name],
                "",
                f"{metrics['reward']['a']:.4f}",
                wins,
                _interval(found["kl"]),
                f"{metrics['tokens']['a']:.1f}",
            )
        )
    return lines


def _pairs(kept) -> list[str]:
    """Accuracies on the test pairs."""
    before, dpo, reward = kept["sft"]["pairs"], kept["dpo"], kept["reward"]
    lines = [
        f"Accuracy on {before['pairs']} test pairs, which share no question with the "
        "training pairs:",
        "",
        "| model | score | accuracy | steps | minutes |",
        "|" + "---|" * 5,
        _row("none", "fewer characters", _interval(before["shorter"]), "", ""),
    ]
    for title, found, run in (("SFT", before, {}), ("DPO", dpo["pairs"], dpo)):
        lines += [
            _row(title, score, _interval(found[name]), *_training(run))
            for name, score in (
                ("accuracy", "log-probability"),
                ("accuracy_per_token", "log-probability a token"),
            )
        ]
    score = "implicit reward"
    lines.append(_row("DPO", score, _interval(dpo["implicit_reward"]), "", ""))
    found = _interval(reward["pairs"]["accuracy"])
    lines.append(_row("reward model", "reward", found, *_training(reward)))
    return lines


def _training(run) -> tuple[str, str]:
    """The steps and minutes of a run; nothing where there is none."""
    if not run:
        return "", ""
    return str(run["steps"]), f"{run['training_seconds'] / 60:.1f}"


def _served(kept) -> list[str]:
    """The question, and what the SavedModel answers."""
    found = kept["serve"]
    return [
        f"`zoo.check` of the exported GRPO model: {found['check']}",
        "",
        "`zoo.ask --chat` (asked, answered, and the right answer of the data):",
        "",
        *_quoted(found["question"]),
        "",
        *_quoted(found["answer"]),
        "",
        *_quoted(found["right"]),
    ]


def _times(kept) -> list[str]:
    """The time of each stage, with its evaluation."""
    stages = {name: found for name, found in kept.items() if isinstance(found, dict)}
    lines = ["| stage | seconds | CPU seconds |", "|---|---|---|"]
    lines += [
        _row(name, f"{found['seconds']:.0f}", f"{found['cpu_seconds']:.0f}")
        for name, found in stages.items()
    ]
    total = sum(found["seconds"] for found in stages.values())
    return [*lines, _row("all", f"{total:.0f}", "")]


def _samples(kept) -> list[str]:
    """The first greedy answers of each policy."""
    lines = ["Greedy answers to the first test questions:"]
    for name, title in _POLICIES.items():
        for sample in kept[name]["samples"]:
            lines += ["", f"{title}:", "", *_quoted(sample)]
    return lines


def _quoted(text: str) -> list[str]:
    """A text as a block of Markdown that shows it as it is."""
    return [f"    {line}" for line in text.splitlines()]


def _interval(found: dict[str, float]) -> str:
    """A number with its interval."""
    return f"{found['value']:.4f} ({found['low']:.4f} to {found['high']:.4f})"


def _row(*cells: str) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"
