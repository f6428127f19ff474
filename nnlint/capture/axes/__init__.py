"""Axis flow: what each dimension of each value of the graph means. Static: no run, no torch."""
