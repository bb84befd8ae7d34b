"""The flag --config: a file that makes a Run, and what is wrong with it in one line."""

import dataclasses
import sys

from absl import flags
from ml_collections import config_flags

from trainers.run import Data, Lora, Optimizer, Run, from_json, to_json
from zoo import command, config_file


def define_config():
    """Defines --config, a Python file whose `get_config()` returns a Run.

    Fields are overridden by --config.a.b=value.
    """
    holder = config_flags.DEFINE_config_file("config", None, _help())
    # shows it under --help, as a flag of the command
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS["config"])
    return holder


def _help() -> str:
    """The help of --config: all fields of a Run with their defaults."""
    names = []
    for prefix, cls in (
        ("", Run),
        ("data.", Data),
        ("optimizer.", Optimizer),
        ("lora.", Lora),
    ):
        for field in dataclasses.fields(cls):
            if field.name not in ("model", "objective", "data", "optimizer", "lora"):
                names.append(f"{prefix}{field.name}={field.default!r}")
    return (
        "A file of configs/, whose get_config() returns a Run. Override its fields by "
        "--config.NAME=VALUE. The names, with the defaults of a Run: "
        f"{', '.join(names)}; model.NAME and objective.NAME, their own fields."
    )


def run_of(flag) -> Run:
    """The Run of the flag, checked as if it had been read from JSON."""
    with command.quiet_imports():
        from trainers import objectives

    if flag.value is None:
        raise ValueError("--config: missing; give a file of configs/.")
    config_file.check_exists(sys.argv)
    if not isinstance(flag.value, Run):
        raise ValueError(f"--config: get_config() gave {type(flag.value)}, not a Run.")
    if type(flag.value.objective) not in objectives.BY_NAME.values():
        raise ValueError(
            f"config.objective: {flag.value.objective!r}; one of trainers.objectives "
            f"allowed: {', '.join(sorted(objectives.BY_NAME))}."
        )
    return from_json(to_json(flag.value), objectives.BY_NAME)


def run_app(main) -> None:
    """`zoo.command.run_app`, which also explains errors in the file of --config."""
    if config_file.path_of(sys.argv):
        with command.quiet_imports():  # what every such file imports
            import trainers.objectives  # noqa: F401
    command.run_app(main, _explain)


def _explain(argv, error) -> str:
    """The message for an exception of the flag parser, or ""."""
    model = "the model is that of config.init_from"
    return config_file.explain(argv, error, "a Run", model)
