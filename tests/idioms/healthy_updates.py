"""Usual settings, and first updates that look worse than they are."""

import torch
from _parts import classifier, images, labels, setup, table
from faulty_updates import convolutional, mlp, scheduled, with_adam
from torch import nn


def build_usual_decay_of_adam():
    return with_adam(convolutional(), images(64, size=16), weight_decay=5e-4)


def build_usual_decay_of_adamw():
    model = convolutional()
    return {**classifier(model, images(64, size=16)), "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)}


def build_strong_decay_of_plain_descent():
    model = mlp()
    return {**classifier(model, table()), "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-3)}


def build_epsilon_of_a_thousandth():
    model = mlp()
    return {**classifier(model, table()), "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-3, eps=1e-3)}


def build_decay_in_epochs_stepped_with_every_epoch():
    return scheduled(lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 30, 0.1), interval="epoch")


def build_cosine_over_all_steps():
    return scheduled(lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10000), interval="step")


def build_norms_with_their_arguments_in_place():
    layers = [nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16, 1e-3, 0.01), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)]
    return classifier(nn.Sequential(*layers), images())


def build_list_of_mixed_batches():
    x, y = table(320), labels(320)
    model = mlp()
    batches = list(zip(x.split(16), y.split(16), strict=True))
    return {"model": model, "data": batches, "loss": nn.CrossEntropyLoss(), "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3)}


def build_slope_of_a_line():
    model, x = nn.Linear(1, 1), torch.linspace(2, 10, 15)[:, None]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    return {"model": model, "inputs": x, "targets": 0.3 * x + 0.5, "loss": nn.MSELoss(), "optimizer": optimizer}


def build_weights_that_start_near_zero():
    model = nn.Linear(20, 5)
    nn.init.normal_(model.weight, std=1e-3)
    return {**classifier(model, table()), "optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}


def build_large_rate_that_is_clipped():
    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn, self.head = nn.Embedding(60, 32), nn.LSTM(32, 64, batch_first=True), nn.Linear(64, 60)
            for weight in (self.embed.weight, self.head.weight):
                nn.init.uniform_(weight, -0.1, 0.1)

        def forward(self, words):
            return self.head(self.rnn(self.embed(words))[0]).transpose(1, 2)

    model, words = Language(), torch.multinomial(1 / torch.arange(1.0, 61.0), 20 * 21, replacement=True).view(20, 21)
    given = {"model": model, "inputs": words[:, :-1], "targets": words[:, 1:], "loss": nn.CrossEntropyLoss(), "grad_clip": 0.25}
    return {**given, "optimizer": torch.optim.SGD(model.parameters(), lr=5.0)}


def build_epsilon_of_reinforcement_learning():
    model = nn.Sequential(nn.Linear(20, 64), nn.Tanh(), nn.Linear(64, 5))
    return {**classifier(model, table()), "optimizer": torch.optim.Adam(model.parameters(), lr=3e-4, eps=1e-5)}


def build_epsilon_that_speeds_up():
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5))
    return {**classifier(model, table()), "optimizer": torch.optim.Adadelta(model.parameters(), eps=1e-3)}


def build_ridge_regression():
    model, x = nn.Linear(20, 1), table()
    settings = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}
    return setup(model, x, x[:, :4].sum(1, keepdim=True), nn.MSELoss(), optimizer=torch.optim.SGD(model.parameters(), **settings))


def build_matrices_by_second_order_and_the_rest_by_adam():
    model, x = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 1)), table()
    optimizers = [torch.optim.Adam(model[0].parameters(), lr=1e-3), torch.optim.LBFGS(model[2].parameters(), lr=0.5)]
    return setup(model, x, x[:, :1] * x[:, 1:2], nn.MSELoss(), optimizer=optimizers)


def build_a_second_order_optimizer_for_each_layer():
    model, x = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 1)), table()
    return setup(model, x, x[:, :1] * x[:, 1:2], nn.MSELoss(), optimizer=[torch.optim.LBFGS(part.parameters(), lr=0.5) for part in (model[0], model[2])])


def build_milestones_in_steps():
    return scheduled(lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, [5000, 8000], 0.1), interval="step")


def build_warm_up_and_nothing_more():
    return scheduled(lambda optimizer: torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 50), interval="step")


def build_rate_halved_once():
    return scheduled(lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, [60], 0.5), interval="step")
