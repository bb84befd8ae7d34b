"""Unigram tokenizers (T5, XLM-R, ALBERT, Marian) with core TensorFlow operations."""
