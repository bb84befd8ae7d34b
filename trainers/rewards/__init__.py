"""Rewards: numbers that say how good a sampled answer is."""
