"""NRM: normalization and regularization layers."""
