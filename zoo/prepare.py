"""Prepares a data set, trains a tokenizer, or shows what a model would learn.

    python -m zoo.prepare --config=configs/prepare.py --output=runs/data
    python -m zoo.prepare --source=kjv --output=runs/tokenizer --vocab_size=4096
    python -m zoo.prepare --source=jsonl:chats.jsonl --format=chat --tokenizer=DIR \
        --pack=best_fit --length=1024 --show=3
    python -m zoo.prepare --source=kjv --format=span_corruption --tokenizer=T5 --show=3

The first form cleans, filters, deduplicates, splits and tokenizes the documents of a
source, and writes shards with a data card. Killed anywhere, the same command goes on.
The second form trains a tokenizer alone, in memory, and prints the counts of the
source. The third form prints examples with ids, text and loss weights: learnt tokens
are green, given tokens are blue.
"""

import dataclasses
import os
import sys

from absl import flags
from ml_collections import config_flags

from zoo import command, config_file, files
from zoo.fields import at_least, one_of

# Worker processes import this module, so TensorFlow is imported in functions alone.
_WITHOUT_CONFIG = (
    "source vocab_size clean show tokenizer format fields length too_long max_bad_rows "
    "pack"
).split()
_SPANS = "span_corruption"


def prepare(given) -> None:
    """Prepares a data set by a Recipe, and prints the counts of its splits.

    Args:
      given: the values of the flags, by name.

    Raises:
      ValueError: a flag is wrong, or as `zoo.data.preparation.run`.
    """
    from zoo.data import preparation
    from zoo.data.preparation import recipe as recipes

    config_file.check_exists(sys.argv)
    recipe = recipes.of_config(given.config)
    if not given.output:
        raise ValueError("--output: none; give a new folder, or one that goes on.")
    at_least("--workers", given.workers, 1)
    card = preparation.run(
        recipe, given.output, given.workers, shown=sys.stderr.isatty()
    )
    for split, numbers in card["splits"].items():
        counts = ", ".join(f"{value} {name}" for name, value in numbers.items())
        print(f"{split:16} {counts}")
    print(f"bytes per token  {card['tokenizer']['bytes_per_token']}")
    print(f"written          {given.output}")


def _refuse_others(names) -> None:
    """Refuses flags of another form of the command."""
    for name in names:
        raise ValueError(f"--{name}: not with --config; set fields by --config.NAME.")


def prepare_tokenizer(source: str, output: str, vocab_size: int, steps: list[str]):
    """Trains a tokenizer on the cleaned documents of a source and writes a folder.

    Args:
      source: a spec of `zoo.data.sources`.
      output: a new or empty folder.
      vocab_size: tokens, the 256 bytes and the end token included.
      steps: names of cleaning steps, in order.

    Returns:
      The documents as tokens of the new tokenizer, a `zoo.data.formats.Stream`.

    Raises:
      ValueError: the output is not an empty folder, or the source, the steps or the
        size are wrong.
    """
    with command.quiet_imports():
        from zoo.data import cleaning, formats, sources
        from zoo.text import tokenizer

    files.refuse_full(output)
    texts = [cleaning.clean(text, steps) for text in sources.documents(source)]
    trained = tokenizer.train(texts, vocab_size)
    stream = formats.language_model(texts, trained)
    trained.save(output)
    return stream


def show_examples(given) -> None:
    """Prints the counts of a source, and its first examples.

    Args:
      given: the values of the flags, by name.

    Raises:
      ValueError: a flag is wrong, or the source has an error that training would have.
    """
    import rich.console

    with command.quiet_imports():
        from zoo import directory
        from zoo.data import batches, cleaning, formats, preview, sources

    at_least("--show", given.show, 1)
    at_least("--length", given.length, 1)
    at_least("--max_bad_rows", given.max_bad_rows, 0)
    one_of("--format", given.format, (*formats.NAMES, _SPANS))
    if given.pack:
        one_of("--pack", given.pack, batches.PACKINGS)
    if not given.tokenizer:
        raise ValueError(
            "--tokenizer: none; --show needs one, such as --tokenizer=DIR."
        )
    found = directory.read_tokenizer(given.tokenizer)
    if given.format in ("lm", _SPANS):
        if given.pack:
            raise ValueError(
                f"--pack: the format {given.format} fills its windows already."
            )
    if given.format == _SPANS:
        examples = _span_examples(given, found)
    elif given.format == "lm":
        texts = sources.documents(given.source)
        stream = formats.language_model(
            [cleaning.clean(text, given.clean) for text in texts], found
        )
        print(f"documents        {stream.documents}")
        print(f"tokens           {len(stream.tokens)}")
        examples = preview.windows(
            stream.tokens, stream.weights, given.length, given.show
        )
    else:
        rows = _rows(given, found)
        print(
            f"rows             {', '.join(f'{n} {k}' for k, n in rows.counts.items())}"
        )
        learnt = int((rows.weights > 0).sum())
        print(f"tokens           {len(rows.tokens)}, {learnt} learnt")
        examples = preview.rows(*rows[:3], given.show)
        if given.pack:
            packed = batches.pack(rows.starts, given.length, given.pack)
            print(packed.about(given.pack))
            examples = preview.packed_windows(*rows[:2], packed, given.show)
    console = rich.console.Console()
    for number, segments in enumerate(examples, 1):
        console.print(preview.text(number, segments, found), soft_wrap=True, end="")


def _span_examples(given, found):
    """Examples of span corruption, with T5's share of tokens; prints the counts."""
    from zoo.data import batches, cleaning, formats, preview, sources
    from zoo.text import framing
    from zoo.text.importers import post_processor

    sentinels = batches.sentinels_of(found, f"--tokenizer={given.tokenizer}")
    before, after = post_processor.frame(found.json)
    frame = framing.Frame(before, after or found.end_ids[:1], [])
    corruption = batches.Corruption(0.15, sentinels, frame, frame, 0)
    length = corruption.longest(given.length, given.length)
    if not length:
        raise ValueError(f"--length: {given.length}, too few for a text with a hole.")
    texts = [cleaning.clean(t, given.clean) for t in sources.documents(given.source)]
    bare = framing.Frame([], [], [])
    tokens, starts = formats.windows(texts, found, bare, length, least=2)
    print(f"documents        {len(texts)}")
    print(f"windows          {len(starts) - 1}")
    print(f"tokens           {len(tokens)}")
    return preview.holed(tokens, starts, corruption, given.show)


def _rows(given, found):
    """The rows of the source, read as training reads them."""
    from zoo.data import formats, sources

    # a row that is split where a window ends may have any length
    longest = 2**62 if given.pack == "concat" else given.length + 1
    return formats.rows.read(
        sources.numbered(given.source),
        formats.BY_NAME[given.format],
        found,
        longest,
        given.fields,
        given.too_long,
        given.max_bad_rows,
    )


def main(argv: list[str]) -> None:
    """Prepares a data set, shows examples, or trains a tokenizer."""
    del argv
    given = flags.FLAGS
    if given.config is not None:
        _refuse_others(name for name in _WITHOUT_CONFIG if given[name].present)
        prepare(given)
        return
    if given["workers"].present:
        raise ValueError("--workers: needs --config; the other forms use one process.")
    if not given.source:
        raise ValueError("--source: none; give one, or --config=configs/prepare.py.")
    if given.show is not None:
        if given.output:
            raise ValueError("--output, --show: give one of the two.")
        show_examples(given)
        return
    if not given.output:
        raise ValueError("--output: none; give a new or an empty folder, or --show=N.")
    stream = prepare_tokenizer(
        given.source, given.output, given.vocab_size, given.clean
    )
    # Each document ends with an end token, and the stream begins with one.
    tokens = len(stream.tokens) - stream.documents - 1
    print(f"documents        {stream.documents}")
    print(f"bytes            {stream.bytes}")
    print(f"tokens           {tokens}")
    print(f"bytes per token  {stream.bytes / tokens:.4f}")
    print(f"written          {given.output}")


def _help() -> str:
    """The help of --config: all fields of a Recipe with their defaults."""
    from zoo.data.preparation import Recipe

    names = [f"{f.name}={f.default!r}" for f in dataclasses.fields(Recipe)]
    return (
        "A file of configs/, whose get_config() returns a Recipe. Override its fields "
        f"by --config.NAME=VALUE. The names, with their defaults: {', '.join(names)}."
    )


def run() -> None:
    """Defines the flags and runs the command.

    Not at import, because several commands have flags of the same name.
    """
    from zoo.data import cleaning

    config_flags.DEFINE_config_file("config", None, _help())
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS["config"])
    flags.DEFINE_string("output", None, "A new or empty folder, or one that goes on.")
    cores = len(os.sched_getaffinity(0))
    flags.DEFINE_integer("workers", cores, "Of --config: processes.")
    flags.DEFINE_string("source", None, "Where the text is: kjv, text:PATH, ...")
    flags.DEFINE_integer("vocab_size", 4096, "Tokens, 256 bytes and the end included.")
    flags.DEFINE_list("clean", list(cleaning.DEFAULT), "Cleaning steps, in order.")
    flags.DEFINE_integer("show", None, "How many examples to show; trains nothing.")
    flags.DEFINE_string("tokenizer", "", "Of --show: a tokenizer or model directory.")
    flags.DEFINE_string("format", "lm", "Of --show: as config.data.format.")
    flags.DEFINE_list("fields", [], "Of --show: field=column, of other columns.")
    flags.DEFINE_integer("length", 1024, "Of --show: tokens of an example or window.")
    flags.DEFINE_string("too_long", "error", "Of --show: error, drop or cut.")
    flags.DEFINE_integer("max_bad_rows", 0, "Of --show: bad rows before an error.")
    flags.DEFINE_string("pack", "", "Of --show: best_fit, concat, or none.")
    command.run_app(
        main, lambda argv, error: config_file.explain(argv, error, "a Recipe")
    )


if __name__ == "__main__":
    run()
