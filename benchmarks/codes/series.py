"""Speech, time series and sound."""

import torch
import torch.nn.functional as F
from torch import nn


def waves(n=32, length=40, features=1):
    t = torch.arange(length + 8).float()
    rate = torch.rand(n, 1, features) * 0.3 + 0.1
    phase = torch.rand(n, 1, features) * 6
    return (t[None, :, None] * rate + phase).sin() + 0.05 * torch.randn(n, length + 8, features)


class LSTMForecaster(nn.Module):
    def __init__(self, horizon=8):
        super().__init__()
        self.lstm, self.fc = nn.LSTM(1, 32, 2, batch_first=True, dropout=0.1), nn.Linear(32, horizon)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.fc(out[:, -1])


def build_lstm_forecast():
    model = LSTMForecaster()
    x = waves()
    return {
        "model": model,
        "inputs": x[:, :40],
        "targets": x[:, 40:, 0],
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }


class DLinear(nn.Module):
    def __init__(self, length=40, horizon=8):
        super().__init__()
        self.avg = nn.AvgPool1d(9, 1, 4, count_include_pad=False)
        self.seasonal, self.trend = nn.Linear(length, horizon), nn.Linear(length, horizon)

    def forward(self, x):
        x = x.transpose(1, 2)
        trend = self.avg(x)
        return (self.seasonal(x - trend) + self.trend(trend)).transpose(1, 2)


def build_dlinear():
    model = DLinear()
    x = waves(features=3)
    return {
        "model": model,
        "inputs": x[:, :40],
        "targets": x[:, 40:],
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
    }


class Chomp(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        return x[:, :, : -self.size].contiguous()


class TemporalBlock(nn.Module):
    def __init__(self, cin, cout, dilation):
        super().__init__()
        conv = lambda a: nn.utils.parametrizations.weight_norm(
            nn.Conv1d(a, cout, 3, padding=2 * dilation, dilation=dilation)
        )
        self.net = nn.Sequential(
            conv(cin),
            Chomp(2 * dilation),
            nn.ReLU(),
            nn.Dropout(0.1),
            conv(cout),
            Chomp(2 * dilation),
            nn.ReLU(),
            nn.Dropout(0.1),
        )
        self.downsample = nn.Conv1d(cin, cout, 1) if cin != cout else None

    def forward(self, x):
        return F.relu(self.net(x) + (x if self.downsample is None else self.downsample(x)))


class TCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.tcn, self.linear = (
            nn.Sequential(TemporalBlock(1, 16, 1), TemporalBlock(16, 16, 2), TemporalBlock(16, 16, 4)),
            nn.Linear(16, 1),
        )

    def forward(self, x):
        return self.linear(self.tcn(x.transpose(1, 2)).transpose(1, 2))


def build_tcn_next_value():
    model = TCN()
    x = waves()
    return {
        "model": model,
        "inputs": x[:, :40],
        "targets": x[:, 1:41],
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "causal": True,
    }


class PatchTST(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.embed, self.pos = nn.Linear(8, width), nn.Parameter(torch.randn(1, 5, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 64, 0.1, "gelu", batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(5 * width, 8)

    def forward(self, x):
        mean, std = x.mean(1, keepdim=True), x.std(1, keepdim=True) + 1e-5
        patches = ((x - mean) / std).squeeze(-1).unfold(1, 8, 8)
        h = self.encoder(self.embed(patches) + self.pos)
        return self.head(h.flatten(1)) * std.squeeze(-1) + mean.squeeze(-1)


def build_patch_tst():
    model = PatchTST()
    x = waves()
    return {
        "model": model,
        "inputs": x[:, :40],
        "targets": x[:, 40:, 0],
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3),
    }


class SpeechCtc(nn.Module):
    def __init__(self, classes=11):
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv1d(13, 32, 5, 2, 2), nn.BatchNorm1d(32), nn.ReLU())
        self.rnn = nn.GRU(32, 32, batch_first=True, bidirectional=True)
        self.classifier = nn.Linear(64, classes)

    def forward(self, x):
        h, _ = self.rnn(self.cnn(x).transpose(1, 2))
        return F.log_softmax(self.classifier(h), dim=2).transpose(0, 1)


def spoken(n=16, letters=6, classes=10):
    text = torch.randint(1, classes + 1, (n, letters))
    sounds = torch.randn(classes + 1, 13)
    return sounds[text].repeat_interleave(8, dim=1).transpose(1, 2) + 0.3 * torch.randn(n, 13, letters * 8), text


def build_speech_ctc():
    model = SpeechCtc()
    x, text = spoken()
    ctc = nn.CTCLoss(blank=0, zero_infinity=True)

    def loss(log_probs, target):
        n = log_probs.size(1)
        return ctc(log_probs, target, torch.full((n,), log_probs.size(0)), torch.full((n,), target.size(1)))

    return {
        "model": model,
        "inputs": x,
        "targets": text,
        "loss": loss,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=5e-4),
    }


class M5(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(1, 16, 16, 4), nn.BatchNorm1d(16)
        self.conv2, self.bn2 = nn.Conv1d(16, 32, 3), nn.BatchNorm1d(32)
        self.fc1 = nn.Linear(32, 4)

    def forward(self, x):
        x = F.max_pool1d(F.relu(self.bn1(self.conv1(x))), 4)
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.avg_pool1d(x, x.shape[-1]).permute(0, 2, 1)
        return F.log_softmax(self.fc1(x), dim=2)


def build_audio_m5():
    model = M5()
    y = torch.arange(32) % 4
    t = torch.arange(400).float()
    x = (t * (0.1 + 0.2 * y[:, None])).sin()[:, None] + 0.1 * torch.randn(32, 1, 400)
    return {
        "model": model,
        "inputs": x,
        "targets": y,
        "loss": lambda out, target: F.nll_loss(out.squeeze(1), target),
        "optimizer": torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-4),
    }


class SequenceAutoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder, self.out = (
            nn.LSTM(1, 32, batch_first=True),
            nn.LSTM(32, 32, batch_first=True),
            nn.Linear(32, 1),
        )

    def forward(self, x):
        _, (h, _) = self.encoder(x)
        return self.out(self.decoder(h[-1].unsqueeze(1).repeat(1, x.size(1), 1))[0])


def build_anomaly_autoencoder():
    model = SequenceAutoencoder()
    x = waves(length=16)
    return {
        "model": model,
        "inputs": x,
        "targets": x,
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }
