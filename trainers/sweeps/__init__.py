"""Sweeps: many runs that differ in a few fields.

plan      which runs there are
results   what they reached, as tables
"""
