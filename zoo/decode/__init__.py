"""Generates text with any language model of the zoo."""

from zoo.decode.generate import Generated, generate

__all__ = ["Generated", "generate"]
