"""From one run of a model to its operation graph."""
