"""GRD: gradients in the backward pass."""
