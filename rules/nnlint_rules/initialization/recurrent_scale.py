"""INI010: a recurrent matrix that makes the state explode or forget."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule

if TYPE_CHECKING:
    from nnlint import Parameters, ParameterView


class RecurrentScale(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#recurrent-scale."""

    largest: float = Field(default=1.5, description="largest accepted spectral radius")
    gated: float = Field(default=4.0, description="the same for an LSTM or GRU: gates that begin half open halve what a step hands on")
    smallest: float = Field(default=0.1, description="smallest accepted spectral radius of a plain RNN")


@rule("INI010", "recurrent-scale", level="warning", since="0.1")
def check(parameters: Parameters, options: RecurrentScale) -> Iterator[Finding]:
    """A recurrent weight matrix with a spectral radius far from 1.

    ## What it does
    Computes the largest absolute eigenvalue of each fresh hidden-to-hidden matrix, gate by gate. Above 1.5 (LSTM and GRU: 4) is
    reported, where sqrt(hidden size) times the weights' root mean square is above as well (the
    radius that many units have: of few it is larger by chance), below 0.1 for plain RNNs only: gated layers keep their state by other
    means.

    ## Why is this bad?
    The state is multiplied by this matrix at every step. Over 50 steps a factor of 1.5 makes 6e8: units saturate, or
    the gradient explodes. A factor of 0.1 wipes out the state within three steps, and nothing is remembered.

    ## Example
        nn.init.normal_(rnn.weight_hh_l0)        # radius about sqrt(hidden_size)

    ## Use instead
        nn.init.orthogonal_(rnn.weight_hh_l0)    # radius 1; one gate at a time in an LSTM or GRU

    ## References
    - Pascanu, Mikolov and Bengio: On the difficulty of training recurrent neural networks, 2013, arXiv:1211.5063
    """
    parameters.require_fresh()
    for view in parameters.of_kind("recurrent"):
        if not view.leaf.startswith("weight_hh") or view.constant:
            continue
        radii = view.spectral_radii
        if not radii:
            continue
        largest = max(radii)
        limit = options.gated if view.owner_type in ("LSTM", "LSTMCell", "GRU", "GRUCell") else options.largest
        if min(largest, math.hypot(view.mean, view.std) * math.sqrt(view.shape[-1])) > limit:
            yield _finding(view, largest, f"limit {limit:g}", "the state or its gradient explodes over the steps")
        elif view.owner_type in ("RNN", "RNNCell") and largest < options.smallest:
            yield _finding(view, largest, f"at least {options.smallest:g}", "the state is forgotten within a few steps")


def _finding(view: ParameterView, radius: float, limit: str, why: str) -> Finding:
    return Finding(
        at=view,
        message=f"the recurrent matrix {view.name} has a spectral radius of {radius:.3g} ({limit}): {why}",
        evidence={"radius": radius, "limit": limit},
        fix="nn.init.orthogonal_ on the square block of each gate, or torch's default initialization",
    )
