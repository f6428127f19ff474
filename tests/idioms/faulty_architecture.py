"""Layers that are lost, cut off, mixed up or badly wired."""

import torch
from _parts import classifier, images, labels, setup, tokens
from torch import nn
from torch.nn import functional


def table(samples=64):
    return torch.randn(samples, 20)


def mlp(inputs=20, outputs=5):
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, outputs))


# -------------------------------------------------------------------- lost layers


def build_result_of_a_layer_not_used():  # expect: ARC002
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.head = nn.Linear(20, 32), nn.Linear(32, 32), nn.Linear(32, 5)

        def forward(self, x):
            h = functional.relu(self.first(x))
            self.second(h).relu()  # <- ARC002
            return self.head(h)

    return classifier(Net(), table())


def build_overwritten_branch():  # expect: ARC002 at left.2
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right, self.head = mlp(20, 16), mlp(20, 16), nn.Linear(16, 5)

        def forward(self, x):
            out = self.left(x)
            out = self.right(x)
            return self.head(torch.tanh(out))

    return classifier(Net(), table())


def build_layers_in_a_list():  # expect: ARC003 at layers[0]
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Linear(20, 32), nn.Linear(32, 32)]
            self.head = nn.Linear(32, 5)

        def forward(self, x):
            for layer in self.layers:
                x = torch.relu(layer(x))
            return self.head(x)

    return classifier(Net(), table())


def build_heads_in_a_dict():  # expect: ARC003 at heads['kind']
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(20, 32), nn.ReLU())
            self.heads = {"kind": nn.Linear(32, 5), "value": nn.Linear(32, 1)}

        def forward(self, x):
            h = self.body(x)
            return {name: head(h) for name, head in self.heads.items()}

    loss = lambda output, y: functional.cross_entropy(output["kind"], y) + output["value"].square().mean()
    return setup(Net(), table(), labels(64), loss)


def build_layer_made_in_forward():  # expect: ARC004 at <Linear>
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(20, 32), nn.ReLU())

        def forward(self, x):
            h = self.body(x)
            return nn.Linear(h.shape[1], 5)(h)

    return classifier(Net(), table())


def build_parameter_made_in_forward():  # expect: ARC004
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp()

        def forward(self, x):
            bias = nn.Parameter(torch.zeros(5))
            return self.body(x) + bias  # <- ARC004

    return classifier(Net(), table())


# -------------------------------------------------------------------- gradients cut


def build_detached_features():  # expect: ARC007
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Linear(20, 32), nn.ReLU()), nn.Linear(32, 5)

        def forward(self, x):
            return self.head(self.body(x).detach())  # <- ARC007

    return classifier(Net(), table())


def build_encoder_under_no_grad():  # expect: ARC007 warning at embedding
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.rnn, self.head = nn.Embedding(100, 16), nn.GRU(16, 32, batch_first=True), nn.Linear(32, 5)

        def forward(self, ids):
            with torch.no_grad():
                out, _ = self.rnn(self.embedding(ids))
            return self.head(out[:, -1])

    return classifier(Net(), tokens())


def build_rounded_features():  # expect: ARC007
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Linear(20, 32), nn.Sigmoid()), nn.Linear(32, 5)

        def forward(self, x):
            return self.head((self.body(x) * 255).round() / 255)  # <- ARC007

    return classifier(Net(), table())


def build_rebuilt_tensor():  # expect: ARC007
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Linear(20, 32), nn.ReLU()), nn.Linear(32, 5)

        def forward(self, x):
            return self.head(torch.tensor(self.body(x).tolist()))  # <- ARC007

    return classifier(Net(), table())


# -------------------------------------------------------------------- samples mixed


def build_view_for_permute():  # expect: ARC029 error at
    class Net(nn.Module):
        """(batch, time, features) turned into (time, batch, features) by view."""

        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(8, 32), nn.Linear(32, 5)

        def forward(self, x):
            batch, time, features = x.shape
            out, _ = self.rnn(x.view(time, batch, features))
            return self.head(out[-1])

    return classifier(Net(), torch.randn(32, 12, 8))


def build_centred_by_the_batch():  # expect: ARC008
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return self.net((x - x.mean(0)) / x.std(0))  # <- ARC008

    return classifier(Net(), table())


def build_lstm_on_batch_major_data():  # expect: ARC009 at rnn
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.rnn, self.head = nn.Embedding(100, 16), nn.LSTM(16, 32), nn.Linear(32, 5)

        def forward(self, ids):
            out, _ = self.rnn(self.embedding(ids))
            return self.head(out[:, -1])

    return classifier(Net(), tokens(32, 12))


def build_transformer_on_batch_major_data():  # expect: ARC009 at encoder.layers.0.self_attn
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inputs, self.position = nn.Linear(8, 32), nn.Parameter(0.02 * torch.randn(12, 32))
            self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64), 1, enable_nested_tensor=False)
            self.head = nn.Linear(32, 5)

        def forward(self, x):
            return self.head(self.encoder(self.inputs(x) + self.position).mean(1))

    return classifier(Net(), torch.randn(32, 12, 8))


def build_attention_sees_the_future():  # expect: ARC018 at attention
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.position = nn.Embedding(100, 32), nn.Parameter(0.02 * torch.randn(16, 32))
            self.attention, self.head = nn.MultiheadAttention(32, 4, batch_first=True), nn.Linear(32, 100)
            self.norm = nn.LayerNorm(32)

        def forward(self, ids):
            x = self.norm(self.embedding(ids) + self.position)
            return self.head(x + self.attention(x, x, x, need_weights=False)[0]).transpose(1, 2)

    ids = tokens(length=17)
    return setup(Net(), ids[:, :-1], ids[:, 1:], nn.CrossEntropyLoss(), causal=True)


def build_padding_on_both_sides():  # expect: ARC018 at conv.0
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(100, 16)
            self.conv = nn.Sequential(nn.Conv1d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv1d(32, 100, 1))

        def forward(self, ids):
            return self.conv(self.embedding(ids).transpose(1, 2))

    ids = tokens(length=17)
    return setup(Net(), ids[:, :-1], ids[:, 1:], nn.CrossEntropyLoss(), causal=True)


# -------------------------------------------------------------------- outputs


def build_output_of_zeros():  # expect: ARC010
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            logits = self.net(x)
            return logits - logits  # <- ARC010

    return classifier(Net(), table())


def build_features_multiplied_by_an_empty_mask():  # expect: ARC010 at head
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Linear(20, 32), nn.ReLU()), nn.Linear(32, 5)
            self.register_buffer("mask", torch.zeros(32))

        def forward(self, x):
            return self.head(self.body(x) * self.mask)

    return classifier(Net(), table())


def build_functional_dropout():  # expect: ARC012
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(20, 32), nn.Linear(32, 5)

        def forward(self, x):
            return self.head(functional.dropout(functional.relu(self.body(x)), 0.3))  # <- ARC012

    return classifier(Net(), table())


def build_attention_with_dropout_always():  # expect: ARC012
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.head = nn.Linear(20, 96), nn.Linear(32, 5)

        def forward(self, x):
            q, k, v = self.qkv(x).chunk(3, -1)
            return self.head(functional.scaled_dot_product_attention(q, k, v, dropout_p=0.2).mean(1))  # <- ARC012

    return classifier(Net(), torch.randn(32, 6, 20), declared={"set-input"})


def build_everything_frozen():  # expect: ARC020
    model = mlp()
    model.requires_grad_(False)
    return {"model": model, "inputs": table(), "targets": labels(64), "loss": nn.CrossEntropyLoss()}


def build_only_norms_trainable():  # expect: ARC020
    model = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 5))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("1."))
    return classifier(model, table())


# -------------------------------------------------------------------- warnings


def build_layer_never_called():  # expect: ARC001 at spare
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.spare = mlp(), nn.Linear(32, 32)

        def forward(self, x):
            return self.net(x)

    return classifier(Net(), table())


def build_two_linear_layers_in_a_row():  # expect: ARC005 at 0
    return classifier(nn.Sequential(nn.Linear(20, 32), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5)), table())


def build_forgotten_functional_activation():  # expect: ARC005 at fc1
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc2, self.fc3 = nn.Linear(20, 64), nn.Linear(64, 64), nn.Linear(64, 5)

        def forward(self, x):
            x = self.fc1(x)
            x = torch.relu(self.fc2(x))
            return self.fc3(x)

    return classifier(Net(), table())


def build_sigmoid_of_tanh():  # expect: ARC006
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(20, 32), nn.Linear(32, 5)

        def forward(self, x):
            return self.head(torch.sigmoid(torch.tanh(self.body(x))))  # <- ARC006

    return classifier(Net(), table())


def build_ignored_second_input():  # expect: ARC011
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x, extra):
            return self.net(x) + 0.0 * extra.sum()  # <- ARC011

    return classifier(Net(), (table(), torch.randn(64, 4)))


def build_one_norm_for_two_places():  # expect: ARC016 at norm
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(3, 16, 3, bias=False), nn.Conv2d(16, 16, 3, bias=False)
            self.norm, self.head = nn.BatchNorm2d(16), nn.Linear(16, 5)

        def forward(self, x):
            x = functional.relu(self.norm(self.conv1(x)))
            x = functional.relu(self.norm(self.conv2(x)))
            return self.head(x.mean((2, 3)))

    return classifier(Net(), images(32, 3, 16))


def build_the_same_layer_repeated():  # expect: ARC017 at 2
    layer = nn.Sequential(nn.Linear(32, 32), nn.ReLU())
    return classifier(nn.Sequential(nn.Linear(20, 32), nn.ReLU(), *[layer] * 3, nn.Linear(32, 5)), table())


def build_softmax_as_activation():  # expect: ARC019 at 1
    return classifier(nn.Sequential(nn.Linear(20, 32), nn.Softmax(-1), nn.Linear(32, 5)), table())


def build_sequence_without_positions():  # expect: ARC021 at encoder.layers.0.self_attn
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(100, 32)
            layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
            self.head = nn.Linear(32, 5)

        def forward(self, ids):
            return self.head(self.encoder(self.embedding(ids)).mean(1))

    return classifier(Net(), tokens())


def build_input_scaled_in_place():  # expect: ARC022
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            x -= 0.1  # <- ARC022
            return self.net(x)

    return classifier(Net(), table())


def build_residual_of_itself():  # expect: ARC026
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inputs, self.body, self.head = nn.Linear(20, 32), mlp(32, 32), nn.Linear(32, 5)

        def forward(self, x):
            x = torch.relu(self.inputs(x))
            y = self.body(x)
            return self.head(torch.relu(y + y))  # <- ARC026

    return classifier(Net(), table())


def build_frozen_as_an_attribute():  # expect: ARC025 at 0
    model = nn.Sequential(mlp(20, 32), nn.ReLU(), nn.Linear(32, 5))
    model[0].requires_grad = False
    return classifier(model, table())


def build_width_one_in_the_middle():  # expect: ARC028 at 2
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 1), nn.ReLU(), nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, 5))
    return classifier(model, table())
