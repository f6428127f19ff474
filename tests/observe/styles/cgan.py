"""A conditional GAN with noise and labels of numpy: the other player is called with a tensor that the model takes too."""

import numpy as np
import torch
from torch import nn

torch.manual_seed(0)
np.random.seed(0)


class Conditioned(nn.Module):
    def __init__(self, inside, outside, last):
        super().__init__()
        self.label = nn.Embedding(5, 5)
        self.net = nn.Sequential(nn.Linear(inside + 5, 32), nn.LeakyReLU(0.2), nn.Linear(32, outside), last)

    def forward(self, values, labels):
        return self.net(torch.cat([self.label(labels), values], 1))


generator, discriminator = Conditioned(6, 8, nn.Tanh()), Conditioned(8, 1, nn.Identity())
optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
adversarial = nn.MSELoss()
for _ in range(12):
    real, labels = torch.randn(32, 8).clamp(-1, 1), torch.randint(0, 5, (32,))
    valid, fake = torch.ones(32, 1), torch.zeros(32, 1)
    optimizer_g.zero_grad()
    z = torch.FloatTensor(np.random.normal(0, 1, (32, 6)))
    wanted = torch.LongTensor(np.random.randint(0, 5, 32))
    made = generator(z, wanted)
    adversarial(discriminator(made, wanted), valid).backward()
    optimizer_g.step()
    optimizer_d.zero_grad()
    loss = adversarial(discriminator(real, labels), valid) + adversarial(discriminator(made.detach(), wanted), fake)
    (loss / 2).backward()
    optimizer_d.step()
