"""Measures of texts and answers that need no model."""
