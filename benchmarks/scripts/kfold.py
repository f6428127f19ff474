"""Cross-validation: a new model, optimizer and seed for each fold."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset

np.random.seed(0)
x = np.random.randn(240, 6).astype("float32")
y = (x[:, 0] * x[:, 1] + 0.5 * x[:, 2] > 0).astype("int64")
dataset = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
k_folds, num_epochs = 3, 2
results = {}


def folds(count, k):
    order = np.random.permutation(count)
    for part in np.array_split(order, k):
        yield np.setdiff1d(order, part), part


class SimpleNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 2))

    def forward(self, x):
        return self.layers(x)


for fold, (train_ids, test_ids) in enumerate(folds(len(dataset), k_folds)):
    torch.manual_seed(42)
    trainloader = DataLoader(dataset, batch_size=16, sampler=SubsetRandomSampler(train_ids.tolist()))
    testloader = DataLoader(dataset, batch_size=16, sampler=SubsetRandomSampler(test_ids.tolist()))
    network = SimpleNet()
    loss_function = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for epoch in range(num_epochs):
        network.train()
        current_loss = 0.0
        for i, (inputs, targets) in enumerate(trainloader, 0):
            optimizer.zero_grad()
            outputs = network(inputs)
            loss = loss_function(outputs, targets)
            loss.backward()
            optimizer.step()
            current_loss += loss.item()
        print(f"fold {fold} epoch {epoch} loss {current_loss / len(trainloader):.3f}")
    correct, total = 0, 0
    network.eval()
    with torch.no_grad():
        for inputs, targets in testloader:
            predicted = network(inputs).argmax(1)
            total += targets.size(0)
            correct += (predicted == targets).sum().item()
    results[fold] = 100.0 * correct / total
print(results)
