"""The state guard: what a check touches is put back bit for bit."""
