"""Weights in the files of Keras, and presets of KerasHub."""
