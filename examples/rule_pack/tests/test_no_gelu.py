"""The tests of the example rule. Run them with `pytest` once the pack is installed."""

from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, features, findings


def test_a_foreign_activation_is_reported() -> None:
    net = Net(lambda self, x: F.gelu(self.fc(x)), fc=nn.Linear(8, 4))
    (finding,) = findings("EXA001", net)
    assert finding.evidence["activation"] == "gelu"


def test_an_activation_of_the_house_is_fine() -> None:
    assert not findings("EXA001", nn.Sequential(nn.Linear(8, 4), nn.SiLU()))


def test_other_activations_can_be_allowed() -> None:
    setup = {"model": nn.Sequential(nn.Linear(8, 4), nn.GELU()), "inputs": features(4, 8)}
    assert findings("EXA001", setup)
    assert not findings("EXA001", setup, rules={"EXA001": {"allowed": ["gelu"]}})
