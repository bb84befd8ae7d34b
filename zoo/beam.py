"""Prepares a data set, or answers the rows of a source, on a runner of Apache Beam.

    python -m zoo.beam --config=configs/prepare.py --output=DIR -- --runner=FlinkRunner
    python -m zoo.beam --model=runs/demo/served/1 --source=jsonl:questions.jsonl \
        --columns=prompt=question --inputs=max_new_tokens=32 --output=DIR

What stands behind `--` are options of Beam; without any, Beam runs on this machine. The
first form writes what `python -m zoo.prepare` writes, byte for byte. The second form
writes answers-*.jsonl, an answer a line, by a signature of an exported SavedModel. A
command that failed goes on when it is run again.
"""

import json
import sys
from typing import Any

from absl import flags
from ml_collections import config_flags

from zoo import command, config_file

_INFERENCE = "model source signature columns inputs outputs keep batch chunk".split()


def prepare(given, options: list[str]) -> None:
    """Prepares a data set by a Recipe.

    Args:
      given: the values of the flags, by name.
      options: of Beam.

    Raises:
      ValueError: a flag is wrong, or as `zoo.data.beam.preparation.run`.
    """
    from zoo.data.beam import preparation as on_beam
    from zoo.data.preparation import recipe as recipes

    config_file.check_exists(sys.argv)
    recipe = recipes.of_config(given.config)
    on_beam.run(recipe, given.output, options)


def infer(given, options: list[str]) -> None:
    """Answers the rows of a source.

    Args:
      given: the values of the flags, by name.
      options: of Beam.

    Raises:
      ValueError: a flag is wrong, or as `zoo.data.beam.inference.run`.
    """
    with command.quiet_imports():
        from zoo.data.beam import inference

    if not given.source:
        raise ValueError("--source: none; give one, such as jsonl:FILE.")
    job = inference.Job(
        model=given.model,
        source=given.source,
        signature=given.signature,
        columns=pairs("columns", given.columns),
        inputs={k: _value(v) for k, v in pairs("inputs", given.inputs).items()},
        outputs=tuple(given.outputs),
        keep=tuple(given.keep),
        batch=given.batch,
        chunk=given.chunk,
    )
    inference.run(job, given.output, options)


def pairs(flag: str, entries: list[str]) -> dict[str, str]:
    """The values of "name=value" by name.

    Raises:
      ValueError: an entry without "=".
    """
    for entry in entries:
        if "=" not in entry:
            raise ValueError(f"--{flag}: {entry!r}, name=value allowed.")
    return {name: value for name, _, value in (e.partition("=") for e in entries)}


def _value(text: str) -> Any:
    """A number, a truth value or a list as JSON has it, and else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def main(argv: list[str]) -> None:
    """Runs one of the two forms."""
    given, options = flags.FLAGS, argv[1:]
    if options and not options[0].startswith("--"):
        raise ValueError(f"Unknown argument {options[0]!r}; flags begin with --.")
    try:
        import apache_beam  # type: ignore[import-not-found] # noqa: F401
    except ModuleNotFoundError:
        raise ValueError("needs the extra `beam`: pip install apache-beam.") from None
    if (given.config is None) == (given.model is None):
        raise ValueError("--config, --model: give one of the two.")
    if not given.output:
        raise ValueError("--output: none; give a folder that all workers reach.")
    if given.config is None:
        infer(given, options)
        return
    for name in _INFERENCE:
        if given[name].present:
            raise ValueError(f"--{name}: not with --config.")
    prepare(given, options)


def run() -> None:
    """Defines the flags and runs the command.

    Not at import, because several commands have flags of the same name.
    """
    config_flags.DEFINE_config_file("config", None, "Returns a Recipe.")
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS["config"])
    flags.DEFINE_string("output", None, "A folder that all workers reach.")
    flags.DEFINE_string("model", None, "An exported SavedModel.")
    flags.DEFINE_string("source", None, "Of --model: jsonl:PATH, parquet:PATH, ...")
    flags.DEFINE_string("signature", "serving_default", "Of --model: what to call.")
    flags.DEFINE_list("columns", [], "Of --model: input=column, of other names.")
    flags.DEFINE_list("inputs", [], "Of --model: input=value, the same for all rows.")
    flags.DEFINE_list("outputs", [], "Of --model: which are written; empty is all.")
    flags.DEFINE_list("keep", [], "Of --model: columns that are written, too.")
    flags.DEFINE_integer("batch", 16, "Of --model: rows at a time, at most.")
    flags.DEFINE_integer("chunk", 1000, "Of --model: rows of a file of answers.")
    command.run_app(
        main,
        lambda argv, error: config_file.explain(argv, error, "a Recipe"),
        rest=True,
    )


if __name__ == "__main__":
    run()
