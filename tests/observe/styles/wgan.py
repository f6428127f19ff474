import torch
from torch import nn, autograd
torch.manual_seed(0)
class Generator(nn.Module):
    def __init__(self):
        super().__init__(); self.model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.LeakyReLU(0.2), nn.Linear(32, 16), nn.Tanh())
    def forward(self, z): return self.model(z)
class Discriminator(nn.Module):
    def __init__(self):
        super().__init__(); self.model = nn.Sequential(nn.Linear(16, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    def forward(self, x): return self.model(x)
generator, discriminator = Generator(), Discriminator()
optimizer_G = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
optimizer_D = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
def gp(D, real, fake):
    alpha = torch.rand(real.size(0), 1)
    inter = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    d = D(inter)
    g = autograd.grad(outputs=d, inputs=inter, grad_outputs=torch.ones_like(d), create_graph=True, retain_graph=True, only_inputs=True)[0]
    return ((g.view(g.size(0), -1).norm(2, dim=1) - 1) ** 2).mean()
loader = torch.utils.data.DataLoader(torch.randn(160, 16), batch_size=16, shuffle=True)
done = 0
for epoch in range(4):
    for i, real in enumerate(loader):
        optimizer_D.zero_grad()
        z = torch.randn(real.shape[0], 8)
        fake = generator(z)
        d_loss = -torch.mean(discriminator(real)) + torch.mean(discriminator(fake)) + 10 * gp(discriminator, real.data, fake.data)
        d_loss.backward()
        optimizer_D.step()
        optimizer_G.zero_grad()
        if i % 5 == 0:
            fake = generator(z)
            g_loss = -torch.mean(discriminator(fake))
            g_loss.backward()
            optimizer_G.step()
