"""Formats: from documents to token ids, a file a format."""

from zoo.data.formats.lm import Stream, language_model

__all__ = ["Stream", "language_model"]
