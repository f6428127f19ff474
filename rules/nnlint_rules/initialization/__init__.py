"""INI: initial values of the parameters."""
