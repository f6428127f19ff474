"""Example inputs where the target brings none of its own."""
