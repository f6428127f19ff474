"""Several processes: what the ranks of a training do differently, or the same where they should not."""
