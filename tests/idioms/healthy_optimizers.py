"""Optimizers, schedulers and the forms in which a training setup is given."""

import torch
from _parts import classifier, images, labels, setup, tokens
from torch import nn
from torch.nn import functional
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Dataset, TensorDataset


def table(samples=64):
    return torch.randn(samples, 20)


def mlp(outputs=5, width=32):
    return nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))


def regression(model, **more):
    x = table()
    return setup(model, x, torch.sin(2 * x[:, :1]) + 0.1 * torch.randn(64, 1), nn.MSELoss(), **more)


# -------------------------------------------------------------------- optimizers


def build_lbfgs():
    model = nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 1))
    return regression(model, optimizer=torch.optim.LBFGS(model.parameters(), lr=1.0, max_iter=5, line_search_fn="strong_wolfe"))


def build_lbfgs_without_line_search():
    model = nn.Linear(20, 1)
    return regression(model, optimizer=torch.optim.LBFGS(model.parameters(), lr=0.1))


def build_sparse_adam():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.out = nn.Embedding(200, 16, sparse=True), nn.Embedding(50, 16, sparse=True)

        def forward(self, ids, item):
            return (self.embedding(ids).mean(1) * self.out(item)).sum(-1)

    model = Bag()
    inputs = (torch.randint(0, 200, (64, 8)), torch.randint(0, 50, (64,)))
    optimizer = torch.optim.SparseAdam(list(model.parameters()), lr=1e-2)
    return setup(model, inputs, labels(64, 2).float(), nn.BCEWithLogitsLoss(), optimizer=optimizer)


def build_sparse_embedding_bag_with_sgd():
    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.fc = nn.EmbeddingBag(200, 16, sparse=True), nn.Linear(16, 5)
            self.embedding.weight.data.uniform_(-0.5, 0.5)
            self.fc.weight.data.uniform_(-0.5, 0.5)
            self.fc.bias.data.zero_()

        def forward(self, text, offsets):
            return self.fc(self.embedding(text, offsets))

    lengths = torch.randint(3, 12, (32,))
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)[:-1]])
    model = Text()
    inputs = (torch.randint(0, 200, (int(lengths.sum()),)), offsets)
    return setup(model, inputs, labels(32), nn.CrossEntropyLoss(), optimizer=torch.optim.SGD(model.parameters(), lr=5.0))


def build_rmsprop():
    model = mlp()
    return classifier(model, table(), optimizer=torch.optim.RMSprop(model.parameters(), lr=1e-3, alpha=0.99, momentum=0.5))


def build_adagrad():
    model = mlp()
    return classifier(model, table(), optimizer=torch.optim.Adagrad(model.parameters(), lr=0.01))


def build_adadelta_with_its_rate_of_one():
    """The MNIST example of PyTorch."""
    model = mlp()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    return classifier(model, table(), optimizer=optimizer, scheduler=lr_scheduler.StepLR(optimizer, 1, gamma=0.7))


def build_adam_with_l2():
    model = mlp()
    return classifier(model, table(), optimizer=torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5, amsgrad=True))


def build_nadam_and_gradient_clipping():
    model = mlp()
    return classifier(model, table(), optimizer=torch.optim.NAdam(model.parameters(), lr=2e-3))


def build_adamax_foreach():
    model = mlp()
    return classifier(model, table(), optimizer=torch.optim.Adamax(model.parameters(), lr=2e-3, foreach=True))


class Lion(torch.optim.Optimizer):
    """An optimizer of one's own: the sign of an average of the gradients."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                average = self.state[parameter].setdefault("average", torch.zeros_like(parameter))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                direction = average * group["betas"][0] + parameter.grad * (1 - group["betas"][0])
                parameter.add_(direction.sign(), alpha=-group["lr"])
                average.mul_(group["betas"][1]).add_(parameter.grad, alpha=1 - group["betas"][1])


def build_optimizer_of_ones_own():
    model = mlp()
    return classifier(model, table(), optimizer=Lion(model.parameters(), lr=3e-4, weight_decay=0.1))


class Sam(torch.optim.Optimizer):
    """Sharpness-aware minimization: wraps another optimizer and wants a closure."""

    def __init__(self, params, base, rho=0.05, **kwargs):
        super().__init__(params, {"rho": rho, **kwargs})
        self.base = base(self.param_groups, **kwargs)
        self.param_groups = self.base.param_groups

    def step(self, closure=None):
        closure = torch.enable_grad()(closure)
        loss = closure()
        parameters = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.stack([p.grad.norm() for p in parameters]).norm() + 1e-12
        moves = [0.05 * p.grad / norm for p in parameters]
        with torch.no_grad():
            for parameter, move in zip(parameters, moves):
                parameter.add_(move)
        closure()
        with torch.no_grad():
            for parameter, move in zip(parameters, moves):
                parameter.sub_(move)
        self.base.step()
        return loss


def build_sharpness_aware():
    model = mlp()
    return classifier(model, table(), optimizer=Sam(model.parameters(), torch.optim.SGD, lr=0.05, momentum=0.9))


# -------------------------------------------------------------------- groups and schedules


def build_one_cycle():
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, epochs=10, steps_per_epoch=100)
    return classifier(model, table(), optimizer=optimizer, scheduler=scheduler, planned_steps=1000)


def build_warm_up_then_cosine():
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    warm = lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=10)
    cosine = lr_scheduler.CosineAnnealingLR(optimizer, T_max=90)
    scheduler = lr_scheduler.SequentialLR(optimizer, [warm, cosine], milestones=[10])
    return classifier(model, table(), optimizer=optimizer, scheduler=scheduler, planned_steps=100)


def build_warm_up_of_the_transformer_paper():
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)
    rate = lambda step: 64**-0.5 * min(max(step, 1) ** -0.5, max(step, 1) * 400**-1.5)
    return classifier(model, table(), optimizer=optimizer, scheduler=lr_scheduler.LambdaLR(optimizer, rate))


def build_reduce_on_plateau():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return classifier(model, table(), optimizer=optimizer, scheduler=lr_scheduler.ReduceLROnPlateau(optimizer, patience=3))


def build_cosine_with_warm_restarts():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return classifier(model, table(), optimizer=optimizer, scheduler=lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 10, 2))


def build_layer_wise_rate_decay():
    model = mlp()
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    groups = [{"params": layer.parameters(), "lr": 1e-3 * 0.75 ** (2 - index)} for index, layer in enumerate(layers)]
    return classifier(model, table(), optimizer=torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.05))


def build_no_decay_by_the_names_of_parameters():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.position = nn.Embedding(100, 32), nn.Embedding(16, 32)
            layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(32), enable_nested_tensor=False)
            self.head = nn.Linear(32, 5)

        def forward(self, ids):
            x = self.embedding(ids) + self.position(torch.arange(ids.shape[1]))
            return self.head(self.encoder(x).mean(1))

    model = Net()
    bare = ("bias", "norm")
    decayed = [p for name, p in model.named_parameters() if not any(part in name for part in bare)]
    others = [p for name, p in model.named_parameters() if any(part in name for part in bare)]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    return classifier(model, tokens(), optimizer=torch.optim.AdamW(groups, lr=5e-4))


def build_weights_and_biases_at_different_rates():
    """Caffe's recipe: twice the rate and no decay for biases."""
    model = mlp()
    weights = [p for name, p in model.named_parameters() if name.endswith("weight")]
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    groups = [{"params": weights}, {"params": biases, "lr": 0.02, "weight_decay": 0.0}]
    return classifier(model, table(), optimizer=torch.optim.SGD(groups, lr=0.01, momentum=0.9, weight_decay=5e-4))


def build_class_weights_by_frequency():
    y = torch.cat([torch.zeros(40), torch.ones(16), torch.full((8,), 2.0)]).long()
    weights = len(y) / (3 * torch.bincount(y).float())
    return setup(mlp(3), table(), y, nn.CrossEntropyLoss(weight=weights, label_smoothing=0.1))


# -------------------------------------------------------------------- what is returned from a build function


def build_tuple_of_model_and_loader():
    """The model, the loss, the loader and the optimizer, as a script has them."""
    model = mlp()
    loader = DataLoader(TensorDataset(table(256), labels(256)), batch_size=64, shuffle=True)
    return model, nn.CrossEntropyLoss(), loader, torch.optim.Adam(model.parameters(), lr=1e-3)


class Rows(Dataset):
    """Samples as dictionaries."""

    def __init__(self, count):
        self.x, self.y = table(count), labels(count)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return {"inputs": self.x[index], "label": int(self.y[index])}


def build_loader_of_dictionaries():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, inputs):
            return self.net(inputs)

    loader = DataLoader(Rows(256), batch_size=64, shuffle=True)
    return {"model": Net(), "data": loader, "loss": nn.CrossEntropyLoss()}


def build_training_and_validation_loaders():
    train, val = (DataLoader(TensorDataset(table(128), labels(128)), 32, shuffle=True) for _ in range(2))
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return {"model": model, "loss": nn.CrossEntropyLoss(), "optimizer": optimizer, "data": train, "val_data": val}


def build_model_alone_with_its_loss():
    class WithLoss(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.criterion = mlp(), nn.CrossEntropyLoss()

        def forward(self, x, y):
            return self.criterion(self.net(x), y)

    return {"model": WithLoss(), "inputs": (table(), labels(64)), "loss": lambda loss: loss}


def build_network_with_its_criterion_as_attribute():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
            self.fc, self.criterion = nn.Linear(8 * 64, 5), nn.CrossEntropyLoss()

        def forward(self, x):
            return self.fc(torch.flatten(self.conv(x), 1))

        def loss(self, output, y):
            return self.criterion(output, y)

    model = Net()
    return setup(model, images(32, 3, 16), labels(), model.loss)


# -------------------------------------------------------------------- copies, wrappers, state


def build_average_as_a_submodule():
    """Polyak averaging: the copy is part of the model, and used in evaluation alone."""

    class Averaged(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()
            self.average = torch.optim.swa_utils.AveragedModel(self.net).requires_grad_(False)

        def forward(self, x):
            return self.net(x) if self.training else self.average(x)

    return classifier(Averaged(), table(), frozen=("average*",))


def build_queue_updated_in_forward():
    """A centre kept as a moving average of the outputs, as in DINO."""

    class Centered(nn.Module):
        def __init__(self):
            super().__init__()
            self.student, self.teacher = mlp(16), mlp(16).requires_grad_(False)
            self.teacher.load_state_dict(self.student.state_dict())
            self.register_buffer("center", torch.zeros(1, 16))

        def forward(self, one, other):
            student = functional.log_softmax(self.student(one) / 0.1, dim=-1)
            with torch.no_grad():
                out = self.teacher(other)
                teacher = functional.softmax((out - self.center) / 0.04, dim=-1)
                self.center.mul_(0.9).add_(0.1 * out.mean(0, keepdim=True))
            return -(teacher * student).sum(-1).mean()

    x = table()
    return setup(Centered(), (x, x + 0.1 * torch.randn_like(x)), loss=lambda output: output, frozen=("teacher*",))


def build_gradient_penalty():
    """WGAN-GP: the gradient with respect to the input is part of the loss."""

    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(20, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

        def forward(self, real, fake):
            share = torch.rand(len(real), 1)
            mixed = (share * real + (1 - share) * fake).requires_grad_(True)
            score = self.net(mixed)
            (gradient,) = torch.autograd.grad(score.sum(), mixed, create_graph=True)
            return self.net(real), self.net(fake), gradient

    def loss(output):
        real, fake, gradient = output
        return fake.mean() - real.mean() + 10 * ((gradient.norm(2, dim=1) - 1) ** 2).mean()

    optimizer = lambda model: torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.0, 0.9))
    model = Critic()
    return setup(model, (table(), 0.5 * table() + 0.5), loss=loss, optimizer=optimizer(model))


def build_inner_loop_of_meta_learning():
    class Maml(nn.Module):
        """One gradient step on the support set, the loss on the query set."""

        def __init__(self):
            super().__init__()
            self.net = mlp(1)

        def forward(self, support_x, support_y, query_x):
            state = dict(self.net.named_parameters())
            loss = functional.mse_loss(torch.func.functional_call(self.net, state, (support_x,)), support_y)
            gradients = torch.autograd.grad(loss, list(state.values()), create_graph=True)
            fast = {name: value - 0.01 * g for (name, value), g in zip(state.items(), gradients)}
            return torch.func.functional_call(self.net, fast, (query_x,))

    x = table()
    y = torch.sin(2 * x[:, :1])
    model = Maml()
    return setup(model, (x[:32], y[:32], x[32:]), y[32:], nn.MSELoss(), declared={"set-input"})


def build_pretrained_statistics_as_buffers():
    class Normalized(nn.Module):
        """Inputs in the units of the sensor, normalized by the model."""

        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
            self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
            self.net = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 64, 5))

        def forward(self, x):
            return self.net((x - self.mean) / self.std)

    return classifier(Normalized(), (0.5 + 0.2 * images(32, 3, 16)).clamp(0, 1))
