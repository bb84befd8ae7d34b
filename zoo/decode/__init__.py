"""Decoding: from prompts to texts with any language model of the zoo."""

from zoo.decode.text import Generated, generate

__all__ = ["Generated", "generate"]
