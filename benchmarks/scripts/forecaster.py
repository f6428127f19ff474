"""An online forecaster: an LSTM cell keeps its state on the object between calls, cut after each update."""
import torch
from torch import nn

torch.manual_seed(0)


class Forecaster(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.cell = nn.LSTMCell(1, hidden)
        self.readout = nn.Linear(hidden, 1)
        self.state = None

    def forward(self, window):
        predictions = []
        for value in window:
            self.state = self.cell(value.view(1, 1), self.state)
            predictions.append(self.readout(self.state[0]))
        return torch.cat(predictions).flatten()

    def cut(self):
        self.state = tuple(part.detach() for part in self.state)


def series(length):
    t = torch.arange(length) / 6.0
    return torch.sin(t) + 0.5 * torch.sin(2.3 * t) + 0.05 * torch.randn(length)


def main(window=10):
    values = series(320)
    net = Forecaster()
    optim = torch.optim.Adam(net.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optim, gamma=0.98)
    running = 0.0
    for step, start in enumerate(range(0, len(values) - window - 1, window)):
        optim.zero_grad()
        predicted = net(values[start : start + window])
        loss = (predicted - values[start + 1 : start + window + 1]).square().mean()
        loss.backward()
        optim.step()
        net.cut()
        scheduler.step()
        running = 0.9 * running + 0.1 * loss.item()
        if step % 8 == 0:
            print(f"step {step}: {running:.4f}")


if __name__ == "__main__":
    main()
