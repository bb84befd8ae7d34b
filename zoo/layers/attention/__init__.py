"""Attention: causal, of whole texts, across sequences, and cached for decoding."""

from zoo.layers.attention.additive import AdditiveAttention
from zoo.layers.attention.cross import across, across_cached, bidirectional, seen
from zoo.layers.attention.decoding import cached, cached_several
from zoo.layers.attention.projections import Attention, CrossAttention
from zoo.layers.attention.relative import RelativeBias
from zoo.layers.attention.scores import PLAIN, Scores
from zoo.layers.attention.sequences import causal

__all__ = [
    "PLAIN",
    "AdditiveAttention",
    "Attention",
    "CrossAttention",
    "RelativeBias",
    "Scores",
    "across",
    "across_cached",
    "bidirectional",
    "cached",
    "cached_several",
    "causal",
    "seen",
]
