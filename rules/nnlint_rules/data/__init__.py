"""DAT: the sample batch."""
