"""Trains a tokenizer on a source and prints the counts of the source.

python -m zoo.prepare --source=kjv --output=runs/tokenizer --vocab_size=4096
"""

from absl import flags

from zoo import command, files
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


def main(argv: list[str]) -> None:
    """Trains the tokenizer and prints the counts."""
    del argv
    given = flags.FLAGS
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
    flags.mark_flags_as_required(["source", "output"])
    command.run_app(main)


if __name__ == "__main__":
    run()
