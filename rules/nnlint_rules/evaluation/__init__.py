"""Evaluation inside the script: in which mode, on which data, and what is kept as the best."""
