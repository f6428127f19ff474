"""Where a batch is padded, and what the padding reaches."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint
from nnlint.finding import Skip
from nnlint.probes.dependence.padded import Leaf, PadIds, find_padding
from nnlint.probes.session import Plan, Session
from nnlint.setup import SetupOptions, coerce

GENERATOR = torch.Generator().manual_seed(3)
LENGTHS = torch.tensor([10, 4, 6, 8, 5, 7])
INSIDE = torch.arange(10) < LENGTHS[:, None]
IDS = torch.randint(5, 40, (6, 10), generator=GENERATOR)
PADDED = IDS.masked_fill(~INSIDE, 0)
SERIES = torch.randn(6, 10, 3, generator=GENERATOR) * INSIDE[..., None]
NOTHING = PadIds({})


def found(*tensors, samples=6, ids=NOTHING, names=()):
    names = (*names, *(f"input{place}" for place in range(len(names), len(tensors))))
    leaves = [Leaf(name, place, tensor) for place, (name, tensor) in enumerate(zip(names, tensors, strict=True))]
    return find_padding(leaves, samples, ids)


@pytest.mark.parametrize(
    ("tensors", "names"),
    [
        ((PADDED,), ()),
        ((SERIES,), ()),
        ((SERIES - 7.0 * ~INSIDE[..., None],), ()),
        ((SERIES.transpose(1, 2),), ()),
        ((PADDED.t(),), ()),
        ((SERIES.transpose(0, 1),), ()),
        ((IDS, INSIDE), ()),
        ((PADDED, ~INSIDE), ()),
        ((IDS, INSIDE.long()), ()),
        ((IDS, (1.0 - INSIDE.float())[:, None, None] * -1e4), ()),
        ((IDS, torch.zeros(6, 10).masked_fill(~INSIDE, -torch.inf)), ()),
        ((IDS, LENGTHS), ("tokens", "lengths")),
        ((PADDED, LENGTHS), ("tokens", "n")),
    ],
    ids=[
        "ids", "series", "other constant", "channels first", "time-major ids", "time-major series", "mask",
        "mask of padding", "integer mask",
        "additive mask of four axes", "mask of -inf", "lengths by name", "lengths by value",
    ],
)  # fmt: skip
def test_padding_is_found(tensors, names) -> None:
    (sequence,) = found(*tensors, names=names)
    assert torch.equal(sequence.valid, INSIDE)
    assert sequence.leaf.index == 0
    assert not sequence.at_start


def test_padding_before_the_content() -> None:
    (sequence,) = found(PADDED.flip(1))
    assert sequence.at_start
    assert torch.equal(sequence.valid, INSIDE.flip(1))


def test_a_known_id_may_be_rare_and_inside() -> None:
    ids = PADDED.clone()
    ids[0, 3] = 0  # one of 40 content positions
    assert found(ids) == ()
    (sequence,) = found(ids, ids=PadIds({0: "padding_idx of embed"}))
    assert torch.equal(sequence.valid, INSIDE)


def test_the_first_padding_that_is_an_end_is_content() -> None:
    (sequence,) = found(PADDED, ids=PadIds({0: "pad_token_id"}, frozenset({0})))
    assert torch.equal(sequence.lengths, (LENGTHS + 1).clamp(max=10))


@pytest.mark.parametrize(
    "tensor",
    [
        IDS,
        torch.randint(0, 4, (64, 10), generator=GENERATOR),
        (torch.rand(64, 10, generator=GENERATOR) < 0.4).float(),
        IDS.masked_fill(torch.arange(10) >= 6, 0),
        torch.rand(6, 10, 10, generator=GENERATOR) * INSIDE[..., None] * INSIDE.flip(1)[..., None],
        torch.rand(6, 3, 8, 8, generator=GENERATOR),
        torch.arange(10).expand(6, 10),
    ],
    ids=["full", "small alphabet", "flags", "one length", "blank on both sides", "images", "positions"],
)
def test_what_only_looks_padded(tensor) -> None:
    assert found(tensor, samples=len(tensor)) == ()


# -------------------------------------------------------------------- what reads it


class Pooled(nn.Module):
    """Embeds, attends by hand with one of several masks, and pools valid positions."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.embed, self.query, self.key, self.head = (
            nn.Embedding(40, 16),
            nn.Linear(16, 16),
            nn.Linear(16, 16),
            nn.Linear(16, 3),
        )

    def forward(self, tokens):
        mask = tokens != 0
        x = self.embed(tokens)
        scores = self.query(x) @ self.key(x).transpose(1, 2) / 4
        blocked = {
            "keys": ~mask[:, None, :], "queries": ~mask[:, :, None], "inverted": mask[:, None, :], "nothing": torch.zeros_like(scores) > 1,
            "causal": torch.ones_like(scores, dtype=torch.bool).triu(1), "none": None,
        }[self.kind]  # fmt: skip
        if blocked is not None:
            scores = scores.masked_fill(blocked, -1e9)
        x = x + scores.softmax(-1) @ x
        return self.head((x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


def read(model, inputs, **parts):
    torch.manual_seed(0)
    session = Session(coerce({"model": model, "inputs": inputs, **parts}, SetupOptions()), Plan(seed=0))
    return session.evidence("PaddingStats").read


@pytest.mark.parametrize("kind", ["none", "nothing", "queries", "inverted"])
def test_what_the_mask_blocks(kind) -> None:
    (item,) = read(Pooled(kind), PADDED)
    assert (item.cause.kind, item.cause.mask) == ("attention", kind)
    assert item.trimmed is not None
    assert item.trimmed > 0.002


@pytest.mark.parametrize("kind", ["keys", "causal"])
def test_masks_that_keep_padding_after_the_content_out(kind) -> None:
    assert read(Pooled(kind), PADDED) == ()


def test_the_padding_id_can_be_declared() -> None:
    torch.manual_seed(0)
    setup = coerce({"model": Pooled("none"), "inputs": PADDED[:2], "pad_id": 0}, SetupOptions())
    (sequence,) = Session(setup, Plan(seed=0)).evidence("PaddingStats").sequences
    assert sequence.known_by == "the padding id 0 (declared as pad_id)"


def test_no_padding_is_a_skip() -> None:
    with pytest.raises(Skip, match="no padding in the batch"):
        read(Pooled("none"), IDS)


def test_made_up_inputs_are_a_skip() -> None:
    session = Session(coerce(nn.Sequential(nn.Linear(4, 4)), SetupOptions()), Plan(seed=0))
    with pytest.raises(Skip, match="nnlint generated"):
        session.evidence("PaddingStats")


def test_the_state_is_as_before() -> None:
    model = Pooled("none").train()
    tokens = PADDED.clone()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.random.get_rng_state()
    report = nnlint.check({"model": model, "inputs": tokens}, select=["ARC032"]).results[0]
    assert [item.code for item in report.findings] == ["ARC032"]
    assert torch.equal(tokens, PADDED)
    assert torch.equal(random, torch.random.get_rng_state())
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(("counted", "least", "most"), [(True, 0.2, 1.0), (False, 0.0, 0.0)])
def test_share_of_the_gradient(counted, least, most) -> None:
    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn, self.head = nn.Embedding(40, 16), nn.GRU(16, 16, batch_first=True), nn.Linear(16, 40)

        def forward(self, tokens):
            return self.head(self.rnn(self.embed(tokens))[0]).transpose(1, 2)

    loss = nn.CrossEntropyLoss(ignore_index=-100 if counted else 0)
    torch.manual_seed(0)
    given = {"model": Language(), "inputs": PADDED[:, :-1], "targets": PADDED[:, 1:], "loss": loss}
    stats = Session(coerce(given, SetupOptions()), Plan(seed=0)).evidence("PaddingStats")
    assert least <= stats.in_loss.gradient <= most
    assert stats.in_loss.value == 0.0
