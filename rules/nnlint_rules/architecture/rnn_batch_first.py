"""ARC009: a layer that expects (time, batch, features) is given (batch, time, features)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint_rules.architecture._mixing import time_major_layer

if TYPE_CHECKING:
    from nnlint import Declared, Mixing, Model

_LIMIT = 1e-5
_EXPLAINED = ["ARC008", "ARC010", "ARC011", "ARC018", "ARC021", "LOS008", "TRN001"]


@rule("ARC009", "rnn-batch-first", level="error", since="0.1", explains=_EXPLAINED)
def check(mixing: Mixing, model: Model, declared: Declared) -> Iterator[Finding]:
    """A recurrent, attention or Transformer layer with batch_first=False runs along the batch.

    ## What it does
    Measures whether samples of the batch depend on each other in evaluation mode, and looks where that starts. Reports a
    recurrent, attention or Transformer layer whose `batch_first` is False. In a model that returns its loss, whose output has no
    samples, only where the first op mixes them is looked at. Time-major data are recognised by the targets
    (or the loader's batch size, or a second input): their samples are on the second axis and do not mix. Where nothing
    tells the two layouts apart the finding is an info; `declared={"time-major"}` settles it.

    ## Why is this bad?
    The default of these layers is (time, batch, features). Given (batch, time, features) they step through the batch and
    take the positions of a sample for separate samples: each output depends on the samples before it, and no position sees
    the others of its own sample. Shapes fit, so nothing raises.

    ## Example
        self.rnn = nn.LSTM(32, 64)                      # batch_first=False
        out, _ = self.rnn(x)                            # x is (batch, time, 32)

    ## Use instead
        self.rnn = nn.LSTM(32, 64, batch_first=True)

    ## References
    - https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html
    - https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html
    """
    if "batch-mixing" in declared.traits:
        return
    suspects = [view for view in model.modules if view.attribute("batch_first") is False]
    if not suspects:
        return
    found = mixing.inside or mixing.samples
    layer = time_major_layer(found, model)
    if found is None or layer is None:
        return
    outputs = f"the others' outputs by {found.influence:.2g} of the largest output (limit {_LIMIT:g})"
    what = outputs if mixing.inside is None else "what it gives for the others"
    doubt = (
        "" if found.settled else "; the data may just as well be (time, batch, ...): nothing tells the layouts apart"
    )
    yield Finding(
        at=found.op,
        level=None if found.settled else Level.INFO,
        message=f"{layer.label} has batch_first=False and runs along the batch: replacing one of {found.samples} samples "
        f"changes {what}{doubt}",
        evidence={"influence": found.influence, "limit": _LIMIT, "gradient": found.gradient, "batch_first": False},
        fix="construct it with batch_first=True, or give it x.transpose(0, 1) and transpose its output back",
        modules=tuple(view.module_path for view in suspects),
        confidence="high" if found.settled else "low",
    )
