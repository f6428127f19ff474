"""Evidence that is read from the setup without a run."""
