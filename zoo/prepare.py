"""Trains a tokenizer on a source, or shows what a model would learn from a source.

    python -m zoo.prepare --source=kjv --output=runs/tokenizer --vocab_size=4096
    python -m zoo.prepare --source=jsonl:chats.jsonl --format=chat --tokenizer=DIR \
        --pack=best_fit --length=1024 --show=3

The first form prints the counts of the source. The second form prints examples with
ids, text and loss weights: learnt tokens are green, given tokens are blue.
"""

from absl import flags

from zoo import command, files
from zoo.fields import at_least, one_of

with command.quiet_imports():
    from zoo.data import cleaning, formats, sources
    from zoo.text import tokenizer


def prepare_tokenizer(
    source: str, output: str, vocab_size: int, steps: list[str]
) -> formats.Stream:
    """Trains a tokenizer on the cleaned documents of a source and writes a folder.

    Args:
      source: a spec of `zoo.data.sources`.
      output: a new or empty folder.
      vocab_size: tokens, the 256 bytes and the end token included.
      steps: names of cleaning steps, in order.

    Returns:
      The documents as tokens of the new tokenizer.

    Raises:
      ValueError: the output is not an empty folder, or the source, the steps or the
        size are wrong.
    """
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
        from zoo.data import batches, preview

    at_least("--show", given.show, 1)
    at_least("--length", given.length, 1)
    at_least("--max_bad_rows", given.max_bad_rows, 0)
    one_of("--format", given.format, formats.NAMES)
    if given.pack:
        one_of("--pack", given.pack, batches.PACKINGS)
    if not given.tokenizer:
        raise ValueError(
            "--tokenizer: none; --show needs one, such as --tokenizer=DIR."
        )
    found = directory.read_tokenizer(given.tokenizer)
    if given.format == "lm":
        if given.pack:
            raise ValueError("--pack: the format lm fills its windows already.")
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


def _rows(given, found) -> formats.Rows:
    """The rows of the source, read as training reads them."""
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
    """Shows examples, or trains the tokenizer and prints the counts."""
    del argv
    given = flags.FLAGS
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


def run() -> None:
    """Defines the flags and runs the command.

    Not at import, because several commands have flags of the same name.
    """
    flags.DEFINE_string("source", None, "Where the text is: kjv, text:PATH, ...")
    flags.DEFINE_string("output", None, "A new or empty folder.")
    flags.DEFINE_integer("vocab_size", 4096, "Tokens, 256 bytes and the end included.")
    flags.DEFINE_list("clean", list(cleaning.DEFAULT), "Cleaning steps, in order.")
    flags.DEFINE_integer("show", None, "How many examples to show; trains nothing.")
    flags.DEFINE_string("tokenizer", "", "Of --show: a tokenizer or model directory.")
    flags.DEFINE_string("format", "lm", f"Of --show: {', '.join(formats.NAMES)}.")
    flags.DEFINE_list("fields", [], "Of --show: field=column, of other columns.")
    flags.DEFINE_integer("length", 1024, "Of --show: tokens of an example or window.")
    flags.DEFINE_string("too_long", "error", "Of --show: error, drop or cut.")
    flags.DEFINE_integer("max_bad_rows", 0, "Of --show: bad rows before an error.")
    flags.DEFINE_string("pack", "", "Of --show: best_fit, concat, or none.")
    flags.mark_flags_as_required(["source"])
    command.run_app(main)


if __name__ == "__main__":
    run()
