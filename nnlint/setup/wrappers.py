"""The model behind what wraps it for speed: what is trained is checked, under the names of its source."""

from __future__ import annotations

from nnlint.capture.torch_wrapping import wrapped_model
from nnlint.setup.training_setup import TrainingSetup


def unwrapped(setup: TrainingSetup) -> TrainingSetup:
    """The setup with its model taken out of `torch.compile`, DataParallel and DistributedDataParallel.

    The names of its parameters are then those of the source (no `_orig_mod.`, no `module.`), and no rank waits for another.
    A setup that declares "compiled" keeps its compiled model.
    """
    model, said = setup.model, []
    while (found := wrapped_model(model)) is not None and found[1] not in setup.declared:
        said.append(type(model).__name__)
        model = found[0]
    if not said:
        return setup
    return setup.with_assumption(f"the model inside {' and '.join(said)} is checked", model=model)
