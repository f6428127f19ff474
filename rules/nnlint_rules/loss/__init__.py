"""LOS: the loss and the output head."""
