"""An example rule pack: nnlint finds every module of this package through the entry point group `nnlint.rules`."""
