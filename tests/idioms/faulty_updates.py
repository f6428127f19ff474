"""Settings of the optimizer, the schedule and the norms that the first updates show."""

import torch
from _parts import classifier, images, labels, table
from torch import nn


def mlp():
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5))


def convolutional():
    blocks = [nn.Sequential(nn.Conv2d(i, o, 3), nn.BatchNorm2d(o), nn.ReLU()) for i, o in ((3, 16), (16, 32))]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5))


def with_adam(model, inputs, **settings):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, **settings)
    return {**classifier(model, inputs), "optimizer": optimizer}


def scheduled(make, **more):
    given = with_adam(mlp(), table())
    return {**given, "scheduler": make(given["optimizer"]), "planned_steps": 10000, **more}


def build_decay_of_a_tenth_on_a_perceptron():  # expect: OPT009
    return with_adam(mlp(), table(), weight_decay=0.1)


def build_decay_of_a_third_on_a_small_convolutional_net():  # expect: OPT009
    return with_adam(convolutional(), images(64, size=16), weight_decay=0.3)


def build_decay_of_one_on_a_linear_model():  # expect: OPT009
    return with_adam(nn.Linear(20, 5), table(), weight_decay=1.0)


def build_epsilon_of_one():  # expect: OPT008
    return with_adam(mlp(), table(), eps=1.0)


def build_decay_in_epochs_stepped_with_every_batch():  # expect: OPT012
    return scheduled(lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 30, 0.1), interval="step")


def build_momentum_given_as_epsilon():  # expect: NRM007 at 1
    layers = [nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16, 0.8), nn.LeakyReLU(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)]
    return classifier(nn.Sequential(*layers), images())


def build_sorted_list_of_batches():  # expect: DAT007
    x, y = table(320), labels(320).sort().values
    model = mlp()
    batches = list(zip(x.split(16), y.split(16), strict=True))
    return {"model": model, "data": batches, "loss": nn.CrossEntropyLoss(), "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3)}


def build_decay_of_a_third_on_a_linear_model():  # expect: OPT009
    model = nn.Linear(20, 5)
    return {**classifier(model, table()), "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.3)}


def build_epsilon_of_a_few_gradients():  # expect: OPT008
    return with_adam(mlp(), table(), eps=0.02)


def build_epsilon_of_another_optimizer():  # expect: OPT008
    model = mlp()
    return {**classifier(model, table()), "optimizer": torch.optim.Adagrad(model.parameters(), lr=0.01, eps=1.0)}


def build_loss_divided_once_too_often():  # expect: OPT008
    given = with_adam(mlp(), table())
    return {**given, "loss": lambda out, y: nn.functional.cross_entropy(out, y) / 1e7}


def build_milestones_in_epochs_passed_in_the_first_steps():  # expect: OPT012
    return scheduled(lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, [30, 60], 0.1), interval="step")
