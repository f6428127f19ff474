"""Stack Overflow 60335387: gradients never cleared, the loss does not fall"""
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
labels = torch.arange(240) % 4
points = torch.randn(4, 6)[labels] + 0.4 * torch.randn(240, 6)
loader = DataLoader(TensorDataset(points, labels), batch_size=20, shuffle=True)
net = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 4))
loss_function = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
for epoch in range(3):
    for sample, target in loader:
        output = net(sample)
        loss = loss_function(output, target)
        loss.backward()
        optimizer.step()  # expect: STP001
    print(epoch, loss.item())
