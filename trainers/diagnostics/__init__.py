"""Diagnostics: warnings of runs that go wrong, and layouts of TensorBoard."""
