"""Attention: causal, of whole texts, across sequences, and cached for decoding."""

from zoo.layers.attention.additive import AdditiveAttention
from zoo.layers.attention.cross import across, bidirectional, seen
from zoo.layers.attention.decoding import (
    NewTokens,
    Source,
    across_cached,
    cached,
    cached_several,
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
    "NewTokens",
    "RelativeBias",
    "Scores",
    "Source",
    "across",
    "across_cached",
    "bidirectional",
    "cached",
    "cached_several",
    "causal",
    "places",
    "seen",
]
