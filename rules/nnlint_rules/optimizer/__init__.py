"""OPT: the optimizer, its learning rate and its schedule."""
