"""How much gradients grow with the first update of large models: the limit from which on OPT009 does not judge them.

Usage: waking.py [--zoo FOLDER] [--only NAMES]   Figures: docs/evidence/calibration.md#steps.

Prints for each model, over its weight tensors, the gradient after the first update over the one before it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "rules")]

import torch  # noqa: E402

from benchmarks import zoo  # noqa: E402
from benchmarks.zoo_setup import training_setup  # noqa: E402
from nnlint.probes.session import Plan, Session  # noqa: E402
from nnlint.setup import SetupOptions, coerce  # noqa: E402

MODELS = "cait_xxs24_384 deit_tiny_patch16_224 lcnet_035 mobilevit_xxs pvt_v2_b0 resnet10t squeezenet1_1"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=MODELS, help="names of models, with spaces between")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    wanted = tuple(arguments.only.split())
    for name, make in zoo.zoo(("torchvision", "timm")):
        if not name.endswith(wanted):
            continue
        session = Session(coerce(training_setup(name, make).fields, SetupOptions()), Plan(seed=0))
        pairs = [item.gradients[:2] for item in session.evidence("StepStats").parameters if item.dims > 1]
        grown = sorted(pair[1] / pair[0] for pair in pairs if len(pair) == 2 and pair[0] and pair[1])
        if grown:
            print(f"{name}: median {statistics.median(grown):.2g}, largest {grown[-1]:.2g}", flush=True)


if __name__ == "__main__":
    main()
