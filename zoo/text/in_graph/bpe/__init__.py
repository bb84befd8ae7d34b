"""Byte-pair encoding: merges in their order, in core operations."""
