"""Language models, translation, tagging and classification of texts."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def markov(batch, length, words=40):
    """Ids that follow each other in a way one can learn; rare words are rare."""
    rows = torch.randint(1, words, (batch, length))
    for t in range(1, length):
        follow = (rows[:, t - 1] * 3 + 1) % (words - 1) + 1
        rows[:, t] = torch.where(torch.rand(batch) < 0.8, follow, rows[:, t])
    return rows


class RNNModel(nn.Module):
    """The word language model of the PyTorch examples: time first, flattened output."""

    def __init__(self, ntoken=40, ninp=32, nhid=32, nlayers=2, dropout=0.2):
        super().__init__()
        self.ntoken = ntoken
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, nhid, nlayers, dropout=dropout)
        self.decoder = nn.Linear(nhid, ntoken)
        self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, tokens):
        output, _ = self.rnn(self.drop(self.encoder(tokens)))
        return F.log_softmax(self.decoder(self.drop(output)).view(-1, self.ntoken), dim=1)


def build_word_language_model():
    model = RNNModel()
    data = markov(16, 21).t().contiguous()
    return {
        "model": model,
        "inputs": data[:-1],
        "targets": data[1:].reshape(-1),
        "loss": nn.NLLLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=5.0),
        "grad_clip": 0.25,
    }


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, dropout=0.1, max_len=100):
        super().__init__()
        self.dropout = nn.Dropout(p=dropout)
        pe = torch.zeros(max_len, d_model)
        position = torch.arange(0, max_len, dtype=torch.float).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2).float() * (-math.log(10000.0) / d_model))
        pe[:, 0::2] = torch.sin(position * div_term)
        pe[:, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe.unsqueeze(0).transpose(0, 1))

    def forward(self, x):
        return self.dropout(x + self.pe[: x.size(0), :])


class TransformerModel(nn.Module):
    def __init__(self, ntoken=40, ninp=32, nhead=2, nhid=64, nlayers=2):
        super().__init__()
        self.ninp = ninp
        self.pos_encoder = PositionalEncoding(ninp)
        self.transformer_encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(ninp, nhead, nhid, 0.1), nlayers)
        self.encoder = nn.Embedding(ntoken, ninp)
        self.decoder = nn.Linear(ninp, ntoken)

    def forward(self, src):
        mask = torch.triu(torch.full((len(src), len(src)), float("-inf")), diagonal=1)
        src = self.pos_encoder(self.encoder(src) * math.sqrt(self.ninp))
        return self.decoder(self.transformer_encoder(src, mask))


def build_time_major_transformer():
    model = TransformerModel()
    data = markov(16, 21).t().contiguous()
    return {
        "model": model,
        "inputs": data[:-1],
        "targets": data[1:],
        "loss": lambda out, y: F.cross_entropy(out.view(-1, 40), y.reshape(-1)),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }


class Block(nn.Module):
    def __init__(self, width=32, heads=4):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(0.1))

    def forward(self, x):
        b, t, c = x.size()
        q, k, v = self.c_attn(self.ln_1(x)).split(c, dim=2)
        q, k, v = (part.view(b, t, self.heads, c // self.heads).transpose(1, 2) for part in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=0.1 if self.training else 0, is_causal=True)
        x = x + self.c_proj(y.transpose(1, 2).contiguous().view(b, t, c))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, words=40, width=32, block_size=24):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(words, width), nn.Embedding(block_size, width)
        self.h = nn.ModuleList([Block(width) for _ in range(2)])
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, words, bias=False)
        self.wte.weight = self.lm_head.weight
        self.apply(self._init_weights)

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, mean=0.0, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, idx, targets=None):
        x = self.wte(idx) + self.wpe(torch.arange(idx.size(1), device=idx.device))
        for block in self.h:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1), ignore_index=-1)


def build_nano_gpt():
    model = GPT()
    data = markov(16, 21)
    decay = [p for p in model.parameters() if p.dim() >= 2]
    rest = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    return {
        "model": model,
        "inputs": {"idx": data[:, :-1], "targets": data[:, 1:]},
        "loss": lambda out: out[1],
        "optimizer": torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95)),
        "grad_clip": 1.0,
    }


class Seq2SeqTransformer(nn.Module):
    """The translation tutorial: time first, masks of padding."""

    def __init__(self, words=40, width=32):
        super().__init__()
        self.width = width
        self.transformer = nn.Transformer(width, 2, 1, 1, 64, 0.1)
        self.generator = nn.Linear(width, words)
        self.src_tok_emb, self.tgt_tok_emb = nn.Embedding(words, width), nn.Embedding(words, width)
        self.positional_encoding = PositionalEncoding(width)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.xavier_uniform_(p)

    def forward(self, src, trg):
        src_emb = self.positional_encoding(self.src_tok_emb(src) * math.sqrt(self.width))
        tgt_emb = self.positional_encoding(self.tgt_tok_emb(trg) * math.sqrt(self.width))
        tgt_mask = torch.triu(torch.ones(len(trg), len(trg), dtype=torch.bool), diagonal=1)
        src_pad, tgt_pad = (src == 0).transpose(0, 1), (trg == 0).transpose(0, 1)
        outs = self.transformer(src_emb, tgt_emb, None, tgt_mask, None, src_pad, tgt_pad, src_pad)
        return self.generator(outs)


def padded(rows):
    lengths = torch.randint(rows.shape[1] // 2, rows.shape[1] + 1, (rows.shape[0],))
    lengths[0] = rows.shape[1]
    return rows * (torch.arange(rows.shape[1]) < lengths[:, None])


def build_translation_transformer():
    model = Seq2SeqTransformer()
    src = padded(markov(16, 12)).t().contiguous()
    tgt = torch.cat([torch.full((1, 16), 39), torch.where(src > 0, (src * 7) % 38 + 1, 0)])
    loss_fn = nn.CrossEntropyLoss(ignore_index=0)
    return {
        "model": model,
        "inputs": (src, tgt[:-1]),
        "targets": tgt[1:],
        "loss": lambda logits, y: loss_fn(logits.reshape(-1, 40), y.reshape(-1)),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.98), eps=1e-9),
    }


class AttnSeq2Seq(nn.Module):
    """Encoder and decoder with additive attention and teacher forcing."""

    def __init__(self, words=40, width=32):
        super().__init__()
        self.src, self.tgt = nn.Embedding(words, width), nn.Embedding(words, width)
        self.encoder = nn.GRU(width, width, batch_first=True)
        self.cell = nn.GRUCell(2 * width, width)
        self.query, self.key, self.score = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 1)
        self.out = nn.Linear(width, words)

    def forward(self, src, tgt):
        memory, hidden = self.encoder(self.src(src))
        hidden, outputs = hidden[-1], []
        token = tgt[:, 0]
        for t in range(tgt.size(1)):
            energy = self.score(torch.tanh(self.query(hidden).unsqueeze(1) + self.key(memory)))
            context = (F.softmax(energy, dim=1) * memory).sum(1)
            hidden = self.cell(torch.cat([self.tgt(token), context], dim=1), hidden)
            logits = self.out(hidden)
            outputs.append(logits)
            if t + 1 < tgt.size(1):
                token = tgt[:, t + 1] if torch.rand(1).item() < 0.5 else logits.argmax(1)
        return torch.stack(outputs, dim=1)


def build_attention_teacher_forcing():
    model = AttnSeq2Seq()
    src = markov(16, 8)
    tgt = (src.flip(1) * 7) % 38 + 1
    inputs = torch.cat([torch.full((16, 1), 39), tgt[:, :-1]], dim=1)
    return {
        "model": model,
        "inputs": (src, inputs),
        "targets": tgt,
        "loss": lambda out, y: F.cross_entropy(out.transpose(1, 2), y),
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "grad_clip": 1.0,
    }


class BiLSTMTagger(nn.Module):
    def __init__(self, words=40, tags=5):
        super().__init__()
        self.embedding = nn.Embedding(words, 24, padding_idx=0)
        self.lstm = nn.LSTM(24, 24, batch_first=True, bidirectional=True)
        self.hidden2tag = nn.Linear(48, tags)

    def forward(self, sentence, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(sentence), lengths, batch_first=True, enforce_sorted=False
        )
        out, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=sentence.size(1))
        return self.hidden2tag(out)


def build_bilstm_tagger():
    model = BiLSTMTagger()
    words = padded(markov(32, 12))
    tags = torch.where(words > 0, words % 5, -100)
    return {
        "model": model,
        "inputs": (words, (words > 0).sum(1)),
        "targets": tags,
        "loss": lambda out, y: F.cross_entropy(out.view(-1, 5), y.view(-1), ignore_index=-100),
        "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
    }


class TextCNN(nn.Module):
    def __init__(self, words=40, classes=4):
        super().__init__()
        self.embed = nn.Embedding(words, 24)
        self.convs1 = nn.ModuleList([nn.Conv2d(1, 16, (k, 24)) for k in (3, 4, 5)])
        self.dropout = nn.Dropout(0.5)
        self.fc1 = nn.Linear(48, classes)

    def forward(self, x):
        x = self.embed(x).unsqueeze(1)
        x = [F.relu(conv(x)).squeeze(3) for conv in self.convs1]
        x = torch.cat([F.max_pool1d(i, i.size(2)).squeeze(2) for i in x], 1)
        return self.fc1(self.dropout(x))


def build_text_cnn():
    model = TextCNN()
    x = markov(64, 20)
    return {
        "model": model,
        "inputs": x,
        "targets": x[:, 3] % 4,
        "loss": F.cross_entropy,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }


class EmbeddingBagNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.EmbeddingBag(40, 16, mode="mean")
        self.fc = nn.Linear(16, 4)
        self.embedding.weight.data.uniform_(-0.5, 0.5)
        self.fc.weight.data.uniform_(-0.5, 0.5)
        self.fc.bias.data.zero_()

    def forward(self, text, offsets):
        return self.fc(self.embedding(text, offsets))


def build_text_bag():
    model = EmbeddingBagNet()
    text = markov(32, 10)
    return {
        "model": model,
        "inputs": (text.reshape(-1), torch.arange(0, 320, 10)),
        "targets": text[:, 0] % 4,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=1.0),
    }


class BertMLM(nn.Module):
    def __init__(self, words=40, width=32):
        super().__init__()
        self.tok, self.pos = nn.Embedding(words, width), nn.Embedding(32, width)
        layer = nn.TransformerEncoderLayer(width, 4, 64, 0.1, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, words)

    def forward(self, ids):
        return self.head(self.encoder(self.tok(ids) + self.pos.weight[: ids.size(1)]))


def build_masked_language_model():
    model = BertMLM()
    ids = markov(32, 16)
    chosen = torch.rand(ids.shape) < 0.15
    return {
        "model": model,
        "inputs": ids.masked_fill(chosen, 0),
        "targets": ids.masked_fill(~chosen, -100),
        "loss": lambda out, y: F.cross_entropy(out.flatten(0, 1), y.flatten()),
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3),
    }


class PointerNet(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.embed = nn.Linear(2, width)
        self.encoder, self.decoder = nn.LSTM(width, width, batch_first=True), nn.LSTMCell(width, width)
        self.w1, self.w2, self.v = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 1, bias=False)
        self.start = nn.Parameter(torch.randn(width) * 0.1)

    def forward(self, x, order):
        embedded = self.embed(x)
        memory, (h, c) = self.encoder(embedded)
        h, c, step, scores = h[0], c[0], self.start.expand(len(x), -1), []
        for t in range(x.size(1)):
            h, c = self.decoder(step, (h, c))
            scores.append(self.v(torch.tanh(self.w1(memory) + self.w2(h).unsqueeze(1))).squeeze(-1))
            step = embedded[torch.arange(len(x)), order[:, t]]
        return torch.stack(scores, 1)


def build_pointer_network():
    model = PointerNet()
    x = torch.rand(32, 6, 2)
    order = x[:, :, 0].argsort(dim=1)
    return {
        "model": model,
        "inputs": (x, order),
        "targets": order,
        "loss": lambda out, y: F.cross_entropy(out.reshape(-1, 6), y.reshape(-1)),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }


class SkipGram(nn.Module):
    def __init__(self, words=40, width=16):
        super().__init__()
        self.u, self.v = nn.Embedding(words, width), nn.Embedding(words, width)
        self.u.weight.data.uniform_(-0.5 / width, 0.5 / width)
        self.v.weight.data.zero_()

    def forward(self, centre, context, negative):
        u = self.u(centre)
        positive = (u * self.v(context)).sum(1)
        noise = torch.bmm(self.v(negative), u.unsqueeze(2)).squeeze(2)
        return -(F.logsigmoid(positive) + F.logsigmoid(-noise).sum(1)).mean()


def build_word2vec():
    model = SkipGram()
    pairs = markov(128, 2)
    return {
        "model": model,
        "inputs": (pairs[:, 0], pairs[:, 1], torch.randint(0, 40, (128, 5))),
        "loss": lambda out: out,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-2),
    }
