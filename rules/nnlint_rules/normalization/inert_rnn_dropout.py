"""NRM015: dropout of a recurrent layer with a single layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Model


@rule("NRM015", "inert-rnn-dropout", level="warning", since="0.1")
def check(model: Model) -> Iterator[Finding]:
    """The dropout argument of an LSTM, GRU or RNN that has one layer.

    ## What it does
    Reads `dropout` and `num_layers` of every recurrent layer.

    ## Why is this bad?
    torch applies that dropout between the stacked layers, on the outputs of all but the last. With one layer there is
    no such place: nothing is dropped, and the network is less regularized than it looks.

    ## Example
        nn.LSTM(64, 128, dropout=0.5)

    ## Use instead
        self.rnn, self.drop = nn.LSTM(64, 128), nn.Dropout(0.5)   # and drop its output

    ## References
    - PyTorch: `torch.nn.LSTM`, argument `dropout`
    """
    for view in model.named("RNNBase"):
        p = view.attribute("dropout", 0.0)
        if view.attribute("num_layers") == 1 and isinstance(p, (int, float)) and p > 0.0:
            yield Finding(
                at=view,
                message=f"dropout={p:g} has no effect: it acts between stacked layers, and num_layers is 1",
                evidence={"dropout": float(p), "num_layers": 1},
                fix="add nn.Dropout after the layer, or stack two layers; else remove the argument",
            )
