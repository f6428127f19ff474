"""transformers 33844: attention keeps its dropout in evaluation, as dropout_p is a constant"""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class Attention(nn.Module):
    def __init__(self, width=16, heads=2):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=0.2)  # expect: ARC012
        return self.proj(y.transpose(1, 2).reshape(b, t, c))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.attention = Attention()
        self.head = nn.Linear(16, 2)

    def forward(self, tokens):
        x = self.embed(tokens)
        return self.head((x + self.attention(x)).mean(1))


torch.manual_seed(0)
labels = torch.arange(128) % 2
tokens = torch.randint(0, 10, (128, 8)) + 10 * labels.unsqueeze(1) * (torch.rand(128, 8) < 0.5)
loader = DataLoader(TensorDataset(tokens, labels), batch_size=16, shuffle=True)
model = Model()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for epoch in range(2):
    model.train()
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    print(epoch, loss.item())
