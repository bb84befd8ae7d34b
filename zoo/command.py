"""Runs an absl command and turns errors of input into one line."""

import sys

from absl import app, flags, logging


def define_knobs() -> dict[str, flags.FlagHolder]:
    """Defines a flag for each knob of generation; left out, it is None."""
    return {
        "max_new_tokens": flags.DEFINE_integer("max_new_tokens", None, "At least 1."),
        "temperature": flags.DEFINE_float("temperature", None, "0 is greedy."),
        "top_k": flags.DEFINE_integer("top_k", None, "0 is off."),
        "top_p": flags.DEFINE_float("top_p", None, "In (0, 1]; 1 is off."),
        "min_p": flags.DEFINE_float("min_p", None, "In [0, 1]; 0 is off."),
        "repetition_penalty": flags.DEFINE_float(
            "repetition_penalty", None, "Above 0; 1 is off."
        ),
        "seed": flags.DEFINE_integer("seed", None, "Prompt i has seed + i."),
        "stop": flags.DEFINE_multi_string("stop", None, "Ends a text; may repeat."),
    }


def given(knobs) -> dict:
    """The knobs that the command line sets."""
    return {k: flag.value for k, flag in knobs.items() if flag.value is not None}


def run_app(main) -> None:
    """`app.run(main)`; a ValueError becomes "error: ..." and exit code 1."""

    def guarded(argv):
        try:
            if len(argv) > 1:
                raise ValueError(f"Unknown argument {argv[1]!r}; flags begin with --.")
            # TensorFlow's savers talk at the level of INFO
            logging.set_verbosity(logging.WARNING)
            return main(argv)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)

    app.run(guarded)
