"""`nnlint run`: watches a training script for a few iterations and makes two things of it, an event log and a training setup."""
