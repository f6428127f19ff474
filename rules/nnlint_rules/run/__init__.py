"""RUN: faults that keep the check itself from running."""
