"""Evaluation mode against itself and against training."""
