"""TRN: a few real training steps."""
