"""Runs the commands: flags of the knobs, quiet imports, and errors in one line.

A command module imports TensorFlow inside of its `main`: `--help` and a wrong flag then
answer at once.
"""

import contextlib
import importlib
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterable

from absl import app, flags, logging

from zoo.generation_config import KNOBS
from zoo.knobs import Knob

_DEFINE = {
    "int32": flags.DEFINE_integer,
    "int64": flags.DEFINE_integer,
    "float32": flags.DEFINE_float,
    "string": flags.DEFINE_multi_string,
}


def define_knobs(more: Iterable[Knob] = ()) -> dict[str, flags.FlagHolder]:
    """Defines a flag for each knob of generation; its value is None by default.

    Args:
      more: other knobs that get flags too.
    """
    return {
        knob.name: _DEFINE[knob.dtype](knob.name, None, knob.about())
        for knob in (*KNOBS, *more)
    }


def given(knobs: dict[str, flags.FlagHolder]) -> dict:
    """The knobs that the command line sets."""
    return {k: flag.value for k, flag in knobs.items() if flag.value is not None}


def texts(flag: flags.FlagHolder) -> list[str]:
    """The texts of a flag.

    Raises:
      ValueError: one is not valid UTF-8; the shell passes any bytes.
    """
    for text in flag.value:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            shown = os.fsencode(text).decode("utf-8", "backslashreplace")
            raise ValueError(
                f"--{flag.name}: {shown[:80]!r} is not valid UTF-8 at character "
                f"{error.start}."
            ) from None
    return flag.value


def suggest_model(flag: flags.FlagHolder) -> None:
    """Refuses the folder of a training run, and names the model directory inside."""
    folder = pathlib.Path(flag.value)
    inside = folder / "model"
    if not (folder / "config.json").exists() and (inside / "config.json").exists():
        raise ValueError(
            f"--{flag.name}: {folder} has no config.json. Did you mean {inside}?"
        )


@contextlib.contextmanager
def quiet_imports(keras: bool = False):
    """Hides what C++ writes to stderr inside of this context, such as an import.

    TensorFlow writes lines of information before it reads TF_CPP_MIN_LOG_LEVEL. An
    exception shows the hidden lines.

    Args:
      keras: whether to import Keras first, without packages that it uses if they are
        installed and that no command needs of it. They are a quarter of the import.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            if keras:
                _import_keras()
            yield
        except Exception:
            hidden.seek(0)
            os.write(stderr, hidden.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _import_keras() -> None:
    """Imports Keras without its plots and its wrappers for scikit-learn."""
    left_out = {"matplotlib", "sklearn"} - sys.modules.keys()
    sys.modules.update(dict.fromkeys(left_out))  # type: ignore[arg-type]
    try:
        importlib.import_module("keras")
    finally:
        for name in left_out:
            del sys.modules[name]


def run_app(
    main: Callable, explain: Callable | None = None, rest: bool = False
) -> None:
    """Runs `main(argv)` after the flags are parsed, as `absl.app.run` does.

    A ValueError, a file that cannot be read or written, and a wrong flag become
    "error: ..." on stderr and exit code 1. Ctrl-C ends with exit code 130.

    Args:
      main: gets the arguments that are no flags; without `rest` there are none.
      explain: `explain(argv, error)` gives the message for an exception of the flag
        parser that is no `flags.Error`, or "" to raise it.
      rest: whether `main` takes what stands behind `--`.
    """
    _show_flags(main)

    def parse(argv):
        try:
            return flags.FLAGS(argv)
        except KeyboardInterrupt:
            sys.exit(130)
        except Exception as error:  # a flag's file may raise anything
            message = explain(argv, error) if explain else ""
            if not message and not isinstance(error, flags.Error):
                raise
            _fail(message or str(error))

    def guarded(argv):
        try:
            if len(argv) > 1 and not rest:
                raise ValueError(f"Unknown argument {argv[1]!r}; flags begin with --.")
            # TensorFlow's savers write lines at the level INFO
            logging.set_verbosity(logging.WARNING)
            return main(argv)
        except KeyboardInterrupt:
            sys.exit(130)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            _fail(f"{where}{error.strerror or error}")
        except ValueError as error:
            _fail(str(error))

    app.run(guarded, flags_parser=parse)


def _fail(message: str):
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


def _show_flags(main) -> None:
    """Lists the flags of the command and of the knobs under --help."""
    for module in (__name__, main.__module__):
        for flag in flags.FLAGS.flags_by_module_dict().get(module, ()):
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
