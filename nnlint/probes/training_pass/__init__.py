"""The recorded forward and backward pass in training mode, with its statistics."""
