"""DAT002, DAT005, DAT008, DAT009, DAT013: what the inputs hold and where they go."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint

GENERATOR = torch.Generator().manual_seed(5)
TABLE = torch.randn(64, 12, generator=GENERATOR)
IMAGES = torch.randn(64, 3, 12, 12, generator=GENERATOR)


def check(code, model, inputs, **parts):
    report = nnlint.check({"model": model, "inputs": inputs, **parts}, select=[code]).results[0]
    assert report.skipped == []
    return [item.level.value for item in report.findings]


def flat(size=12):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(size, 4))


def conv(channels=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def changed(tensor, index, value):
    made = tensor.clone()
    made[index] = value
    return made


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (TABLE, []),
        (torch.full((64, 12), 3.0), ["error"]),
        (torch.zeros(64, 12), ["error"]),
        (TABLE[:1].expand(64, 12), ["error"]),
        (changed(TABLE, (slice(None), 4), 3.7), ["warning"]),
        (changed(TABLE, (slice(None), 4), 3.7)[:16], []),
        (changed(TABLE, (slice(None), 4), 0.0), []),  # may be a rare flag: 64 samples are too few
        (changed(TABLE, (slice(None), 4), 0.0).repeat(8, 1), ["warning"]),
        ((TABLE > 1.5).float().repeat(8, 1) * (torch.arange(12) != 4), []),  # sparse
    ],
    ids=["varied", "constant", "zeros", "one sample", "column", "small", "flag", "zero column", "sparse"],
)
def test_constant_columns(inputs, expected) -> None:
    assert check("DAT002", flat(), inputs) == expected


def test_borders_of_images_are_silent_and_channels_are_not() -> None:
    bordered = torch.zeros(64, 3, 12, 12)
    bordered[:, :, 2:-2, 2:-2] = IMAGES[:, :, 2:-2, 2:-2]
    assert check("DAT002", conv(), bordered) == []
    assert check("DAT002", conv(), changed(IMAGES, (slice(None), 1), 0.25)) == ["warning"]


def test_padding_and_initial_states_are_silent() -> None:
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(12, 8, batch_first=True)

        def forward(self, x, h):
            return self.rnn(x, h)[0]

    sequences = torch.randn(64, 5, 12)
    sequences[:, 3:] = 0.0
    assert check("DAT002", Recurrent(), (sequences, torch.zeros(1, 64, 8))) == []


def test_identical_token_rows_are_an_error() -> None:
    model = nn.Sequential(nn.Embedding(50, 8), nn.Flatten(), nn.Linear(48, 4))
    assert check("DAT002", model, torch.ones(16, 6, dtype=torch.long)) == ["error"]
    assert check("DAT002", model, torch.randint(0, 50, (16, 6))) == []


@pytest.mark.parametrize(
    ("scales", "fires"), [([1.0] * 12, False), ([1.0] * 11 + [500.0], False), ([0.01] + [1.0] * 10 + [500.0], True)]
)
def test_scale_disparity(scales, fires) -> None:
    inputs = TABLE * torch.tensor(scales)
    assert check("DAT005", flat(), inputs) == (["warning"] if fires else [])
    normalized = nn.Sequential(nn.BatchNorm1d(12), nn.Linear(12, 4))
    assert check("DAT005", normalized, inputs) == []


def test_constant_columns_do_not_count_as_small() -> None:
    assert check("DAT005", flat(), changed(TABLE, (slice(None), 4), 3.7)) == []


class Cast(nn.Module):
    def __init__(self, before, channels=3):
        super().__init__()
        self.before, self.net = before, conv(channels)

    def forward(self, x):
        return self.net(self.before(x))


BYTES = torch.randint(0, 256, (64, 3, 12, 12), dtype=torch.uint8, generator=GENERATOR)


@pytest.mark.parametrize(
    ("before", "inputs", "expected"),
    [
        (lambda x: x.float(), BYTES, ["error"]),
        (lambda x: x.to(torch.float32), BYTES, ["error"]),
        (lambda x: x.type(torch.float32), BYTES.long(), ["error"]),
        (lambda x: x.float() / 255, BYTES, []),
        (lambda x: x.float().sub(127).div(64), BYTES, []),
        (lambda x: x.float(), BYTES > 127, []),
        (lambda x: x.float(), BYTES // 64, []),  # one-hot planes, small counts
        (lambda x: x.float(), IMAGES.double(), ["info"]),
        (lambda x: x, IMAGES, []),
    ],
    ids=["float", "to", "type", "div", "sub", "bool", "small", "double", "float32"],
)
def test_dtype(before, inputs, expected) -> None:
    assert check("DAT008", Cast(before), inputs) == expected


def test_dtype_that_the_layer_refuses_is_found_without_a_forward() -> None:
    report = nnlint.check({"model": conv(), "inputs": BYTES}, select=["DAT008"]).results[0]
    assert {item.code for item in report.findings} == {"DAT008", "RUN002"}


def test_double_model_is_silent() -> None:
    assert check("DAT008", conv().double(), IMAGES.double()) == []


def test_token_ids_are_silent() -> None:
    model = nn.Sequential(nn.Embedding(500, 8), nn.Flatten(), nn.Linear(48, 4))
    assert check("DAT008", model, torch.randint(0, 500, (16, 6))) == []


LAST = torch.randn(16, 12, 12, 3, generator=GENERATOR)


def test_channels_last() -> None:
    assert check("DAT009", conv(12), LAST) == ["warning"]
    assert check("DAT009", conv(3), LAST.permute(0, 3, 1, 2)) == []
    assert check("DAT009", Cast(lambda x: x.permute(0, 3, 1, 2)), LAST) == []
    assert check("DAT009", Cast(lambda x: x.movedim(-1, 1)), LAST) == []
    assert check("DAT009", flat(432), LAST) == []
    assert check("DAT009", nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4)), LAST) == []
    assert check("DAT009", conv(16), torch.randn(8, 16, 12, 3)) == ["warning"]
    assert check("DAT009", conv(4), torch.randn(8, 4, 4, 4)) == []


def test_channels_last_is_named_where_the_forward_fails() -> None:
    report = nnlint.check({"model": conv(3), "inputs": LAST}, select=["DAT009"]).results[0]
    assert {item.code for item in report.findings} == {"DAT009", "RUN002"}


def tokens(rows):
    return nn.Sequential(nn.Embedding(rows, 8), nn.Flatten(), nn.Linear(48, 4))


@pytest.mark.parametrize(("rows", "ids", "fires"), [(50, 49, False), (50, 50, True), (50, -1, True), (50, 0, False)])
def test_index_out_of_range(rows, ids, fires) -> None:
    inputs = torch.full((4, 6), ids)
    report = nnlint.check({"model": tokens(rows), "inputs": inputs}, select=["DAT013"]).results[0]
    assert [item.module for item in report.findings if item.code == "DAT013"] == (["0"] if fires else [])
    assert (report.status == "failed") == fires


class Branching(nn.Module):
    """No symbolic graph can be had of it: it branches on a value."""

    def __init__(self, look_up):
        super().__init__()
        self.table, self.head = nn.Embedding(50, 8), nn.Linear(8, 4)
        self.look_up = look_up

    def forward(self, ids):
        if ids.sum() > 0:
            ids = ids.abs()
        return self.head(self.look_up(self.table, ids).mean(1))


@pytest.mark.parametrize(
    "look_up",
    [
        lambda table, ids: table(ids),
        lambda table, ids: nn.functional.embedding(ids, table.weight),
        lambda table, ids: torch.embedding(table.weight, ids),
        lambda table, ids: nn.functional.embedding_bag(ids, table.weight)[:, None],
    ],
    ids=["module", "functional", "torch", "bag"],
)
def test_the_embedding_that_raised_is_named_without_a_graph(look_up) -> None:
    ids = torch.arange(24).reshape(4, 6) + 30
    report = nnlint.check({"model": Branching(look_up), "inputs": ids}, select=["DAT013"]).results[0]
    (found,) = (item for item in report.findings if item.code == "DAT013")
    assert {key: found.evidence[key] for key in ("input", "max", "rows", "outside")} == {
        "input": "inputs", "max": 53, "rows": 50, "outside": 4
    }  # fmt: skip
    assert found.location.function.endswith(("Branching.forward", "<lambda>"))


def test_ids_that_the_model_makes_are_judged_where_they_raise() -> None:
    model = Branching(lambda table, ids: table(ids + 40))
    report = nnlint.check({"model": model, "inputs": torch.full((4, 6), 15)}, select=["DAT013"]).results[0]
    (found,) = (item for item in report.findings if item.code == "DAT013")
    assert (found.module, found.evidence["input"], found.evidence["max"]) == ("table", "its input", 55)


def test_a_forward_that_raises_elsewhere_is_no_matter_of_ids() -> None:
    model = Branching(lambda table, ids: table(ids) @ torch.ones(3))
    report = nnlint.check({"model": model, "inputs": torch.full((4, 6), 15)}, select=["DAT013"]).results[0]
    assert {item.code for item in report.findings} == {"RUN002"}
    assert any("tracing failed" in item.reason for item in report.skipped if item.code == "DAT013")


def test_an_embedding_that_raises_and_is_caught_is_silent() -> None:
    def look_up(table, ids):
        try:
            return table(ids)
        except IndexError:
            return table(ids % 50)

    assert check("DAT013", Branching(look_up), torch.full((4, 6), 77)) == []


def test_ids_that_are_changed_first_are_not_judged() -> None:
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = tokens(50)

        def forward(self, ids):
            return self.tokens(ids % 50)

    assert check("DAT013", Shifted(), torch.randint(0, 500, (4, 6))) == []
