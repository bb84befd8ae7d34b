"""The file of an index, and the search in it.

    vectors             float32 or float16 [N, D], a row for each passage
    text, text_ends     uint8: all passages in UTF-8, and int64 [N]: where each ends
    place, place_ends   the same for the places of the passages, such as "Jonah 2:1"

The file is a safetensors file. Its metadata name the format, the digest of the model,
the dimension D and the source. Vectors of another model mean nothing, so an index opens
with the model that made it only. The neighbours are exact: scikit-learn compares the
query with every vector.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from sklearn.neighbors import NearestNeighbors

from zoo import files
from zoo.data import compressed
from zoo.fields import one_of
from zoo.search_index.embedder import Embedder
from zoo.search_index.splitting import Passage, passages

DTYPES = ("float16", "float32")
_FORMAT = "zoo search index 1"


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


def write(
    path,
    embedder: Embedder,
    source: str,
    dtype: str = "float32",
    report: Callable[[int, int], None] = lambda *_: None,
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
