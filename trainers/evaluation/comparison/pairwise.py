"""Two models on the same examples: whether they differ, by the paired bootstrap."""

from typing import Any

from trainers.evaluation.measured import Evaluated
from zoo.metrics import bootstrap

LARGEST_P = 0.05  # at which two models differ


def differences(
    first: Evaluated, second: Evaluated, same_tokens: bool, seed: int = 0
) -> dict[str, Any]:
    """The paired difference of each number that both models have.

    Args:
      first: of the first model.
      second: of the second model.
      same_tokens: whether both have one tokenizer. If not, numbers a token do not
        compare, and are left out.
      seed: of the bootstrap.

    Returns:
      JSON-able: `examples`, and `metrics` by name with the values `a` and `b`, their
      `difference` a - b, its interval `low` to `high`, `p_value`, and `differ`.

    Raises:
      ValueError: the models read other windows, or share no example or number.
    """
    at = _shared(first, second)
    metrics = {}
    for name, ours in first.measures.items():
        theirs = second.measures.get(name)
        if theirs is None or not same_tokens and name in ("loss", "perplexity"):
            continue
        rows_N, others_N = ours.rows_N, theirs.rows_N
        if at is not None:
            rows_N, others_N = rows_N[at[0]], others_N[at[1]]
        found = bootstrap.paired(rows_N, others_N, ours.measure, seed)
        metrics[name] = {
            "a": ours.measure(rows_N),
            "b": ours.measure(others_N),
            "difference": found.value,
            "low": found.low,
            "high": found.high,
            "p_value": found.p_value,
            "differ": found.p_value < LARGEST_P,
        }
    if not metrics:
        raise ValueError("--a, --b: the models have no number that compares.")
    rows = next(iter(first.measures.values())).rows_N
    return {"examples": len(rows if at is None else at[0]), "metrics": metrics}


def lines(found: dict[str, Any]) -> str:
    """The differences for a terminal and as Markdown: one table."""
    table = [
        "| metric | a | b | a - b | 95% interval | p | differ |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, m in found["metrics"].items():
        table.append(
            f"| {name} | {m['a']:.4f} | {m['b']:.4f} | {m['difference']:+.4f} | "
            f"{m['low']:+.4f} to {m['high']:+.4f} | {m['p_value']:.4f} | "
            f"{'yes' if m['differ'] else 'no'} |"
        )
    return "\n".join([found["about"], "", *table]) + "\n"


def _shared(first, second) -> tuple[list[int], list[int]] | None:
    """The rows of the examples that both models read; None where all are."""
    if first.numbers or second.numbers:
        theirs = {number: row for row, number in enumerate(second.numbers)}
        pairs = [
            (row, theirs[number])
            for row, number in enumerate(first.numbers)
            if number in theirs
        ]
        if not pairs:
            raise ValueError("--a, --b: the models share no example.")
        ours, others = zip(*pairs, strict=True)
        return list(ours), list(others)
    if first.facts != second.facts:
        raise ValueError(
            f"--a, --b: read in other ways: {first.facts} and {second.facts}."
        )
    return None
