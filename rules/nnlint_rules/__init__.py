"""The core rule pack of nnlint: one file per rule, one package per family, found through the entry point `nnlint.rules`."""
