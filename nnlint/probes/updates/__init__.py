"""A few real optimizer steps on a snapshot."""
