"""Semantic search: a model maps passages to vectors, and a file keeps both.

    vectors             float32 or float16 [N, D], a row for each passage
    text, text_ends     uint8: all passages in UTF-8, and int64 [N]: where each ends
    place, place_ends   the same for the places of the passages, such as "Jonah 2:1"

The file is a safetensors file. Its metadata name the format, the digest of the model,
the dimension D and the source. Vectors of another model mean nothing, so an index opens
with the model that made it only. The neighbours are exact: scikit-learn compares the
query with every vector.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
import tensorflow as tf
from sklearn.neighbors import NearestNeighbors

from zoo import files
from zoo.data import compressed, sources
from zoo.directory import Loaded, assemble, fields_of
from zoo.fields import one_of
from zoo.text.importers import post_processor

DTYPES = ("float16", "float32")
_FORMAT = "zoo search index 1"
_LONGEST = 256  # tokens of a passage, where the model can read more
_TOKENS = 4096  # of a batch, padding included
_CHARACTERS = 32  # of a token: a longer passage is cut before it is tokenized
# where a long text is cut, the best place first: paragraph, line, sentence, word
_BOUNDARIES = [re.compile(p) for p in (r"\n\s*\n", r"\n", r"[.!?][\"')\]]*\s+", r"\s+")]


class Passage(NamedTuple):
    """A text that has one vector, and where it is from."""

    place: str
    text: str


class Hit(NamedTuple):
    """A passage that was found.

    Attributes:
      score: the cosine between the query and the passage, -1 to 1.
      place: where the passage is from.
      text: the passage.
    """

    score: float
    place: str
    text: str


class Embedder:
    """Maps texts to vectors, as the signature `embed` of the exported model does.

    Args:
      loaded: a text encoder or a language model, with its tokenizer.
      where: what messages call the model.

    Attributes:
      digest: SHA-256 of the model's configuration, weights and tokenizer.
      dimension: D.
      room: the most tokens of a text, without those that are put around it.

    Raises:
      ValueError: the model gives no vectors, or has no tokenizer.
    """

    def __init__(self, loaded: Loaded, where: str):
        model, tokenizer = loaded.model, loaded.tokenizer
        if model.config.task not in ("embed", "generate"):
            raise ValueError(
                f"{where}: a model for {model.config.task} gives no vectors; a text "
                "encoder or a language model allowed."
            )
        if tokenizer is None:
            raise ValueError(f"{where}: has no tokenizer.json.")
        self._model, self._tokenizer = model, tokenizer
        if model.config.task == "embed":
            self._before, self._after = post_processor.frame(tokenizer.json)
        else:
            self._before, self._after = tokenizer.prefix, []
        self.digest = _digest(loaded)
        one = model.embed(tf.constant([[0]]), tf.constant([1]))
        self.dimension = int(one.shape[1])
        self.room = model.limit - len(self._before) - len(self._after)
        if not model.limit:
            self.room = 2**16

    def count(self, text: str) -> int:
        """The tokens of a text, without those that are put around it."""
        return len(self._tokenizer.encode(text))

    def vectors(
        self, texts: Sequence[str], report: Callable[[int, int], None] = lambda *_: None
    ) -> np.ndarray:
        """The vector of each text, float32 [N, D].

        Texts of a similar length share a batch, so that few tokens are padding.

        Args:
          texts: each has at most `room` tokens.
          report: gets the number of tokens done and that of all, after each batch.

        Raises:
          ValueError: a text is too long, or its vector is not finite.
        """
        rows = [self._row(ids) for ids in self._tokenizer.encode_batch(texts)]
        lengths_N = np.array([*map(len, rows)])
        most = self.room + len(self._before) + len(self._after)
        if rows and lengths_N.max() > most:
            at = int(lengths_N.argmax())
            raise ValueError(
                f"{texts[at][:60]!r}...: {lengths_N[at]} tokens, at most {most} "
                "allowed."
            )
        vectors_ND = np.empty((len(rows), self.dimension), np.float32)
        done, total = 0, int(lengths_N.sum())
        for batch in _batches(lengths_N):
            lengths_B = lengths_N[batch]
            tokens_BT = np.zeros((len(batch), lengths_B.max()), np.int32)
            for to, row in zip(tokens_BT, batch, strict=True):
                to[: len(rows[row])] = rows[row]
            vectors_ND[batch] = self._model.embed(
                tf.constant(tokens_BT), tf.constant(lengths_B, tf.int32)
            )
            done += int(lengths_B.sum())
            report(done, total)
        for text, vector in zip(texts, vectors_ND, strict=True):
            if not np.isfinite(vector).all():
                raise ValueError(f"{text[:60]!r}: its vector has NaN or Inf.")
        return vectors_ND

    def _row(self, ids: list[int]) -> list[int]:
        """The ids and those around them; an empty text has the end token."""
        row = [*self._before, *ids, *self._after]
        if row or self._tokenizer.end_id is None:
            return row or [0]
        return [self._tokenizer.end_id]


class Index:
    """Passages and their vectors.

    Args:
      passages: N of them.
      vectors_ND: float32 or float16.
    """

    def __init__(self, passages: list[Passage], vectors_ND: np.ndarray):
        self.passages, self.vectors_ND = passages, vectors_ND
        neighbours = NearestNeighbors(algorithm="brute", metric="cosine")
        self._neighbours = neighbours.fit(vectors_ND.astype(np.float32))

    def search(self, queries_QD: np.ndarray, k: int) -> list[list[Hit]]:
        """The `k` nearest passages of each query, the nearest first.

        Args:
          queries_QD: float32, of the same model.
          k: 1 to the number of passages.

        Raises:
          ValueError: `k` is out of its range.
        """
        if not 1 <= k <= len(self.passages):
            raise ValueError(f"k: {k}, 1 to the {len(self.passages)} passages allowed.")
        distance_QK, row_QK = self._neighbours.kneighbors(queries_QD, k)
        return [
            [
                Hit(1 - float(d), *self.passages[row])
                for d, row in zip(*pair, strict=True)
            ]
            for pair in zip(distance_QK, row_QK, strict=True)
        ]


def passages(source: str, embedder: Embedder) -> list[Passage]:
    """The texts of a source, of which long ones are cut into several passages.

    A passage has at most 256 tokens, or as many as the model can read. Blank texts are
    left out.

    Args:
      source: a spec of `zoo.data.sources`; a passage of kjv is a verse.
      embedder: counts the tokens.

    Raises:
      ValueError: the source is missing or broken, or has no text.
    """
    most = min(embedder.room, _LONGEST)

    def fits(text: str) -> bool:
        return len(text) <= _CHARACTERS * most and embedder.count(text) <= most

    found = [
        Passage(place, part)
        for place, text in sources.placed(source)
        for part in split(text, fits)
    ]
    if not found:
        raise ValueError(f"'{compressed.shown(source)}': there is no text.")
    return found


def split(text: str, fits: Callable[[str], bool]) -> Iterator[str]:
    """Cuts a text in two, and each part again, until every part fits.

    The cut is the one nearest to the middle: between two paragraphs, else lines, else
    sentences, else words, else characters. "One two. Three four." becomes "One two."
    and "Three four.", if it does not fit.

    Args:
      text: any text.
      fits: whether a part is short enough.

    Yields:
      The parts in their order, without spaces around them and without blank ones.

    Raises:
      ValueError: a single character does not fit.
    """
    text = text.strip()
    if not text:
        return
    if fits(text):
        yield text
        return
    middle, size = len(text) // 2, len(text)
    if not middle:
        raise ValueError(f"The model has no room for the tokens of {text!r}.")
    cut = middle
    for boundary in _BOUNDARIES:
        ends = [m.end() for m in boundary.finditer(text, size // 4, size * 3 // 4)]
        if ends:
            cut = min(ends, key=lambda end: abs(end - middle))
            break
    yield from split(text[:cut], fits)
    yield from split(text[cut:], fits)


def write(
    path,
    embedder: Embedder,
    source: str,
    dtype: str = "float32",
    report=lambda *_: None,
) -> Index:
    """Embeds the passages of a source and writes the index.

    Args:
      path: of the new file.
      embedder: of the model.
      source: see `passages`.
      dtype: of the vectors, "float32" or "float16".
      report: see `Embedder.vectors`.

    Returns:
      What was written.

    Raises:
      ValueError: the file exists or cannot be written; or as `passages`.
    """
    one_of("dtype", dtype, DTYPES)
    files.refuse_existing(path)
    found = passages(source, embedder)
    size = len(found) * embedder.dimension * np.dtype(dtype).itemsize
    files.check_room(path, size + sum(len(p.text) for p in found))
    texts = [passage.text for passage in found]
    vectors_ND = embedder.vectors(texts, report).astype(dtype)
    tensors = {
        "vectors": vectors_ND,
        **_packed("text", texts),
        **_packed("place", [passage.place for passage in found]),
    }
    metadata = {
        "format": _FORMAT,
        "model": embedder.digest,
        "dimension": str(embedder.dimension),
        "source": compressed.shown(source),
    }
    with files.staged_file(path) as new:
        safetensors.numpy.save_file(tensors, new, metadata)
    return Index(found, vectors_ND)


def read(path, embedder: Embedder) -> Index:
    """Reads an index of the same model.

    Raises:
      ValueError: the file is missing or broken, is no index, or is of another model.
    """
    with files.system_errors(path), safetensors.safe_open(path, "np") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != _FORMAT:
            raise ValueError(
                f"{path}: format {metadata.get('format')!r}, {_FORMAT!r} allowed."
            )
        if metadata.get("model") != embedder.digest:
            raise ValueError(
                f"{path}: was made by another model. The digest of that model is "
                f"{metadata.get('model')}, the digest of this model {embedder.digest}."
            )
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    try:
        texts, places = (_unpacked(name, tensors) for name in ("text", "place"))
        vectors_ND = tensors["vectors"]
        shape = (len(texts), embedder.dimension)
        if vectors_ND.shape != shape or vectors_ND.dtype not in DTYPES:
            raise ValueError(f"vectors of {vectors_ND.shape}, {shape} expected")
        if not texts or not np.isfinite(vectors_ND).all():
            raise ValueError("no vectors, or one that is not finite")
        pairs = zip(places, texts, strict=True)
        found = [Passage(place, text) for place, text in pairs]
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: is a broken index: {error}.") from None
    return Index(found, vectors_ND)


def _digest(loaded: Loaded) -> str:
    """SHA-256 of a model and its tokenizer, however its directory stores them."""
    total = hashlib.sha256(json.dumps(fields_of(loaded.model.config)).encode())
    total.update(loaded.tokenizer.json.encode() if loaded.tokenizer else b"")
    for path, variable in sorted(assemble.by_path(loaded.model).items()):
        total.update(f"{path} {tuple(variable.shape)}\n".encode())
        total.update(np.ascontiguousarray(variable.value, np.float32).data)
    return total.hexdigest()


def _batches(lengths_N: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of each batch, from the longest to the shortest."""
    order = np.argsort(-lengths_N, kind="stable")
    first = 0
    while first < len(order):
        rows = max(_TOKENS // int(lengths_N[order[first]]), 1)
        yield order[first : first + rows]
        first += rows


def _packed(name: str, texts: Iterable[str]) -> dict[str, np.ndarray]:
    """Texts as the bytes of all, and the places where each ends."""
    parts = [text.encode() for text in texts]
    return {
        name: np.frombuffer(b"".join(parts), np.uint8),
        f"{name}_ends": np.cumsum([len(part) for part in parts], dtype=np.int64),
    }


def _unpacked(name: str, tensors: dict[str, np.ndarray]) -> list[str]:
    """The texts of `_packed`."""
    data, ends_N = tensors[name], tensors[f"{name}_ends"]
    if data.dtype != np.uint8 or ends_N.dtype != np.int64:
        raise ValueError(f"{name} of {data.dtype} with ends of {ends_N.dtype}")
    starts_N = np.concatenate([[0], ends_N[:-1]])
    if (ends_N < starts_N).any() or ends_N[-1:].sum() != len(data):
        raise ValueError(f"{name}_ends do not fit {len(data)} bytes")
    joined = data.tobytes()
    pairs = zip(starts_N.tolist(), ends_N.tolist(), strict=True)
    return [joined[start:end].decode() for start, end in pairs]
