"""Attention: causal, of whole texts, across sequences, and cached for decoding."""

from zoo.layers.attention.additive import AdditiveAttention
from zoo.layers.attention.cross import across, bidirectional, seen
from zoo.layers.attention.decoding import (
    NewToken,
    Source,
    across_cached,
    cached,
    places,
)
from zoo.layers.attention.projections import Attention, CrossAttention
from zoo.layers.attention.relative import RelativeBias
from zoo.layers.attention.scores import PLAIN, Scores
from zoo.layers.attention.sequences import causal

__all__ = [
    "PLAIN",
    "AdditiveAttention",
    "Attention",
    "CrossAttention",
    "NewToken",
    "RelativeBias",
    "Scores",
    "Source",
    "across",
    "across_cached",
    "bidirectional",
    "cached",
    "causal",
    "places",
    "seen",
]
