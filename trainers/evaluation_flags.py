"""The flags that `trainers.evaluate` and `trainers.compare` share."""

import sys
from typing import Any

from absl import flags

from zoo import command
from zoo.generation_config import SEARCH

# one answer of a search is compared: the best
_SEARCH = [knob for knob in SEARCH if knob.name != "num_return_sequences"]


def define() -> dict[str, Any]:
    """Defines the flags of the data, the metrics and the output; returns them by name.

    A flag that is left out has the value None.
    """
    holders = {
        "source": flags.DEFINE_string(
            "source", None, "What to evaluate on; default: kjv."
        ),
        "split": flags.DEFINE_string(
            "split",
            None,
            "Of the source; default: test of kjv and shards, train of others.",
        ),
        "format": flags.DEFINE_string(
            "format",
            None,
            "How examples become tokens: lm (documents), chat, instruction, prompt; "
            "pair, classify, tag, preference, seq2seq. Default: that of the "
            "model's task.",
        ),
        "fields": flags.DEFINE_list(
            "fields", None, "field=column, where a format's field has another column."
        ),
        "prefix": flags.DEFINE_string(
            "prefix", None, "Of the format seq2seq: a text before each source."
        ),
        "too_long": flags.DEFINE_string(
            "too_long", None, "What happens to a longer row: error, drop or cut."
        ),
        "max_bad_rows": flags.DEFINE_integer(
            "max_bad_rows", None, "Bad examples that are left out before an error."
        ),
        "limit": flags.DEFINE_integer(
            "limit", None, "Documents or examples to take; default: all."
        ),
        "length": flags.DEFINE_integer(
            "length",
            None,
            "Tokens of a window or row; 0 is the model's context, or a shorter text.",
        ),
        "stride": flags.DEFINE_integer(
            "stride", None, "Between windows; 0 is half a window."
        ),
        "batch": flags.DEFINE_integer(
            "batch", None, "Rows at a time; 0 is as many as have 4,096 tokens, or 16."
        ),
        "metrics": flags.DEFINE_list(
            "metrics",
            None,
            "Of generated answers: exact_match, f1, final_number, bleu, chrf, rouge1, "
            "rouge2, rougeL, pass@K.",
        ),
        "references": flags.DEFINE_string(
            "references",
            None,
            "The column with the right answers, a text or a list of texts; default: "
            "what the format learns.",
        ),
        "tokenize": flags.DEFINE_string(
            "tokenize",
            None,
            "Words of BLEU and ROUGE: 13a, intl, zh, ja-mecab, char or none.",
        ),
        "samples": flags.DEFINE_integer(
            "samples", None, "Answers to each prompt; 0 is as many as pass@K needs."
        ),
        "output": flags.DEFINE_string(
            "output",
            None,
            "A new folder for JSON, Markdown and TensorBoard; or a file .json or .md.",
        ),
    }
    knobs = command.define_knobs(_SEARCH)
    for name in holders | knobs:  # shows them under --help, as flags of the command
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])
    return {**holders, "knobs": knobs}


def fields_of(holders: dict[str, Any]) -> dict[str, Any]:
    """The fields of a `trainers.evaluation.request.Request` that the flags give."""
    found = {
        name: holder.value
        for name, holder in holders.items()
        if name not in ("knobs", "output") and holder.value is not None
    }
    for name in ("fields", "metrics"):
        if name in found:
            found[name] = tuple(found[name])
    return {**found, "knobs": command.given(holders["knobs"])}
