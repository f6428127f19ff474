"""Lost gradients, mixed samples, bad weights, stale optimizers: as they hide in nested modules and wrappers."""

import copy
import math

import torch
from _parts import Block, classifier, images, labels, setup, table, tokens, trunk
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, outputs=5):
        super().__init__()
        self.encoder, self.decoder = trunk(), nn.Linear(32, outputs)

    def forward(self, x):
        return self.decoder(self.encoder(x))


# -------------------------------------------------------------------- layers and gradients lost


def build_residual_branch_not_added():  # expect: ARC002 at blocks.0.second
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(32, 32), nn.Linear(32, 32)

        def forward(self, x):
            h = functional.relu(self.first(x))
            self.second(h)
            return functional.relu(x + h)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.inputs, self.head = nn.Linear(20, 32), nn.Linear(32, 5)
            self.blocks = nn.ModuleList([Residual()])

        def forward(self, x):
            x = torch.relu(self.inputs(x))
            for block in self.blocks:
                x = block(x)
            return self.head(x)

    return classifier(Model(), table())


def build_last_step_of_a_loop_over_the_wrong_name():  # expect: ARC002 at convs.0
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(3, 8, 3, 2, 1) for _ in range(3))
            self.head = nn.Linear(8, 5)

        def forward(self, x):
            for conv in self.convs:
                y = functional.relu(conv(x))
            return self.head(y.mean((2, 3)))

    return classifier(Loop(), images(32, 3, 16))


def build_blocks_in_a_tuple_of_a_submodule():  # expect: ARC003 at 1.stages[0]
    class Tower(nn.Module):
        def __init__(self):
            super().__init__()
            self.stages = tuple(Block(32, 32) for _ in range(2))

        def forward(self, x):
            for stage in self.stages:
                x = stage(x)
            return x

    return classifier(nn.Sequential(Block(20, 32), Tower(), nn.Linear(32, 5)), table())


def build_tensor_instead_of_a_parameter():  # expect: ARC003
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.scale = Net(), torch.ones(5, requires_grad=True)

        def forward(self, x):
            return self.net(x) * self.scale  # <- ARC003

    return classifier(Scaled(), table())


def build_layer_in_a_closure():  # expect: ARC003 at <Linear>
    extra = nn.Linear(32, 32)

    class Model(Net):
        def forward(self, x):
            return self.decoder(torch.relu(extra(self.encoder(x))))

    return classifier(Model(), table())


def build_norm_made_in_every_call():  # expect: ARC004 at <BatchNorm2d>
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8, 5)

        def forward(self, x):
            x = nn.BatchNorm2d(8)(self.conv(x)).relu()
            return self.head(x.mean((2, 3)))

    return classifier(Normed(), images(32, 3, 16))


def build_attention_made_in_a_nested_call():  # expect: ARC004
    class Attention(nn.Module):
        def forward(self, x):
            query, key = nn.Linear(16, 16), nn.Linear(16, 16)
            return functional.softmax(query(x) @ key(x).transpose(1, 2) / 4, dim=-1) @ x  # <- ARC004

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.attention, self.head = nn.Embedding(100, 16), Attention(), nn.Linear(16, 5)

        def forward(self, ids):
            return self.head(self.attention(self.embedding(ids)).mean(1))

    return classifier(Model(), tokens(), declared={"set-input"})


def build_data_attribute_in_a_block():  # expect: ARC007 at 0
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(20, 32)

        def forward(self, x):
            return torch.relu(self.linear(x)).data

    return classifier(nn.Sequential(Cut(), nn.Linear(32, 5)), table())


def build_features_through_numpy():  # expect: ARC007
    class Smoothed(Net):
        def forward(self, x):
            h = self.encoder(x).detach().numpy()  # <- ARC007
            return self.decoder(torch.from_numpy(h))

    return classifier(Smoothed(), table())


def build_hard_choice_of_an_expert():  # expect: ARC007
    class Router(nn.Module):
        def __init__(self):
            super().__init__()
            self.router, self.experts = nn.Linear(20, 4), nn.Parameter(torch.randn(4, 20, 5) / 20**0.5)

        def forward(self, x):
            chosen = self.router(x).argmax(-1)  # <- ARC007
            return torch.einsum("bi,bio->bo", x, self.experts[chosen])

    return classifier(Router(), table())


# -------------------------------------------------------------------- samples mixed, time leaking


def build_reshape_of_images_for_a_recurrence():  # expect: ARC029 error at
    class Rows(nn.Module):
        """(batch, rows, columns) reshaped to (rows, batch, columns), where a transposition is meant."""

        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(16, 32), nn.Linear(32, 5)

        def forward(self, x):
            x = x.squeeze(1).reshape(16, -1, 16)
            return self.head(self.lstm(x)[1][0][-1])

    return classifier(Rows(), images(32, 1, 16))


def build_features_scaled_by_the_batch():  # expect: ARC008
    class Whitened(nn.Module):
        def __init__(self):
            super().__init__()
            self.inputs, self.head = nn.Linear(20, 32), nn.Linear(32, 5)

        def forward(self, x):
            h = torch.relu(self.inputs(x))
            return self.head(h / (h.norm(dim=0) + 1e-6))  # <- ARC008

    return classifier(Whitened(), table())


def build_gru_fed_with_batch_major_features():  # expect: ARC009 at encoder.gru
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(8, 32, num_layers=2)

        def forward(self, x):
            return self.gru(x)[0].mean(dim=1)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.head = Encoder(), nn.Linear(32, 5)

        def forward(self, x):
            return self.head(self.encoder(x))

    return classifier(Model(), torch.randn(32, 10, 8))


def build_attention_module_on_batch_major_data():  # expect: ARC009 at attention
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.position = nn.Embedding(100, 32), nn.Embedding(16, 32)
            self.attention, self.head = nn.MultiheadAttention(32, 4), nn.Linear(32, 5)

        def forward(self, ids):
            x = self.embedding(ids) + self.position(torch.arange(16))
            return self.head((x + self.attention(x, x, x)[0]).mean(1))

    return classifier(Model(), tokens())


def build_head_on_the_wrong_variable():  # expect: ARC010 at decoder
    class Model(Net):
        def forward(self, x):
            return self.decoder(torch.zeros_like(self.encoder(x)))

    return classifier(Model(), table())


def build_every_unit_clamped():  # expect: ARC010 at decoder
    class Model(Net):
        def forward(self, x):
            return self.decoder(self.encoder(x).clamp(max=0.0))

    return classifier(Model(), table())


def build_mask_upside_down():  # expect: ARC018 at encoder.layers.0.self_attn
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.position = nn.Embedding(50, 32), nn.Embedding(16, 32)
            layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
            self.head = nn.Linear(32, 50)

        def forward(self, ids):
            length = ids.shape[1]
            mask = torch.ones(length, length).tril(-1).bool()
            x = self.embedding(ids) + self.position(torch.arange(length))
            return self.head(self.encoder(x, mask=mask))

    ids = torch.randint(0, 50, (32, 17))
    loss = lambda output, y: functional.cross_entropy(output.reshape(-1, 50), y.reshape(-1))
    return setup(Model(), ids[:, :-1], ids[:, 1:], loss, causal=True)


def build_bidirectional_language_model():  # expect: ARC018 at rnn
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.rnn = nn.Embedding(50, 16), nn.LSTM(16, 16, batch_first=True, bidirectional=True)
            self.head = nn.Linear(32, 50)

        def forward(self, ids):
            return self.head(self.rnn(self.embedding(ids))[0]).transpose(1, 2)

    ids = torch.randint(0, 50, (32, 17))
    return setup(Model(), ids[:, :-1], ids[:, 1:], nn.CrossEntropyLoss(), causal=True)


def build_dropout_module_made_in_forward():  # expect: ARC012 at <Dropout>
    class Model(Net):
        def forward(self, x):
            return self.decoder(nn.Dropout(0.4)(self.encoder(x)))

    return classifier(Model(), table())


def build_spatial_dropout_without_the_flag():  # expect: ARC012
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 16, 3, 2, 1), nn.Linear(16, 5)

        def forward(self, x):
            return self.head(functional.dropout2d(functional.relu(self.conv(x)), 0.2).mean((2, 3)))  # <- ARC012

    return classifier(Model(), images(32, 3, 16))


def build_backbone_and_head_frozen_by_name():  # expect: ARC020
    model = Net()
    for name, parameter in model.named_parameters():
        if "encoder" in name or "coder" in name:
            parameter.requires_grad = False
    return {"model": model, "inputs": table(), "targets": labels(64), "loss": nn.CrossEntropyLoss()}


# -------------------------------------------------------------------- weights


def build_layers_initialized_with_ones():  # expect: INI002 at encoder.0.linear
    model = Net()

    def init(module):
        if isinstance(module, nn.Linear):
            nn.init.ones_(module.weight)
            module.weight.data.mul_(0.05)

    return classifier(model.apply(init), table())


def build_zero_weights_in_two_layers_of_a_branch():  # expect: INI002 at 1
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.up = nn.Parameter(torch.zeros(32, 8)), nn.Parameter(torch.zeros(8, 32))

        def forward(self, x):
            return x + torch.relu(x @ self.down) @ self.up

    return classifier(nn.Sequential(Block(20, 32), Branch(), nn.Linear(32, 5)), table())


def build_own_parameters_from_randn():  # expect: INI003 at 2
    class Dense(nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs)), nn.Parameter(torch.zeros(outputs))

        def forward(self, x):
            return x @ self.weight + self.bias

    model = nn.Sequential(Dense(20, 256), nn.ReLU(), Dense(256, 256), nn.ReLU(), Dense(256, 256), nn.ReLU(), Dense(256, 5))
    return classifier(model, table())


def build_running_variance_of_nan():  # expect: INI005 at 1
    model = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 5))
    model[1].running_var[3] = float("nan")
    return classifier(model, images(32, 3, 16))


def build_overflow_in_half_precision_weights():  # expect: INI005 at decoder
    model = Net()
    model.decoder.weight.data.mul_(1e6)
    model.decoder.weight.data = model.decoder.weight.data.half().float()
    return classifier(model, table())


def build_negative_bias_before_every_relu():  # expect: INI009 at 0
    model = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 5))
    nn.init.constant_(model[0].bias, -10.0)
    return classifier(model, images(32, 3, 16))


# -------------------------------------------------------------------- norms, signals, gradients


def build_batch_norm_of_a_single_sample():  # expect: NRM008 at 1, RUN002 at 1
    model = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 5))
    return classifier(model, table(1))


def build_layer_norm_over_the_last_of_one():  # expect: NRM008 at norm
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.score, self.norm, self.head = trunk(), nn.Linear(32, 1), nn.LayerNorm(1), nn.Linear(33, 5)

        def forward(self, x):
            h = self.encoder(x)
            return self.head(torch.cat([h, self.norm(self.score(h))], dim=1))

    return classifier(Model(), table())


def build_division_by_a_norm_of_zero():  # expect: SIG003
    class Model(Net):
        def forward(self, x):
            h = self.encoder(x.clamp(max=0.0) * 0)
            h = h - h
            return self.decoder(h / h.norm(dim=1, keepdim=True))  # <- SIG003

    return classifier(Model(), table())


def build_exponential_of_large_scores():  # expect: SIG003
    class Attention(nn.Module):
        """Softmax written out without subtracting the maximum."""

        def __init__(self):
            super().__init__()
            self.query, self.key, self.head = nn.Linear(20, 32), nn.Linear(20, 32), nn.Linear(20, 5)

        def forward(self, x):
            scores = torch.exp(100 * self.query(x) @ self.key(x).transpose(1, 2))  # <- SIG003
            return self.head((scores / scores.sum(-1, keepdim=True) @ x).mean(1))

    return classifier(Attention(), torch.randn(32, 6, 20), declared={"set-input"})


def build_shuffled_features_in_evaluation():  # expect: SIG007 warning
    class Model(Net):
        def forward(self, x):
            return self.decoder(self.encoder(x)[:, torch.randperm(32)])  # <- SIG007

    return classifier(Model(), table())


def build_gate_drawn_in_every_pass():  # expect: SIG007
    class Model(Net):
        def forward(self, x):
            return self.decoder(self.encoder(x) * torch.bernoulli(torch.full((32,), 0.8)))  # <- SIG007

    return classifier(Model(), table())


def build_norm_of_zero_vectors():  # expect: GRD004
    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = trunk()

        def forward(self, x):
            h = self.encoder(x)
            return (h[:, None] - h[None]).square().sum(-1).sqrt()  # <- GRD004

    loss = lambda distance, y: (distance * (y[:, None] == y[None]).float()).mean()
    return setup(Pairs(), table(32), labels(32), loss, declared={"set-input"})


def build_gate_that_is_a_sign():  # expect: ARC007
    class Model(Net):
        def __init__(self):
            super().__init__()
            self.gate = nn.Linear(20, 32)

        def forward(self, x):
            return self.decoder(self.encoder(x) * (self.gate(x).clamp(max=-50).sign() + 2))  # <- ARC007

    return classifier(Model(), table())


# -------------------------------------------------------------------- data and optimizers


def build_missing_target_of_one_pixel():  # expect: DAT003
    depth = torch.rand(8, 1, 16, 16)
    depth[2, 0, 5, 5] = float("nan")
    return setup(nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 1, 1)), images(8, 3, 16), depth, nn.L1Loss())


def build_missing_value_in_a_batch_of_the_loader():  # expect: DAT003
    x = table(256)
    x[200, 3] = float("inf")
    loader = DataLoader(TensorDataset(x, labels(256)), batch_size=64)
    return setup(Net(), None, loss=nn.CrossEntropyLoss(), data=loader)


def build_series_in_double_precision():  # expect: DAT008 at rnn, RUN002 at rnn
    class Series(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.LSTM(3, 16, batch_first=True), nn.Linear(16, 1)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    return setup(Series(), torch.randn(32, 8, 3).double(), torch.randn(32, 1), nn.MSELoss())


def build_counts_cast_by_the_first_block():  # expect: DAT008 at conv
    class Cast(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 16, 3, 2, 1), nn.Linear(16, 5)

        def forward(self, x):
            return self.head(functional.relu(self.conv(x.to(torch.float32))).mean((2, 3)))

    return classifier(Cast(), torch.randint(0, 256, (32, 1, 16, 16), dtype=torch.uint8))


def build_folds_that_overlap():  # expect: DAT011
    x, y = table(160), labels(160)
    train = DataLoader(TensorDataset(x[:128], y[:128]), 32, shuffle=True)
    val = DataLoader(TensorDataset(x[112:], y[112:]), 16)
    return setup(Net(), None, loss=nn.CrossEntropyLoss(), data=train, val_data=val)


def build_the_same_depth_everywhere():  # expect: DAT012
    model = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 1, 1))
    return setup(model, images(16, 3, 16), torch.full((16, 1, 16, 16), 0.5), nn.L1Loss())


def build_category_codes_from_another_table():  # expect: DAT013 at tables.1, RUN002 at tables.1
    class Tabular(nn.Module):
        def __init__(self):
            super().__init__()
            self.tables, self.head = nn.ModuleList(nn.Embedding(size, 8) for size in (10, 4)), nn.Linear(16, 5)

        def forward(self, first, second):
            return self.head(torch.cat([self.tables[0](first), self.tables[1](second)], dim=-1))

    return classifier(Tabular(), (torch.randint(0, 10, (64,)), torch.randint(0, 10, (64,))))


def build_two_optimizers_and_one_forgotten():  # expect: OPT001 at encoder.1.linear
    model = Net()
    return classifier(model, table(), optimizer=torch.optim.Adam([*model.encoder[0].parameters(), *model.decoder.parameters()], 1e-3))


def build_parameter_of_the_loss_in_no_optimizer():  # expect: OPT001 at temperature
    class Scaled(Net):
        def __init__(self):
            super().__init__()
            self.temperature = nn.ParameterDict({"scale": nn.Parameter(torch.tensor(1.0))})

        def forward(self, x):
            return super().forward(x) * self.temperature["scale"]

    model = Scaled()
    weights = [p for name, p in model.named_parameters() if "weight" in name or "bias" in name]
    return classifier(model, table(), optimizer=torch.optim.SGD(weights, lr=0.1))


def build_copied_after_the_optimizer():  # expect: OPT002 at encoder.0.linear
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return classifier(copy.deepcopy(model), table(), optimizer=optimizer)


def build_parameter_assigned_again():  # expect: OPT002 at decoder
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    model.decoder.weight = nn.Parameter(torch.randn(5, 32) / math.sqrt(32))
    return classifier(model, table(), optimizer=optimizer)


def build_rate_of_zero_in_every_group():  # expect: OPT005
    model = Net()
    groups = [{"params": model.encoder.parameters(), "lr": 0.0}, {"params": model.decoder.parameters(), "lr": 0.0}]
    return classifier(model, table(), optimizer=torch.optim.AdamW(groups))


def build_teacher_updated_by_the_optimizer():  # expect: TRN003 at teacher.encoder.0.linear
    class Distilled(nn.Module):
        def __init__(self):
            super().__init__()
            self.student, self.teacher = Net(), Net()

        def forward(self, x):
            return self.student(x), self.teacher(x)

    loss = lambda o, y: functional.cross_entropy(o[0], y) + functional.mse_loss(o[0], o[1])
    return setup(Distilled(), table(), labels(64), loss, frozen=("teacher*",))


# -------------------------------------------------------------------- what raises


def build_matrix_of_the_wrong_side_in_a_block():  # expect: RUN002 at 1.linear
    return classifier(nn.Sequential(Block(20, 32), Block(20, 32), nn.Linear(32, 5)), table())


def build_targets_of_another_length():  # expect: RUN003
    loss = lambda output, y: functional.mse_loss(output, y[:60])  # <- RUN003
    return setup(Net(1), table(), torch.randn(64, 1), loss)


def build_output_overwritten_in_place():  # expect: RUN004
    class Model(Net):
        def forward(self, x):
            h = self.encoder(x).exp()
            h[:, 0] = 0
            return self.decoder(h)

    return classifier(Model(), table())
