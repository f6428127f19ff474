"""ARC: how the layers are wired."""
