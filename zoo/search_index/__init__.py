"""Semantic search: a model maps passages to vectors, and a file keeps both.

embedder     texts to vectors, by a text encoder or a language model
splitting    sources to passages that fit the model
index_file   the file of an index, and the search in it
"""

from zoo.search_index.embedder import Embedder
from zoo.search_index.index_file import DTYPES, Hit, Index, read, write
from zoo.search_index.splitting import Passage, passages, split

__all__ = [
    "DTYPES",
    "Embedder",
    "Hit",
    "Index",
    "Passage",
    "passages",
    "read",
    "split",
    "write",
]
