"""Text and time series: recurrent nets, transformers, seq2seq."""

import math

import torch
from _parts import classifier, labels, setup, tokens
from torch import nn
from torch.nn import functional


class TiedLanguageModel(nn.Module):
    """LSTM whose output layer is its embedding's matrix."""

    def __init__(self, vocabulary=100, width=32):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.rnn = nn.LSTM(width, width, batch_first=True)
        self.dropout = nn.Dropout(0.1)
        self.decoder = nn.Linear(width, vocabulary)
        self.decoder.weight = self.embedding.weight

    def forward(self, ids):
        out, _ = self.rnn(self.dropout(self.embedding(ids)))
        return self.decoder(self.dropout(out))


def next_token(logits, ids):
    return functional.cross_entropy(logits[:, :-1].reshape(-1, logits.size(-1)), ids[:, 1:].reshape(-1))


def build_language_model_with_tied_embedding():
    ids = tokens()
    return setup(TiedLanguageModel(), ids, ids, next_token, causal=True)


class LastHidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(100, 16, padding_idx=0)
        self.rnn = nn.GRU(16, 24, num_layers=2, dropout=0.2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(48, 5)

    def forward(self, ids):
        _, hidden = self.rnn(self.embedding(ids))
        return self.head(torch.cat([hidden[-2], hidden[-1]], dim=1))


def build_bidirectional_gru():
    return classifier(LastHidden(), tokens())


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(100, 16)
        self.rnn = nn.LSTM(16, 24, batch_first=True)
        self.head = nn.Linear(24, 5)

    def forward(self, ids, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(self.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
        _, (hidden, _) = self.rnn(packed)
        return self.head(hidden[-1])


def build_packed_sequences():
    return classifier(Packed(), (tokens(), torch.randint(4, 17, (32,))))


class CellLoop(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(8, 24)
        self.head = nn.Linear(24, 1)

    def forward(self, series):
        hidden = cell = series.new_zeros(len(series), 24)
        outputs = []
        for step in series.unbind(1):
            hidden, cell = self.cell(step, (hidden, cell))
            outputs.append(self.head(hidden))
        return torch.cat(outputs, dim=1)


def build_lstm_cell_loop():
    series = torch.randn(32, 12, 8)
    return setup(CellLoop(), series, series.mean(2).cumsum(1), nn.SmoothL1Loss())


class OwnCell(nn.Module):
    """A gated cell written by hand."""

    def __init__(self, inputs, width):
        super().__init__()
        self.gates = nn.Linear(inputs + width, 2 * width)
        self.candidate = nn.Linear(inputs + width, width)

    def forward(self, x, h):
        reset, update = torch.sigmoid(self.gates(torch.cat([x, h], 1))).chunk(2, 1)
        proposed = torch.tanh(self.candidate(torch.cat([x, reset * h], 1)))
        return update * h + (1 - update) * proposed


class OwnRecurrence(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = OwnCell(8, 24), nn.Linear(24, 5)

    def forward(self, series):
        hidden = torch.zeros(len(series), 24)
        for index in range(series.shape[1]):
            hidden = self.cell(series[:, index], hidden)
        return self.head(hidden)


def build_cell_written_by_hand():
    return classifier(OwnRecurrence(), torch.randn(32, 12, 8))


class TimeMajor(nn.Module):
    """batch_first=False, and the data are time-major indeed."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(8, 24), nn.Linear(24, 5)

    def forward(self, series):
        return self.head(self.rnn(series)[0][-1])


def build_time_major_data():
    return setup(TimeMajor(), torch.randn(12, 32, 8), labels(), nn.CrossEntropyLoss(), declared={"time-major"})


class TransposesItself(TimeMajor):
    def forward(self, series):
        return super().forward(series.transpose(0, 1))


def build_batch_major_data_transposed_in_forward():
    return classifier(TransposesItself(), torch.randn(32, 12, 8))


class CausalConv(nn.Module):
    def __init__(self, inputs, outputs, dilation):
        super().__init__()
        self.pad = 2 * dilation
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(inputs, outputs, 3, dilation=dilation))
        self.skip = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x):
        return torch.relu(self.conv(functional.pad(x, (self.pad, 0)))) + self.skip(x)


def build_temporal_convolutions():
    model = nn.Sequential(CausalConv(4, 16, 1), CausalConv(16, 16, 2), CausalConv(16, 16, 4), nn.Conv1d(16, 1, 1))
    series = torch.randn(32, 4, 40)
    return setup(model, series, series.mean(1, keepdim=True), nn.MSELoss())


class Tagger(nn.Module):
    """Every token has a class; padding is ignored."""

    def __init__(self):
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(100, 16, padding_idx=0), nn.LSTM(16, 16, bidirectional=True, batch_first=True)
        self.head = nn.Linear(32, 4)

    def forward(self, ids):
        return self.head(self.rnn(self.embedding(ids))[0]).transpose(1, 2)


def build_sequence_tagging_with_ignored_padding():
    ids, tags = tokens(), torch.randint(0, 4, (32, 16))
    ids[:, 12:], tags[:, 12:] = 0, -100
    return setup(Tagger(), ids, tags, nn.CrossEntropyLoss())


class SelfAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, time, width = x.shape
        q, k, v = self.qkv(x).view(batch, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
        mask = torch.ones(time, time, dtype=torch.bool).tril()
        weights = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(batch, time, width))


class DecoderBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, 4)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(0.1))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Decoder(nn.Module):
    """A small GPT, initialized as GPT-2 is."""

    def __init__(self, vocabulary=100, width=32, length=16):
        super().__init__()
        self.token, self.position = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(DecoderBlock(width), DecoderBlock(width))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.token.weight
        self.apply(self._init)

    def _init(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)

    def forward(self, ids, targets=None):
        x = self.token(ids) + self.position(torch.arange(ids.shape[1]))
        logits = self.head(self.norm(self.blocks(x)))
        loss = None if targets is None else functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return {"logits": logits, "loss": loss}


def build_decoder_with_its_own_loss():
    ids = tokens(length=17)
    return setup(Decoder(), {"ids": ids[:, :-1], "targets": ids[:, 1:]}, causal=True)


class Sinusoids(nn.Module):
    def __init__(self, width, length=64):
        super().__init__()
        position, rate = torch.arange(length)[:, None], torch.exp(torch.arange(0, width, 2) * -math.log(1e4) / width)
        table = torch.zeros(length, width)
        table[:, 0::2], table[:, 1::2] = torch.sin(position * rate), torch.cos(position * rate)
        self.register_buffer("table", table)

    def forward(self, x):
        return x + self.table[: x.shape[1]]


class Translator(nn.Module):
    """nn.Transformer with teacher forcing: the decoder reads the right answer, shifted."""

    def __init__(self, width=32):
        super().__init__()
        self.source, self.target, self.position = nn.Embedding(80, width), nn.Embedding(90, width), Sinusoids(width)
        self.transformer = nn.Transformer(width, 4, 1, 1, 64, batch_first=True)
        self.head = nn.Linear(width, 90)

    def forward(self, source, target):
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        out = self.transformer(self.position(self.source(source)), self.position(self.target(target)), tgt_mask=mask)
        return self.head(out)


def build_seq2seq_with_teacher_forcing():
    source, target = tokens(32, 14, 80), tokens(32, 11, 90)
    loss = lambda logits, ids: functional.cross_entropy(logits.flatten(0, 1), ids.flatten(), label_smoothing=0.1)
    return setup(Translator(), (source, target[:, :-1]), target[:, 1:], loss)


class AttentionSeq2Seq(nn.Module):
    """GRU encoder, additive attention, GRU-cell decoder; each step reads the right previous token."""

    def __init__(self, width=24):
        super().__init__()
        self.source, self.target = nn.Embedding(80, width), nn.Embedding(90, width)
        self.encoder, self.decoder = nn.GRU(width, width, batch_first=True), nn.GRUCell(2 * width, width)
        self.query, self.key, self.score = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 1)
        self.head = nn.Linear(2 * width, 90)

    def forward(self, source, target):
        memory, hidden = self.encoder(self.source(source))
        hidden, logits = hidden[0], []
        for token in target.unbind(1):
            energy = self.score(torch.tanh(self.query(hidden)[:, None] + self.key(memory)))
            context = (energy.softmax(dim=1) * memory).sum(1)
            hidden = self.decoder(torch.cat([self.target(token), context], -1), hidden)
            logits.append(self.head(torch.cat([hidden, context], -1)))
        return torch.stack(logits, dim=2)


def build_seq2seq_with_attention():
    source, target = tokens(32, 10, 80), tokens(32, 8, 90)
    return setup(AttentionSeq2Seq(), (source, target[:, :-1]), target[:, 1:], nn.CrossEntropyLoss())


class MaskedEncoder(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.embedding, self.position = nn.Embedding(100, width, padding_idx=0), nn.Parameter(torch.randn(16, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 5)

    def forward(self, ids):
        padding = ids == 0
        x = self.encoder(self.embedding(ids) + self.position, src_key_padding_mask=padding)
        kept = (~padding).unsqueeze(-1).float()
        return self.head((x * kept).sum(1) / kept.sum(1))


def build_encoder_with_padding_mask():
    ids = tokens()
    ids[::2, 10:] = 0
    return classifier(MaskedEncoder(), ids)


class Speech(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(20, 32, 3, padding=1), nn.ReLU(), nn.Conv1d(32, 32, 3, padding=1), nn.ReLU())
        self.rnn, self.head = nn.GRU(32, 32, batch_first=True), nn.Linear(32, 12)

    def forward(self, features):
        out, _ = self.rnn(self.conv(features).transpose(1, 2))
        return self.head(out).log_softmax(-1).transpose(0, 1)


def ctc(log_probabilities, targets):
    time, samples, _ = log_probabilities.shape
    lengths = torch.full((samples,), time), torch.full((samples,), targets.shape[1])
    return functional.ctc_loss(log_probabilities, targets, *lengths)


def build_ctc():
    return setup(Speech(), torch.randn(16, 20, 40), torch.randint(1, 12, (16, 6)), ctc)


def build_bag_of_words():
    model = nn.Sequential(nn.EmbeddingBag(100, 16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 5))
    return classifier(model, tokens(64))
