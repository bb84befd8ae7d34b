"""The counts of all units: what the stages and the duplicates left."""

from typing import Any

from zoo.data.preparation import counts, decisions
from zoo.data.preparation.recipe import Recipe
from zoo.data.preparation.unit_files import UnitFiles


def total(recipe: Recipe, work, count: int) -> dict[str, Any]:
    """The sums of `counts`, with exact and near duplicates as the last stages.

    Args:
      recipe: what was done.
      work: the folder of a preparation with decisions.
      count: how many units there are.
    """
    found = counts.empty(recipe.stages)
    for number in range(count):
        counts.add(found, UnitFiles(work, number).counts(), recipe.samples)
    summary = decisions.summary(work)
    for name in ("exact", "near"):
        if name in summary:
            found["stages"].append(_dropping(name, found["stages"][-1], summary[name]))
    return found


def in_words(recipe: Recipe, work, count: int) -> str:
    """Documents in and out of each stage, what dropped them, and the splits.

    Args:
      recipe, work, count: as in `total`.

    Returns:
      One line, such as "Documents in -> out of each stage: 9 rows, 0 of them bad; trim
      9 -> 0 (no character left 9); split: train 0, valid 0, test 0."
    """
    found = total(recipe, work, count)
    steps = [f"{found['rows']} rows, {found['bad']['rows']} of them bad"]
    for stage in found["stages"]:
        dropped = sorted(stage["dropped"].items(), key=lambda item: -item[1])
        reasons = ", ".join(
            f"{reason} {number}" for reason, number in dropped if number
        )
        step = f"{stage['stage']} {stage['documents_in']} -> {stage['documents_out']}"
        steps.append(f"{step} ({reasons})" if reasons else step)
    sizes = dict.fromkeys(decisions.SPLITS, 0)
    for number in range(count):
        codes_D = decisions.load(work, number).codes_D
        for code, split in enumerate(decisions.SPLITS):
            sizes[split] += int((codes_D == code).sum())
    parts = ", ".join(f"{split} {size}" for split, size in sizes.items())
    steps.append(f"split: {parts}")
    if recipe.lines and sizes["train"]:
        steps.append("lines: no training document has a line left")
    return f"Documents in -> out of each stage: {'; '.join(steps)}."


def _dropping(name, before, found) -> dict[str, Any]:
    """A kind of duplicates as a stage."""
    return {
        "stage": name,
        "documents_in": before["documents_out"],
        "characters_in": before["characters_out"],
        "documents_out": before["documents_out"] - found["documents"],
        "characters_out": before["characters_out"] - found["characters"],
        "dropped": {"an earlier document": found["documents"]},
        "samples": {"an earlier document": found["samples"]},
        "largest_cluster": found["largest_cluster"],
    }
