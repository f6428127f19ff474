"""Formulas that code writes out: a softmax as exp over its sum, a cross-entropy as gathered log-probabilities."""
