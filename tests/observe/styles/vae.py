import argparse
import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
parser = argparse.ArgumentParser(); parser.add_argument('--epochs', type=int, default=2); args = parser.parse_args()
torch.manual_seed(1)
class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 32); self.fc21 = nn.Linear(32, 8); self.fc22 = nn.Linear(32, 8)
        self.fc3 = nn.Linear(8, 32); self.fc4 = nn.Linear(32, 64)
    def encode(self, x):
        h1 = F.relu(self.fc1(x)); return self.fc21(h1), self.fc22(h1)
    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar); eps = torch.randn_like(std); return mu + eps * std
    def decode(self, z):
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))
    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, 64)); z = self.reparameterize(mu, logvar); return self.decode(z), mu, logvar
model = VAE()
optimizer = optim.Adam(model.parameters(), lr=1e-3)
data = TensorDataset(torch.rand(64, 1, 8, 8), torch.zeros(64))
train_loader = DataLoader(data, batch_size=16, shuffle=True)
test_loader = DataLoader(TensorDataset(torch.rand(32, 1, 8, 8), torch.zeros(32)), batch_size=16)
def loss_function(recon_x, x, mu, logvar):
    BCE = F.binary_cross_entropy(recon_x, x.view(-1, 64), reduction='sum')
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return BCE + KLD
def train(epoch):
    model.train(); train_loss = 0
    for batch_idx, (data, _) in enumerate(train_loader):
        optimizer.zero_grad()
        recon_batch, mu, logvar = model(data)
        loss = loss_function(recon_batch, data, mu, logvar)
        loss.backward()
        train_loss += loss.item()
        optimizer.step()
def test(epoch):
    model.eval(); test_loss = 0
    with torch.no_grad():
        for i, (data, _) in enumerate(test_loader):
            recon_batch, mu, logvar = model(data)
            test_loss += loss_function(recon_batch, data, mu, logvar).item()
if __name__ == "__main__":
    for epoch in range(1, args.epochs + 1):
        train(epoch); test(epoch)
