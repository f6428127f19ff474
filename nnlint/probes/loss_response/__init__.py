"""The loss as a function: called on chosen outputs, whoever wrote it."""
