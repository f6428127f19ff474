"""What depends on what: samples, inputs, positions, outputs."""
