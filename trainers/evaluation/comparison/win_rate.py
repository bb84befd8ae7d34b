"""Two language models that answer the same prompts: which answers a reward prefers."""

import contextlib
import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainers import rewards
from trainers.evaluation import language, report
from trainers.evaluation.comparison import pairwise, rewarded
from trainers.evaluation.comparison.rewarded import Answered
from trainers.evaluation.measured import Evaluated, Measured
from trainers.evaluation.request import Request
from trainers.evaluation.sums import row_divergences
from zoo.data.formats import Rows
from zoo.directory import Loaded
from zoo.metrics import bootstrap
from zoo.text.tokenizer import library_tokenizer

_SHOWN = 20  # prompts whose answers the page shows
_LONGEST = 600  # characters of a text on the page


def compared(
    models: Sequence[Loaded],
    where: Sequence[str],
    request: Request,
    entries: Sequence[str],
) -> dict[str, Any]:
    """The rewards of two models' answers to the same prompts.

    Sample i of the one model meets sample i of the other. A win counts 1 and a tie 1/2.
    Models draw with the same seed and, where nothing else is given, with their own
    defaults of generation.

    Args:
      models: two language models with tokenizers.
      where: their directories.
      request: its source, fields, limits, samples and knobs.
      entries: of `trainers.rewards.make`.

    Returns:
      As `pairwise.differences`; also `win_rate` with `value`, `low`, `high` and `ties`,
      `samples` of all prompts, and, for equal vocabularies, `kl` with `value`, `low`,
      `high`: KL(a || b) of an answer in nats, exact at each token along the answers of
      a, at temperature 1.

    Raises:
      ValueError: a model, the data, a reward or a knob is wrong, or the models share no
        prompt.
    """
    asked = [
        rewarded.prompts_of(model, name, request)
        for model, name in zip(models, where, strict=True)
    ]
    both = set.intersection(*({p.number for p in prompts} for prompts in asked))
    if not both:
        raise ValueError("--a, --b: the models share no example.")
    asked = [[p for p in prompts if p.number in both] for prompts in asked]
    samples = request.samples or 1
    found, measured = [], []
    with contextlib.ExitStack() as stack:
        scores = [  # of both, before the first answer
            stack.enter_context(rewards.make(entries, tokenizer=loaded.tokenizer))
            for loaded in models
        ]
        for loaded, prompts, score in zip(models, asked, scores, strict=True):
            answered = rewarded.answered(
                loaded, prompts, score, request.knobs, samples, request.batch
            )
            found.append(answered)
            measured.append(_measures(answered, score.names))
    seed = request.knobs.get("seed", 0)
    result = pairwise.differences(measured[0], measured[1], True, seed)
    result["win_rate"] = _win_rate(found[0], found[1], seed)
    if _vocabulary(models[0]) == _vocabulary(models[1]):
        kl = _divergence(models[0], models[1], found[0], request.batch, seed)
        result["kl"] = kl
    result["samples"] = [_shown(*pair) for pair in zip(*found, strict=True)]
    return result


def page(found: dict[str, Any]) -> str:
    """What `compared` found as Markdown, with samples side by side."""
    lines = [summary(found)]
    for number, shown in enumerate(found["samples"][:_SHOWN]):
        lines += [f"## Prompt {number}", "", _quoted(shown["prompt"]), ""]
        rows = [
            [f"{one['reward']:.4f}: {_cell(one['answer'])}" for one in pair]
            for pair in zip(shown["a"], shown["b"], strict=True)
        ]
        lines += [*report.table(["a", "b"], rows), ""]
    return "\n".join(lines)


def summary(found: dict[str, Any]) -> str:
    """What `compared` found for a terminal: win rate, KL and differences."""
    rate = found["win_rate"]
    lines = [
        f"a wins {rate['value']:.1%} ({rate['low']:.1%} to {rate['high']:.1%}); "
        f"{rate['ties']:.1%} ties, counted half"
    ]
    if "kl" in found:
        kl = found["kl"]
        lines.append(
            f"KL(a || b) of an answer of a: {kl['value']:.4f} nats "
            f"({kl['low']:.4f} to {kl['high']:.4f})"
        )
    return "\n\n".join([*lines, pairwise.lines(found)])


def _measures(found: list[Answered], names) -> Evaluated:
    """The rewards and lengths of the answers to each prompt."""
    rows = {"reward": [a.reward_N.mean() for a in found]}
    if len(names) > 1:
        for part, name in enumerate(names):
            rows[f"reward/{name}"] = [a.parts_NP[:, part].mean() for a in found]
    rows["tokens"] = [np.mean([s.length for s in a.samples]) for a in found]
    rows["characters"] = [np.mean([len(s.answer) for s in a.samples]) for a in found]
    rows["ended"] = [np.mean(a.finished) for a in found]
    measures = {name: Measured(np.array(values)) for name, values in rows.items()}
    return Evaluated("", {}, measures)


def _win_rate(first, second, seed) -> dict[str, float]:
    """How often the first model's answer has the larger reward; ties count half."""
    pairs = zip(first, second, strict=True)
    more_PN = np.array([np.sign(a.reward_N - b.reward_N) for a, b in pairs])
    rate_P = (more_PN / 2 + 0.5).mean(1)
    low, high = bootstrap.interval(rate_P, seed=seed)
    ties = float(np.mean(more_PN == 0))
    return {"value": float(rate_P.mean()), "low": low, "high": high, "ties": ties}


def _divergence(first, second, found, batch, seed) -> dict[str, float]:
    """KL(first || second) along the answers of the first model."""
    samples = [sample for answered in found for sample in answered.samples]
    limit = second.model.limit
    longest = max(len(sample.tokens) for sample in samples)
    if limit and longest > limit + 1:
        raise ValueError(
            f"--b: reads {limit} tokens, and an answer of --a has {longest} with its "
            "prompt; lower --max_new_tokens."
        )
    sizes = [len(sample.tokens) for sample in samples]
    weights = [
        [0.0] * sample.start + [1.0] * (len(sample.tokens) - sample.start)
        for sample in samples
    ]
    rows = Rows(
        np.concatenate([np.array(sample.tokens, np.int32) for sample in samples]),
        np.concatenate([np.array(row, np.float32) for row in weights]),
        np.cumsum([0, *sizes], dtype=np.int64),
        {},
    )
    kl_N = language.of_each_row(
        lambda dataset: row_divergences(first.model, second.model, dataset), rows, batch
    )
    kl_P = kl_N.reshape(len(found), -1).mean(1)
    low, high = bootstrap.interval(kl_P, seed=seed)
    return {"value": float(kl_P.mean()), "low": low, "high": high}


def _vocabulary(loaded: Loaded) -> tuple[dict[str, int], int]:
    """The id of each token, and the number of the model's rows."""
    tokenizer: Any = loaded.tokenizer
    ids = library_tokenizer(tokenizer.json).get_vocab()
    return ids, loaded.model.config.vocab_size


def _shown(first: Answered, second: Answered) -> dict[str, Any]:
    """The answers of both models to one prompt, JSON-able."""
    sides = {
        side: [
            {"answer": sample.answer, "reward": float(reward)}
            for sample, reward in zip(a.samples, a.reward_N, strict=True)
        ]
        for side, a in (("a", first), ("b", second))
    }
    return {"prompt": first.prompt.text, **sides}


def _cut(text: str) -> str:
    """A text that is not too long for the page."""
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " ..."


def _quoted(text: str) -> str:
    """A text as a block of Markdown that shows it as it is."""
    return "\n".join(f"    {line}" for line in _cut(text).splitlines())


def _cell(text: str) -> str:
    """A text in a cell of a table: no markup of its own, and line breaks kept."""
    text = html.escape(_cut(text), quote=False)
    for mark in "`*_[":
        text = text.replace(mark, f"&#{ord(mark)};")
    return "<br>".join(text.splitlines())
