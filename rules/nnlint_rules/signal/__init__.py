"""SIG: activations in the forward pass."""
