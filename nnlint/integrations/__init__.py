"""nnlint inside other tools: trainers, pytest, experiment trackers. Each module imports its library when it is used."""
