"""Contamination: n-grams of evaluation sources that training documents have, too.

As for GPT-3 (Brown et al. 2020, appendix C): n-grams of 13 words in lower case without
punctuation; one that is in more than 10 training documents is a common phrase and does
not count. Texts without spaces have n-grams of characters. A shorter text, of at least
8 words, is looked for as a whole among texts as short; one with fewer words is not
looked for.
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo import files
from zoo.data import sources
from zoo.data.preparation import counts, words

COMMON = 10  # training documents with an n-gram that counts, at most
_SHORTEST = 8
_CHUNK = 1 << 20
_BITS = 24  # of the filter in front of the search
_GRAMS, _TEXTS, _INDEX = "grams.npy", "texts.npy", "index.json"


class Table(NamedTuple):
    """The n-grams of evaluation sources.

    Attributes:
      size: words of an n-gram.
      grams_G: uint64, rising, each once.
      filter: bool [2^24], by the first bits of an n-gram.
    """

    size: int
    grams_G: np.ndarray
    filter: np.ndarray

    def find(self, found: words.Words) -> np.ndarray:
        """int64 [H, 2], each once: a text and the number of an n-gram that it has."""
        gram_N, starts_D = words.ngrams(found, self.size)
        place_N = np.flatnonzero(self.filter[gram_N >> np.uint64(64 - _BITS)])
        if not len(place_N):
            return np.zeros((0, 2), np.int64)
        gram_N = gram_N[place_N]
        number_N = np.searchsorted(self.grams_G, gram_N)
        number_N = np.minimum(number_N, len(self.grams_G) - 1)
        same = self.grams_G[number_N] == gram_N
        text_N = np.searchsorted(starts_D, place_N[same], side="right") - 1
        return np.unique(np.stack([text_N, number_N[same]], 1), axis=0)


def build(folder, specs: Sequence[str], size: int) -> None:
    """Writes the n-grams of evaluation sources to a new folder.

    Memory is about 40 bytes for each word of these sources.

    Raises:
      ValueError: a source cannot be read, or has a bad row.
    """
    grams, texts, index = [], [], []
    count = 0
    for spec in specs:
        first, short = count, 0
        for part in sources.parts(spec):
            chunk, held = [], 0
            for _, text in sources.texts(part):
                if isinstance(text, ValueError):
                    raise ValueError(f"recipe.against: {text}")
                chunk.append(text)
                held += len(text)
                if held >= _CHUNK:
                    short += _add(chunk, size, count, grams, texts)
                    count += len(chunk)
                    chunk, held = [], 0
            short += _add(chunk, size, count, grams, texts)
            count += len(chunk)
        index.append({"spec": spec, "first": first, "end": count, "short": short})
    grams_G, number_N = np.unique(
        np.concatenate([np.zeros(0, np.uint64), *grams]), return_inverse=True
    )
    text_N = np.concatenate([np.zeros(0, np.int64), *texts])
    with files.staged(folder) as new:
        np.save(new / _GRAMS, grams_G)
        np.save(new / _TEXTS, np.stack([number_N.reshape(-1), text_N], 1))
        files.write_json(new / _INDEX, {"size": size, "sources": index})


def load(folder) -> Table:
    """Reads what `build` wrote."""
    folder = pathlib.Path(folder)
    grams_G = np.load(folder / _GRAMS, mmap_mode="r")
    known = np.zeros(1 << _BITS, bool)
    known[grams_G >> np.uint64(64 - _BITS)] = True
    return Table(files.read_json(folder / _INDEX)["size"], grams_G, known)


def report(
    folder,
    hits: Callable[[], Any],
    training: Callable[[int], tuple[str, str]],
    samples: int,
) -> list[dict[str, Any]]:
    """What is contaminated, an entry a source.

    Args:
      folder: of `build`.
      hits: gives, for one unit after the other, int64 [H, 2]: the number of a training
        document and that of an n-gram in it.
      training: the place and the text of the training document of a number.
      samples: how many contaminated documents are shown.

    Returns:
      For each source {"source", "documents", "short", "contaminated", "share",
      "training_documents", "common_ngrams", "samples": [{"place", "ngram",
      "training"}]}.
    """
    folder = pathlib.Path(folder)
    index = files.read_json(folder / _INDEX)
    table = load(folder)
    found_G = np.zeros(len(table.grams_G), np.int64)
    one_G = np.full(len(table.grams_G), -1, np.int64)  # the first document with it
    for hits_H2 in hits():
        np.add.at(found_G, hits_H2[:, 1], 1)
        new = hits_H2[one_G[hits_H2[:, 1]] < 0][::-1]
        one_G[new[:, 1]] = new[:, 0]
    counts_G = (found_G > 0) & (found_G <= COMMON)
    gram_N, text_N = np.load(folder / _TEXTS).T
    result = []
    for entry in index["sources"]:
        mine = (text_N >= entry["first"]) & (text_N < entry["end"])
        bad = np.unique(text_N[mine & counts_G[gram_N]])
        in_training = np.zeros(len(counts_G), bool)
        in_training[gram_N[mine & counts_G[gram_N]]] = True
        documents = set()
        for hits_H2 in hits():
            documents.update(hits_H2[in_training[hits_H2[:, 1]], 0].tolist())
        size = entry["end"] - entry["first"]
        common = np.unique(gram_N[mine & (found_G[gram_N] > COMMON)])
        shown = set((bad[:samples] - entry["first"]).tolist())
        result.append(
            {
                "source": entry["spec"],
                "documents": size,
                "short": entry["short"],
                "contaminated": len(bad),
                "share": round(len(bad) / max(size - entry["short"], 1), 6),
                "training_documents": len(documents),
                "common_ngrams": len(common),
                "samples": [
                    _sample(place, text, table, counts_G, one_G, training)
                    for place, text in _texts(entry["spec"], shown)
                ],
            }
        )
    return result


def _add(chunk, size, first, grams, texts) -> int:
    """Appends the n-grams of a chunk; how many of its texts are too short."""
    if not chunk:
        return 0
    found = words.words(chunk)
    gram_N, starts_D = words.ngrams(found, size)
    counts_D = np.diff(found.texts_D)
    short_D = counts_D < min(_SHORTEST, size)
    text_N = np.repeat(np.arange(len(chunk)), np.diff(starts_D))
    kept = ~short_D[text_N]
    grams.append(gram_N[kept])
    texts.append(text_N[kept] + first)
    return int(short_D.sum())


def _texts(spec, numbers):
    """The documents of a source that have the given numbers."""
    number = 0
    for part in sources.parts(spec) if numbers else ():
        for place, text in sources.texts(part):
            if number in numbers:
                yield place, text
            number += 1


def _sample(place, text, table, counts_G, one_G, training):
    """The first n-gram of an evaluation document that a training document has."""
    found = words.words([text])
    gram_N, _ = words.ngrams(found, table.size)
    number_N = np.minimum(np.searchsorted(table.grams_G, gram_N), len(counts_G) - 1)
    good = (table.grams_G[number_N] == gram_N) & counts_G[number_N]
    first = int(np.flatnonzero(good)[0])
    starts_W = np.append(found.starts_W, len(text))
    begin = starts_W[first]
    end = starts_W[min(first + table.size, len(starts_W) - 1)]
    where, _ = training(int(one_G[number_N[first]]))
    shown = counts.sample(place, text[begin:end].strip())
    return {"place": place, "ngram": shown["text"], "training": where}
