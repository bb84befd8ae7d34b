"""Weights in the files of TensorFlow and of transformers' TensorFlow models."""
