"""Measurements: one file each, all inside the state guard."""
