"""Setups of frameworks: Lightning and Hugging Face."""
