"""Data, optimizers and short trainings; what raises."""

import torch
from _parts import classifier, images, labels, setup, tokens
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset


def table(samples=64):
    return torch.randn(samples, 20)


def mlp(outputs=5, inputs=20):
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, outputs))


class Transfer(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        return self.head(self.backbone(x))


# -------------------------------------------------------------------- data


def build_missing_values_in_the_table():  # expect: DAT003
    x = table()
    x[5, 3] = float("nan")
    return classifier(mlp(), x)


def build_infinite_target():  # expect: DAT003
    y = torch.randn(64, 1)
    y[7] = float("inf")
    return setup(mlp(1), table(), y, nn.MSELoss())


def build_double_precision_table():  # expect: DAT008 at 0, RUN002 at 0
    return classifier(mlp(), table().double())


def build_bytes_cast_in_forward():  # expect: DAT008 at net.0
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))

        def forward(self, x):
            return self.net(x.float())

    return classifier(Net(), torch.randint(0, 256, (32, 3, 16, 16), dtype=torch.uint8))


def build_validation_data_from_the_training_data():  # expect: DAT011
    x, y = table(128), labels(128)
    train, val = TensorDataset(x, y), TensorDataset(x[96:], y[96:])
    return setup(mlp(), None, loss=nn.CrossEntropyLoss(), data=DataLoader(train, 64), val_data=DataLoader(val, 32))


def build_the_same_batches_for_validation():  # expect: DAT011
    batches = [(table(), labels(64)) for _ in range(2)]
    return setup(mlp(), None, loss=nn.CrossEntropyLoss(), data=batches, val_data=list(reversed(batches)))


def build_one_class_only():  # expect: DAT012 warning
    return setup(mlp(), table(), torch.full((64,), 2), nn.CrossEntropyLoss())


def build_regression_on_a_constant():  # expect: DAT012
    return setup(mlp(1), table(), torch.full((64, 1), 0.5), nn.MSELoss())


def build_token_beyond_the_vocabulary():  # expect: DAT013 at 0, RUN002 at 0
    model = nn.Sequential(nn.EmbeddingBag(90, 16), nn.Linear(16, 5))
    return classifier(model, tokens(64, vocabulary=100))


def build_padding_id_of_minus_one():  # expect: DAT013 at embedding, RUN002 at embedding
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.head = nn.Embedding(100, 16), nn.Linear(16, 5)

        def forward(self, ids):
            return self.head(self.embedding(ids).mean(1))

    ids = tokens()
    ids[:, -3:] = -1
    return classifier(Net(), ids)


def build_unscaled_pixels():  # expect: DAT001
    model = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
    return classifier(model, torch.randint(0, 256, (32, 3, 16, 16)).float())


def build_constant_column():  # expect: DAT002
    x = table()
    x[:, 4] = 3.7
    return classifier(mlp(), x)


def build_rare_class():  # expect: DAT004
    y = (torch.arange(128) % 32 == 0).long()
    return setup(mlp(2), table(128), y, nn.CrossEntropyLoss())


def build_columns_of_other_scales():  # expect: DAT005
    return classifier(mlp(), table() * torch.logspace(-3.5, 0.5, 20))


def build_sorted_loader():  # expect: DAT007
    y = torch.arange(320) // 64
    data = DataLoader(TensorDataset(table(320), y), batch_size=32)
    return setup(mlp(), None, loss=nn.CrossEntropyLoss(), data=data)


def build_house_prices():  # expect: DAT010
    return setup(mlp(1), table(), 2e5 + 5e4 * torch.randn(64, 1), nn.MSELoss())


# -------------------------------------------------------------------- optimizers


def build_optimizer_of_the_head_alone():  # expect: OPT001 at backbone.0
    model = Transfer()
    return classifier(model, table(), optimizer=torch.optim.SGD(model.head.parameters(), lr=0.05))


def build_layer_added_after_the_optimizer():  # expect: OPT001 at extra
    model = Transfer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    class Extended(nn.Module):
        def __init__(self):
            super().__init__()
            self.base, self.extra = model, nn.Linear(20, 20)

        def forward(self, x):
            return self.base(torch.tanh(self.extra(x)))

    return classifier(Extended(), table(), optimizer=optimizer)


def build_head_replaced_after_the_optimizer():  # expect: OPT002 at head
    model = Transfer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.head = nn.Linear(32, 5)
    return classifier(model, table(), optimizer=optimizer)


def build_optimizer_of_another_instance():  # expect: OPT002 at backbone.0
    return classifier(Transfer(), table(), optimizer=torch.optim.AdamW(Transfer().parameters(), lr=1e-3))


def build_learning_rate_of_zero():  # expect: OPT005
    model = mlp()
    return classifier(model, table(), optimizer=torch.optim.SGD(model.parameters(), lr=0.0))


def build_one_group_with_a_rate_of_zero():  # expect: OPT005 warning
    model = Transfer()
    groups = [{"params": model.backbone.parameters(), "lr": 0.0}, {"params": model.head.parameters()}]
    return classifier(model, table(), optimizer=torch.optim.AdamW(groups, lr=1e-3))


def build_maximized_loss():  # expect: OPT005
    model = mlp()
    return classifier(model, table(), optimizer=torch.optim.SGD(model.parameters(), lr=0.05, maximize=True))


def build_rate_of_one_third_with_adam():  # expect: OPT003
    model = mlp()
    return classifier(model, table(), optimizer=torch.optim.AdamW(model.parameters(), lr=0.3))


def build_rate_of_a_billionth():  # expect: OPT004
    model = mlp()
    return classifier(model, table(), optimizer=torch.optim.SGD(model.parameters(), lr=1e-9))


def build_epsilon_too_small_for_half_precision():  # expect: OPT008 error
    model = mlp().half()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-8)
    return classifier(model, table().half(), optimizer=optimizer)


def build_weight_decay_of_one_half():  # expect: OPT009
    model = mlp()
    return classifier(model, table(), optimizer=torch.optim.SGD(model.parameters(), lr=0.05, weight_decay=0.5))


def build_momentum_almost_one():  # expect: OPT010
    model = mlp()
    return classifier(model, table(), optimizer=torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9999))


def build_schedule_counted_in_epochs():  # expect: OPT012
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=20)
    return classifier(model, table(), optimizer=optimizer, scheduler=scheduler, planned_steps=5000)


# -------------------------------------------------------------------- short trainings


def build_rate_at_which_the_loss_explodes():  # expect: OPT003 error
    model = mlp(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=5.0)
    return setup(model, table(), torch.randn(64, 1), nn.MSELoss(), optimizer=optimizer)


def build_root_of_a_learned_gain():  # expect: TRN002
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.gain, self.head = nn.Linear(20, 32), nn.Parameter(torch.full((32,), 2e-3)), nn.Linear(32, 5)

        def forward(self, x):
            return self.head(torch.relu(self.body(x)) * self.gain.sqrt())  # <- TRN002

    return classifier(Net(), table())


def build_logarithm_of_a_learned_scale():  # expect: TRN002
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.scale = mlp(1), nn.Parameter(torch.tensor([0.003]))

        def forward(self, x):
            return self.net(x) + 0.2 * torch.log(self.scale)  # <- TRN002

    return setup(Net(), table(), torch.randn(64, 1) - 2.0, nn.MSELoss())


def build_declared_frozen_and_trained():  # expect: TRN003 at backbone.0
    return classifier(Transfer(), table(), frozen=("backbone",))


def build_frozen_by_detaching_the_optimizer_state():  # expect: TRN003 at backbone.0
    model = Transfer()
    model.backbone.requires_grad_(False)
    for parameter in model.backbone.parameters():
        parameter.requires_grad = True  # a callback that "unfreezes after the warm-up" and runs at once
    return classifier(model, table(), frozen=("backbone.*",))


# settings: deep=true
def build_cosine_logits_without_a_scale():  # expect: TRN001
    class Cosines(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.centers = mlp(32), nn.Parameter(torch.randn(100, 32))

        def forward(self, x):
            return functional.normalize(self.body(x), dim=1) @ functional.normalize(self.centers, dim=1).T

    return setup(Cosines(), table(), torch.arange(64), nn.CrossEntropyLoss())


# settings: deep=true
def build_clamped_logits():  # expect: TRN001
    class Clamped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(100)

        def forward(self, x):
            return 0.5 * torch.tanh(self.net(x))

    return setup(Clamped(), table(), torch.arange(64), nn.CrossEntropyLoss())


# settings: deep=true
def build_inputs_masked_in_training():  # expect: TRN005
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.rate = mlp(), 15

        def forward(self, x):
            if self.training:
                x = x * (torch.rand_like(x) > self.rate)
            return self.net(x)

    return classifier(Masked(), table())


# settings: deep=true
def build_augmentation_that_keeps_nothing():  # expect: TRN005
    class Augmented(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return self.net(0.0 * x + 1.0 if self.training else x)

    return classifier(Augmented(), table())


# -------------------------------------------------------------------- what raises


def build_wrong_flatten_size():  # expect: RUN002 at 4
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1000, 5))
    return classifier(model, images(32, 3, 16))


def build_channels_last_image():  # expect: RUN002 at 0, DAT009 at 0
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
    return classifier(model, images(32, 3, 16).permute(0, 2, 3, 1))


def build_float_labels_for_cross_entropy():  # expect: RUN003
    return setup(mlp(), table(), labels(64).float(), nn.CrossEntropyLoss())


def build_loss_of_a_tuple():  # expect: RUN003
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return self.net(x), x

    return classifier(Two(), table())


def build_activation_changed_in_place():  # expect: RUN004
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(20, 32), nn.Linear(32, 5)

        def forward(self, x):
            h = torch.sigmoid(self.body(x))
            h *= 2
            return self.head(h)

    return classifier(InPlace(), table())


def build_graph_kept_from_the_last_batch():  # expect: RUN004
    class Stateful(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.GRUCell(20, 32), nn.Linear(32, 5)
            self.weights = nn.Parameter(torch.randn(32))
            self.hidden = (self.weights * 1.0).exp().expand(64, 32).sin()
            self.hidden.sum().backward()

        def forward(self, x):
            return self.head(self.cell(x, self.hidden))

    return classifier(Stateful(), table())


def build_hidden_state_never_detached():  # expect: RUN008
    class Stateful(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.GRUCell(20, 32), nn.Linear(32, 5)
            self.hidden = None

        def forward(self, x):
            self.hidden = self.cell(x, self.hidden)
            return self.head(self.hidden)

    return classifier(Stateful(), table())  # <- RUN008


def build_forward_that_breaks_in_evaluation():  # expect: RUN008
    class Teacher(nn.Module):
        def __init__(self):
            super().__init__()
            self.student, self.average = mlp(), None

        def forward(self, x):
            return self.student(x) if self.training else self.average(x)  # <- RUN008

    return classifier(Teacher(), table())


def build_optimizer_that_wants_sparse_gradients():  # expect: RUN008
    model = mlp()
    return {**classifier(model, table()), "optimizer": torch.optim.SparseAdam(model.parameters(), lr=0.01)}


def build_extras_looked_up_by_attribute():  # expect: RUN010
    class Registry(nn.Module):
        def __init__(self):
            super().__init__()
            self.extras = {"temperature": 0.1}
            self.net = mlp()

        def __getattr__(self, name):
            return self.__dict__["extras"][name]  # <- RUN010

        def forward(self, x):
            return self.net(x) / self.temperature

    return classifier(Registry(), table())


def build_block_that_knows_its_parent():  # expect: RUN010
    class Block(nn.Module):
        def __init__(self, parent):
            super().__init__()
            self.parent, self.layer = parent, nn.Linear(20, 20)

        def forward(self, x):
            return self.layer(x) * self.parent.scale

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.block, self.head = 0.5, Block(self), mlp()

        def forward(self, x):
            return self.head(self.block(x))

    return classifier(Net(), table())
