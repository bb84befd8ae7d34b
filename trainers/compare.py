"""Compares two models on the same examples, and says whether they differ.

    python -m trainers.compare --a=DIR --b=DIR --source=kjv
    python -m trainers.compare --a=DIR --b=DIR --source=jsonl:qa.jsonl --format=prompt \
        --metrics=exact_match

    python -m trainers.compare --a=DIR --b=DIR --source=jsonl:questions.jsonl \
        --format=prompts --fields=prompt=question --rewards="1 number_after:####"

A paired bootstrap draws the same examples for both. Models with other tokenizers are
compared by bits a byte of answers, and by metrics of generated answers. With --rewards,
both models answer the same prompts, and the larger reward wins.
"""

import dataclasses

from absl import flags

from trainers import evaluation_flags
from zoo import command

with command.quiet_imports():
    from trainers.evaluation import dispatch, report
    from trainers.evaluation.comparison import pairwise, win_rate
    from trainers.evaluation.request import Request
    from zoo import directory

_A = flags.DEFINE_string("a", None, "A model directory.", required=True)
_B = flags.DEFINE_string("b", None, "Another one.", required=True)
_REWARDS = flags.DEFINE_multi_string(
    "rewards",
    None,
    'Compares answers by "WEIGHT NAME" or "WEIGHT NAME:ARGUMENT"; may repeat. '
    "See trainers.rewards.functions.",
)
_GIVEN = evaluation_flags.define()


def main(argv):
    del argv
    for flag in (_A, _B):
        command.suggest_model(flag)
    output = _GIVEN["output"].value
    if output:
        report.check(output)
    request = Request(**evaluation_flags.fields_of(_GIVEN))
    if _REWARDS.value and request.metrics:
        raise ValueError("--rewards, --metrics: give one of the two.")
    first, second = (directory.load(flag.value) for flag in (_A, _B))
    about = f"a {_A.value}, b {_B.value}: {request.name}"
    if _REWARDS.value:
        models, where = (first, second), (_A.value, _B.value)
        found = win_rate.compared(models, where, request, command.texts(_REWARDS))
        about = f"{about}, {found['examples']} prompts"
        found = {"about": about, "a": _A.value, "b": _B.value, **found}
        print(win_rate.summary(found), end="")
        _write(output, found, win_rate.page(found))
        return
    same_tokens = _json(first) == _json(second)
    if request.format in ("", "lm") and _is_language_model(first, second):
        request = _of_documents(request, first, second, same_tokens)
    found = pairwise.differences(
        dispatch.evaluated(first, _A.value, request),
        dispatch.evaluated(second, _B.value, request),
        same_tokens,
        request.knobs.get("seed", 0),
    )
    about = f"{about}, {found['examples']} rows"
    found = {"about": about, "a": _A.value, "b": _B.value, **found}
    page = pairwise.lines(found)
    print(page, end="")
    _write(output, found, page)


def _write(output, found, page):
    """Writes what was found, if an output is given."""
    if output:
        for metric in found["metrics"].values():
            metric["value"] = metric["difference"]
        report.write(output, found, page, "comparison")


def _json(loaded) -> str:
    """The tokenizer's file, or nothing."""
    return loaded.tokenizer.json if loaded.tokenizer else ""


def _is_language_model(*models) -> bool:
    """Whether all models are language models."""
    return all(loaded.model.config.task == "generate" for loaded in models)


def _of_documents(request, first, second, same_tokens):
    """The request with one window for both models."""
    if not same_tokens:
        raise ValueError(
            "--a, --b: have other tokenizers, so their windows of documents are not "
            "the same; give --format and examples."
        )
    if request.length:
        return request
    context = min(first.model.config.context, second.model.config.context)
    return dataclasses.replace(request, length=context)


def run():
    command.run_app(main)


if __name__ == "__main__":
    run()
