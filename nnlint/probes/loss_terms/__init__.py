"""The summands of a loss, and what each of them trains."""
