"""A table from NumPy, minibatches by a permuted index, no DataLoader at all."""
import numpy as np
import torch
from torch import nn

rng = np.random.default_rng(0)
torch.manual_seed(0)
X = rng.normal(size=(260, 8)).astype(np.float32)
y = (X @ rng.normal(size=8) + 0.5 * np.sin(3 * X[:, 0]) + 0.1 * rng.normal(size=260)).astype(np.float32)
X_train, y_train, X_test, y_test = X[:200], y[:200], X[200:], y[200:]
X_test_t, y_test_t = torch.from_numpy(X_test), torch.from_numpy(y_test)

model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
loss_fn = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
lr_sched = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5)
batch_size, history = 25, []

for epoch in range(4):
    permutation = rng.permutation(len(X_train))
    total = 0.0
    for start in range(0, len(X_train), batch_size):
        index = permutation[start : start + batch_size]
        xb, yb = torch.from_numpy(X_train[index]), torch.from_numpy(y_train[index])
        pred = model(xb).squeeze(-1)
        loss = loss_fn(pred, yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
        history.append(loss.item())
    lr_sched.step()
    with torch.no_grad():
        test_loss = loss_fn(model(X_test_t).squeeze(-1), y_test_t)
    print(f"epoch {epoch}: train {total * batch_size / len(X_train):.4f} test {test_loss.item():.4f}")
