"""Rollouts: answers that the model samples, with their rewards and advantages."""
