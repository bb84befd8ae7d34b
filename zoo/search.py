"""Semantic search over texts, by the vectors of a model.

    python -m zoo.search --model=DIR --index=bible.index --build=kjv
    python -m zoo.search --model=DIR --index=bible.index --query="Who built the ark?"

The model is a text encoder, or a language model, whose features are averaged. The index
is one file, and belongs to the model that made it.
"""

import json
import time

import rich.console
import rich.progress
from absl import flags

from zoo import command, files

_MODEL = flags.DEFINE_string("model", None, "A model directory.", required=True)
_INDEX = flags.DEFINE_string("index", None, "The file of the index.", required=True)
_BUILD = flags.DEFINE_string(
    "build", None, "A source: kjv, text:DIR/**/*.txt, jsonl:PATH#field, ..."
)
_DTYPE = flags.DEFINE_enum(
    "dtype", "float32", ["float16", "float32"], "Of the vectors of a new index."
)
_QUERY = flags.DEFINE_multi_string("query", [], "What to search for; may repeat.")
_K = flags.DEFINE_integer("k", 5, "The number of passages to show.", lower_bound=1)
_OUTPUT = flags.DEFINE_enum("output", "text", ["text", "json"], "How to print.")


def main(argv: list[str]) -> None:
    """Builds the index, or opens it, and prints what is nearest to each query."""
    del argv
    queries = command.texts(_QUERY)
    if not queries and _BUILD.value is None:
        raise ValueError("--query, --build: give at least one of the two.")
    command.suggest_model(_MODEL)
    if _BUILD.value is not None:
        files.refuse_existing(_INDEX.value)
    with command.quiet_imports():
        from zoo import directory, search_index

    loaded = directory.load(_MODEL.value)
    embedder = search_index.Embedder(loaded, f"--model: {_MODEL.value}")
    if _BUILD.value is None:
        index = search_index.read(_INDEX.value, embedder)
    else:
        index = _build(search_index, embedder)
    if not queries:
        return
    found = index.search(embedder.vectors(queries), _K.value)
    for query, hits in zip(queries, found, strict=True):
        if _OUTPUT.value == "json":
            row = {"query": query, "hits": [hit._asdict() for hit in hits]}
            print(json.dumps(row, ensure_ascii=False))
        else:
            print(query)
            for hit in hits:
                text = " ".join(hit.text.split())
                print(f"  {hit.score:.4f}  {hit.place}  {text}")


def _build(search_index, embedder):
    """Writes the index, with progress on the terminal."""
    began, tokens = time.perf_counter(), 0
    quiet = not rich.console.Console().is_terminal
    with rich.progress.Progress(disable=quiet) as progress:
        task = progress.add_task("tokens", total=None)

        def report(done, total):
            nonlocal tokens
            tokens = total
            progress.update(task, completed=done, total=total)

        index = search_index.write(
            _INDEX.value, embedder, _BUILD.value, _DTYPE.value, report
        )
    seconds = time.perf_counter() - began
    if _OUTPUT.value == "text":
        print(
            f"{_INDEX.value}: {len(index.passages)} passages, {tokens} tokens, "
            f"{tokens / seconds:,.0f} tokens/s"
        )
    return index


def run() -> None:
    """The console script."""
    command.run_app(main)


if __name__ == "__main__":
    run()
