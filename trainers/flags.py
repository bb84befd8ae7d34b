"""Runs an absl command with a --config flag, and turns mistakes into one line."""

import re
import sys

from absl import app, flags
from ml_collections import config_flags

from trainers import config as config_lib
from trainers import objectives
from zoo.shapes import suggest


def define_config():
    """Defines --config, a Python file whose `get_config()` returns a Run.

    Fields are overridden by --config.a.b=value.
    """
    return config_flags.DEFINE_config_file(
        "config", None, "A file of configs/; fields follow as --config.a.b=value."
    )


def run_of(flag) -> config_lib.Run:
    """The Run of the flag, checked as if it had been read from JSON."""
    if flag.value is None:
        raise ValueError("--config: missing; give a file of configs/.")
    if not isinstance(flag.value, config_lib.Run):
        raise ValueError(f"--config: get_config() gave {type(flag.value)}, not a Run.")
    return config_lib.from_json(config_lib.to_json(flag.value), objectives.BY_NAME)


def run_app(main) -> None:
    """`app.run` whose errors of input are one line and exit code 1 (or absl's 1)."""

    def parse(argv):
        try:
            return flags.FLAGS(argv)
        except KeyError as error:
            _fail(_unknown_field(argv, error))
        except flags.Error as error:
            _fail(str(error))
        except (OSError, SyntaxError, ImportError) as error:
            _fail(f"--config: {error}")

    def guarded(argv):
        try:
            if len(argv) > 1:
                raise ValueError(f"Unknown argument {argv[1]!r}; flags begin with --.")
            return main(argv)
        except ValueError as error:
            _fail(str(error))

    app.run(guarded, flags_parser=parse)


def _fail(message: str):
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


def _unknown_field(argv, error) -> str:
    """Names the --config.a.b that no Run has, with the fields it could have been."""
    holder_of = flags.FLAGS["config"].value
    for argument in argv:
        match = re.match(r"--config\.([\w.]+)", argument)
        holder = holder_of
        for part in match[1].split(".") if match else ():
            fields = getattr(type(holder), "__dataclass_fields__", {})
            if part not in fields:
                return f"Unknown --config.{match[1]}.{suggest(part, fields)}"
            holder = getattr(holder, part)
    return str(error)
