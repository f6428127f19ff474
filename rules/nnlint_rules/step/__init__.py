"""The training step: what the observed iterations of a script did to gradients, parameters and rates."""
