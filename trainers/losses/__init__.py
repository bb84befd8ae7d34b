"""Losses of alignment: pure functions of log-probabilities and masks."""
