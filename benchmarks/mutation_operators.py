"""All mutation operators: importing this module registers those of every module."""

from benchmarks import (
    mutators_attention,
    mutators_axes,
    mutators_data,
    mutators_layers,
    mutators_losses,
    mutators_objectives,
    mutators_scale,
    mutators_sequences,
    mutators_state,
    mutators_structure,
    mutators_trained,
    mutators_training,
)
from benchmarks.mutators import OPERATORS, Mutant, Operator

MODULES = (
    mutators_structure, mutators_training, mutators_losses, mutators_layers, mutators_data, mutators_scale, mutators_attention,
    mutators_sequences, mutators_axes, mutators_objectives, mutators_state, mutators_trained,
)  # fmt: skip

__all__ = ["MODULES", "OPERATORS", "Mutant", "Operator"]
