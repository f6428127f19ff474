"""A Transformer classifier with a warm-up and cosine decay written as a LambdaLR, stepped after each batch."""
import math

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
EPOCHS, WARMUP, LR = 3, 6, 1e-3


class Classifier(nn.Module):
    def __init__(self, vocab=30, width=32, classes=2):
        super().__init__()
        self.embed = nn.Embedding(vocab, width)
        self.position = nn.Parameter(0.02 * torch.randn(12, width))
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens):
        x = self.embed(tokens) + self.position
        return self.head(self.encoder(x).mean(1))


def sentences(count, seed):
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) * 2 // count
    tokens = torch.randint(0, 15, (count, 12), generator=g)
    tokens = tokens + 15 * ((torch.rand(count, 12, generator=g) < 0.5).long() * labels.unsqueeze(1))
    return TensorDataset(tokens, labels)


def lr_lambda(step, total):
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (total - WARMUP)))


train_loader = DataLoader(sentences(256, 0), batch_size=32, shuffle=True)
valid_loader = DataLoader(sentences(64, 1), batch_size=32)
model = Classifier()
optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.01)
total_steps = EPOCHS * len(train_loader)
lr_scheduler = LambdaLR(optimizer, lr_lambda=lambda step: lr_lambda(step, total_steps))
criterion = nn.CrossEntropyLoss()

for epoch in range(EPOCHS):
    model.train()
    epoch_loss = 0.0
    for tokens, labels in train_loader:
        logits = model(tokens)
        loss = criterion(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        optimizer.step()
        lr_scheduler.step()
        epoch_loss += loss.detach()
    model.eval()
    correct = 0
    with torch.inference_mode():
        for tokens, labels in valid_loader:
            correct += int((model(tokens).argmax(-1) == labels).sum())
    print(f"epoch {epoch} loss {float(epoch_loss) / len(train_loader):.3f} acc {correct / 64:.2f}")
