"""Streams of documents for language models, out of shards and raw sources alike."""

from collections.abc import Iterable, Mapping, Sequence

from zoo.data import formats, shards, splits
from zoo.data.damage import Damage
from zoo.data.document_tokens import around
from zoo.data.mixtures import Part
from zoo.data.shards import Shards
from zoo.data.token_stream import Array, TokenStream
from zoo.text.tokenizer import Tokenizer


def folders(specs: Iterable[str], sizes: bool = True) -> dict[str, Shards]:
    """The folders of the specs that are shards, by spec.

    Args:
      specs: of sources, or empty.
      sizes: as in `shards.read`.

    Raises:
      ValueError: a folder is damaged or not complete.
    """
    found = ((spec, shards.folder_of(spec)) for spec in specs)
    return {spec: shards.read(folder, sizes) for spec, folder in found if folder}


def read(
    of: Sequence[Part],
    found: Mapping[str, Shards],
    tokenizer: Tokenizer,
    damage: Damage,
    valid: str = "",
    hold_out: float = 0.0,
    clean: Iterable[str] = (),
) -> tuple[list[TokenStream], TokenStream | None]:
    """The training stream of each source, and the stream of what is held out.

    Shards are read when their tokens are asked for, and raw sources at once. What is
    held out is chosen as in `zoo.data.splits`, but no share is held out of shards. A
    damaged record that is held out is always an error.

    Args:
      of: the sources.
      found: those that are shards, by spec.
      tokenizer: of the shards.
      damage: what happens to damaged records of the training data.
      valid: a spec, or empty.
      hold_out: a share of each raw source.
      clean: names of cleaning steps for raw texts.

    Raises:
      ValueError: a source is missing, broken or too small, or shards have no split
        for training.
    """
    steps, train, held_out = tuple(clean), [], []
    for part in of:
        folder = found.get(part.source)
        if folder is not None:
            train.append(folder.stream("train", damage))
            if not valid and "valid" in folder.splits:
                held_out.append(folder.stream("valid"))
            continue
        share = 0.0 if valid else hold_out
        texts, kept = splits.documents(part.source, "", share, steps)
        train.append(of_texts(texts, tokenizer))
        if kept and not valid:
            held_out.append(of_texts(kept, tokenizer))
    if valid in found:
        held_out = [found[valid].stream("train")]
    elif valid:
        texts, _ = splits.documents(valid, "", 0.0, steps)
        held_out = [of_texts(texts, tokenizer)]
    return train, TokenStream.joined(held_out, Damage()) if held_out else None


def of_texts(texts: Iterable[str], tokenizer: Tokenizer) -> TokenStream:
    """The stream of `formats.language_model`."""
    stream, first = formats.language_model(texts, tokenizer), around(tokenizer).first
    weights = None if stream.weights is None else stream.weights[len(first) :]
    return TokenStream(
        [Array(stream.tokens[len(first) :], weights)],
        first=first,
        weighted=weights is not None,
        bytes=stream.bytes,
        documents=stream.documents,
    )
