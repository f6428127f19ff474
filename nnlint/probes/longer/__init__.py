"""The longer probes of `--deep` and `--probe NAME`."""
