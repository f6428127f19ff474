import torch, math
from torch import nn
torch.manual_seed(0)
class RNNModel(nn.Module):
    def __init__(self, ntoken=50, ninp=16, nhid=16):
        super().__init__(); self.drop = nn.Dropout(0.2); self.encoder = nn.Embedding(ntoken, ninp); self.rnn = nn.LSTM(ninp, nhid, 1); self.decoder = nn.Linear(nhid, ntoken); self.ntoken = ntoken
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
    def forward(self, input, hidden):
        emb = self.drop(self.encoder(input)); output, hidden = self.rnn(emb, hidden); output = self.drop(output)
        decoded = self.decoder(output).view(-1, self.ntoken)
        return nn.functional.log_softmax(decoded, dim=1), hidden
    def init_hidden(self, bsz):
        w = next(self.parameters()); return (w.new_zeros(1, bsz, 16), w.new_zeros(1, bsz, 16))
def repackage_hidden(h):
    return h.detach() if isinstance(h, torch.Tensor) else tuple(repackage_hidden(v) for v in h)
corpus = torch.randint(0, 50, (200, 8)); model = RNNModel(); criterion = nn.NLLLoss(); lr = 20
def train():
    model.train(); hidden = model.init_hidden(8)
    for i in range(0, 190, 10):
        data, targets = corpus[i:i + 10], corpus[i + 1:i + 11].view(-1)
        model.zero_grad(); hidden = repackage_hidden(hidden)
        output, hidden = model(data, hidden)
        loss = criterion(output, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        for p in model.parameters():
            p.data.add_(p.grad, alpha=-lr)
for e in range(2): train()
