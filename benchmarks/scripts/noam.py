"""The schedule of the first Transformer paper: a base rate of 1 and a LambdaLR that gives the rate; copy task."""
import torch
import torch.nn as nn
from torch.optim.lr_scheduler import LambdaLR

torch.manual_seed(0)
VOCAB, WIDTH, WARMUP = 11, 32, 20


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.src_embed = nn.Embedding(VOCAB, WIDTH)
        self.position = nn.Parameter(torch.randn(10, WIDTH) * 0.1)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 64, 0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.generator = nn.Linear(WIDTH, VOCAB)

    def forward(self, src):
        return self.generator(self.layers(self.src_embed(src) + self.position))


def rate(step, model_size, factor, warmup):
    step = max(step, 1)
    return factor * (model_size ** (-0.5) * min(step ** (-0.5), step * warmup ** (-1.5)))


def data_gen(batch_size, nbatches):
    for _ in range(nbatches):
        data = torch.randint(1, VOCAB, (batch_size, 10))
        yield data, data.flip(1)


def run_epoch(data_iter, model, criterion, optimizer, scheduler):
    total = 0.0
    for src, tgt in data_iter:
        out = model(src)
        loss = criterion(out.reshape(-1, VOCAB), tgt.reshape(-1))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        scheduler.step()
        total += loss.item()
    return total


model = Encoder()
criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
optimizer = torch.optim.Adam(model.parameters(), lr=0.5, betas=(0.9, 0.98), eps=1e-9)
scheduler = LambdaLR(optimizer, lr_lambda=lambda step: rate(step, WIDTH, factor=1.0, warmup=WARMUP))
for epoch in range(3):
    model.train()
    loss = run_epoch(data_gen(20, 10), model, criterion, optimizer, scheduler)
    model.eval()
    with torch.no_grad():
        src = torch.randint(1, VOCAB, (20, 10))
        right = (model(src).argmax(-1) == src.flip(1)).float().mean()
    print(f"epoch {epoch}: loss {loss / 10:.3f} accuracy {right:.2f}")
