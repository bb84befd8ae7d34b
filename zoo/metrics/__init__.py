"""Measures of texts and answers, without a model."""
