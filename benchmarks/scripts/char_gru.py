"""Characters with a stateful GRU: the state of one chunk starts the next, detached."""
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
text = "she sells sea shells by the sea shore and the shells she sells are sea shells " * 30
vocabulary = sorted(set(text))
ids = torch.tensor([vocabulary.index(c) for c in text])
BATCH, CHUNK, HIDDEN, EPOCHS = 8, 12, 48, 2
columns = ids[: len(ids) // BATCH * BATCH].view(BATCH, -1)


class CharGRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(len(vocabulary), 24)
        self.gru = nn.GRU(24, HIDDEN, batch_first=True)
        self.fc = nn.Linear(HIDDEN, len(vocabulary))

    def forward(self, x, state=None):
        out, state = self.gru(self.embedding(x), state)
        return self.fc(out), state


model = CharGRU()
optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)
for epoch in range(EPOCHS):
    state = torch.zeros(1, BATCH, HIDDEN)
    losses = []
    for start in range(0, columns.size(1) - CHUNK - 1, CHUNK):
        x, y = columns[:, start : start + CHUNK], columns[:, start + 1 : start + CHUNK + 1]
        state = state.detach()
        logits, state = model(x, state)
        loss = F.cross_entropy(logits.transpose(1, 2), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(model.parameters(), 0.5)
        optimizer.step()
        losses.append(float(loss))
    print(f"epoch {epoch}: {sum(losses) / len(losses):.3f}")
