"""Models of torch.nn's own layers, written the ways that users write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.zoo import Build


class OneInput(nn.Module):
    """A forward that is a function of the module and its input."""

    def __init__(self, function: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


class TwoInputs(OneInput):
    def forward(self, x: Any, y: Any) -> Any:
        return self.function(self, x, y)


def _ids(*shape: int) -> Tensor:
    return torch.randint(0, 50, shape)


def _encoder_layer(**settings: Any) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, **settings)


def _loop(net: Any, x: Tensor) -> Any:
    hidden = cell = x.new_zeros(x.size(0), 32)
    for step in range(x.size(1)):
        hidden, cell = net.c(x[:, step], (hidden, cell))
    return net.o(hidden)


def _strided() -> nn.Module:
    layers: list[nn.Module] = []
    for index in range(4):
        given = 3 if index == 0 else 8 * 2**index
        width = 8 * 2 ** (index + 1)
        layers += [nn.Conv2d(given, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


def _lenet() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 10)),
    )


def _flattened() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 64, 10)),
    )


def _language_model() -> nn.Module:
    return OneInput(
        lambda s, x: s.o(s.l(s.e(x))[0]),
        e=nn.Embedding(50, 32),
        l=nn.LSTM(32, 64, 2, batch_first=True),
        o=nn.Linear(64, 50),
    )


def _last_state() -> nn.Module:
    return OneInput(
        lambda s, x: s.o(s.l(x)[1].transpose(0, 1).flatten(1)),
        l=nn.GRU(16, 32, 2, bidirectional=True, batch_first=True),
        o=nn.Linear(128, 5),
    )


def _attention() -> nn.Module:
    attention = nn.MultiheadAttention(32, 4, batch_first=True)
    return OneInput(lambda s, x: s.n(x + s.a(x, x, x)[0]), a=attention, n=nn.LayerNorm(32))


def _joined() -> nn.Module:
    return TwoInputs(
        lambda s, a, b: s.o(torch.cat([s.a(a), s.b(b)], -1)), a=nn.Linear(8, 8), b=nn.Linear(4, 8), o=nn.Linear(16, 1)
    )


#: Name -> what makes the model, and what makes its inputs.
_MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, ...]]]] = {
    "transformer": (
        lambda: nn.Transformer(32, 4, 2, 2, 64, batch_first=True),
        lambda: (torch.randn(2, 7, 32), torch.randn(2, 5, 32)),
    ),
    "encoder": (lambda: nn.TransformerEncoder(_encoder_layer(), 3), lambda: (torch.randn(2, 7, 32),)),
    "encoder_norm_first": (
        lambda: nn.TransformerEncoder(_encoder_layer(norm_first=True), 3),
        lambda: (torch.randn(2, 7, 32),),
    ),
    "decoder": (
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(32, 4, 64), 2),
        lambda: (torch.randn(5, 2, 32), torch.randn(7, 2, 32)),
    ),
    "lstm_lm": (_language_model, lambda: (_ids(2, 9),)),
    "bigru_last": (_last_state, lambda: (torch.randn(2, 9, 16),)),
    "rnncell_loop": (
        lambda: OneInput(_loop, c=nn.LSTMCell(16, 32), o=nn.Linear(32, 5)),
        lambda: (torch.randn(2, 9, 16),),
    ),
    "mlp": (
        lambda: nn.Sequential(
            *(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 10))
        ),
        lambda: (torch.randn(4, 20),),
    ),
    "lenet": (_lenet, lambda: (torch.randn(2, 1, 28, 28),)),
    "cnn_bn": (_strided, lambda: (torch.randn(2, 3, 32, 32),)),
    "cnn_flatten_32": (_flattened, lambda: (torch.randn(2, 3, 32, 32),)),
    "conv1d_flatten": (
        lambda: nn.Sequential(
            *(nn.Conv1d(1, 8, 5, 2), nn.ReLU(), nn.Conv1d(8, 8, 5, 2), nn.Flatten(), nn.Linear(8 * 22, 2))
        ),
        lambda: (torch.randn(2, 1, 100),),
    ),
    "conv3d": (
        lambda: nn.Sequential(*(nn.Conv3d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 2))),
        lambda: (torch.randn(2, 1, 8, 16, 16),),
    ),
    "autoencoder": (
        lambda: nn.Sequential(*(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Sigmoid())),
        lambda: (torch.randn(2, 1, 28, 28),),
    ),
    "embbag": (lambda: nn.Sequential(nn.EmbeddingBag(100, 16), nn.Linear(16, 3)), lambda: (_ids(4, 6),)),
    "mha_block": (_attention, lambda: (torch.randn(2, 5, 32),)),
    "data_dep": (
        lambda: OneInput(lambda s, x: s.a(x) if x.mean() > 0 else s.b(x), a=nn.Linear(8, 8), b=nn.Linear(8, 8)),
        lambda: (torch.randn(2, 8),),
    ),
    "two_inputs": (_joined, lambda: (torch.randn(2, 8), torch.randn(2, 4))),
}


def layer_models() -> Iterator[tuple[str, Build]]:
    """Every model of the table."""
    for name, (make, inputs) in _MODELS.items():

        def build(
            make: Callable[[], nn.Module] = make, inputs: Callable[[], tuple[Tensor, ...]] = inputs
        ) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
            torch.manual_seed(0)
            model = make()
            return model.eval(), inputs(), {}

        yield f"nn/{name}", build
