"""An adversarial autoencoder: the latent noise comes from numpy, and the loss calls the decoder's rival."""

import itertools

import numpy as np
import torch
from torch import nn
from torch.nn import functional

torch.manual_seed(0)
np.random.seed(0)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 32), nn.LeakyReLU(0.2))
        self.mean, self.logvar = nn.Linear(32, 4), nn.Linear(32, 4)

    def forward(self, rows):
        hidden = self.body(rows)
        deviation = torch.exp(self.logvar(hidden) / 2)
        noise = torch.FloatTensor(np.random.normal(0, 1, (len(rows), 4)))
        return noise * deviation + self.mean(hidden)


encoder = Encoder()
decoder = nn.Sequential(nn.Linear(4, 32), nn.LeakyReLU(0.2), nn.Linear(32, 12))
rival = nn.Sequential(nn.Linear(4, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
optimizer_g = torch.optim.Adam(itertools.chain(encoder.parameters(), decoder.parameters()), lr=2e-4)
optimizer_d = torch.optim.Adam(rival.parameters(), lr=2e-4)
for _ in range(12):
    rows = torch.randn(32, 12)
    valid, fake = torch.ones(32, 1), torch.zeros(32, 1)
    optimizer_g.zero_grad()
    code = encoder(rows)
    adversarial = functional.binary_cross_entropy_with_logits(rival(code), valid)
    (0.01 * adversarial + 0.99 * functional.l1_loss(decoder(code), rows)).backward()
    optimizer_g.step()
    optimizer_d.zero_grad()
    drawn = torch.FloatTensor(np.random.normal(0, 1, (32, 4)))
    real_loss = functional.binary_cross_entropy_with_logits(rival(drawn), valid)
    fake_loss = functional.binary_cross_entropy_with_logits(rival(code.detach()), fake)
    (0.5 * (real_loss + fake_loss)).backward()
    optimizer_d.step()
