"""A tokenizer as TensorFlow operations."""
