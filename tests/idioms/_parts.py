"""What the idioms share: batches, and a training setup around a model."""

import torch
from torch import nn


def images(samples=32, channels=3, size=32):
    """Smooth pictures of different brightness and contrast: unlike white noise, one does not look like the other."""
    coarse = torch.randn(samples, channels, 4, 4) + torch.randn(samples, 1, 1, 1)
    pictures = nn.functional.interpolate(coarse, size, mode="bicubic") * (0.5 + torch.rand(samples, 1, 1, 1))
    return pictures / pictures.std()


def labels(samples=32, classes=5):
    return torch.arange(samples) % classes


def tokens(samples=32, length=16, vocabulary=100):
    return torch.randint(1, vocabulary, (samples, length))


def table(samples=64):
    return torch.randn(samples, 20)


class Block(nn.Module):
    def __init__(self, inputs, outputs, activation=None):
        super().__init__()
        self.linear, self.activation = nn.Linear(inputs, outputs), activation or nn.ReLU()

    def forward(self, x):
        return self.activation(self.linear(x))


def trunk():
    return nn.Sequential(Block(20, 32), Block(32, 32))


def setup(model, inputs, targets=None, loss=None, **more):
    """The model with its batch and the optimizer most people take."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    given = {"model": model, "inputs": inputs, "optimizer": torch.optim.AdamW(trainable, lr=1e-3)}
    if targets is not None:
        given["targets"] = targets
    if loss is not None:
        given["loss"] = loss
    return {**given, **more}


def classifier(model, inputs, classes=5, **more):
    """The same with cross-entropy and balanced labels."""
    samples = next(iter(inputs.values())) if isinstance(inputs, dict) else inputs
    samples = samples[0] if isinstance(samples, tuple) else samples
    return setup(model, inputs, labels(len(samples), classes), nn.CrossEntropyLoss(), **more)
