"""Tokenizer files of other programs, read as one tokenizer.json."""
