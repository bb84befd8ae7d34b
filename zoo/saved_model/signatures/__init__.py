"""The signatures of a SavedModel, one file for each kind of model."""
