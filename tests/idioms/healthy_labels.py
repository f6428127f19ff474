"""Sequence models whose labels are where they should be, and models that may see what they predict."""

import math

import torch
from _padded import inside, words
from _parts import labels, setup
from torch import nn
from torch.nn import functional


def text(samples=16, length=17, vocabulary=50):
    return torch.randint(4, vocabulary, (samples, length))


def rows(logits, targets):
    return functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def waves(samples=32, length=25, features=2):
    start = torch.rand(samples, 1, features) * 6
    return torch.sin(start + torch.arange(length)[None, :, None] * 0.4) + torch.randn(samples, length, features) * 0.2


class Attention(nn.Module):
    def __init__(self, causal):
        super().__init__()
        self.causal = causal
        self.embed, self.time = nn.Embedding(50, 32), nn.Embedding(32, 32)
        self.qkv, self.out, self.head = nn.Linear(32, 96), nn.Linear(32, 32), nn.Linear(32, 50)

    def forward(self, tokens):
        x = self.embed(tokens) + self.time(torch.arange(tokens.shape[1]))
        q, k, v = self.qkv(x).chunk(3, -1)
        scores = q @ k.transpose(1, 2) / math.sqrt(32)
        if self.causal:
            scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), float("-inf"))
        return self.head(x + self.out(scores.softmax(-1) @ v))


class Gru(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(50, 16), nn.GRU(16, 32, batch_first=True), nn.Linear(32, 50)

    def forward(self, tokens):
        return self.head(self.rnn(self.embed(tokens))[0])


def build_decoder():
    ids = text()
    return setup(Attention(True), ids[:, :-1], ids[:, 1:], rows)


def build_decoder_whose_loss_shifts():
    ids = text()
    return setup(Attention(True), ids, ids, lambda out, y: rows(out[:, :-1], y[:, 1:]))


def build_masked_language_model():
    ids = text(32)
    hidden = torch.rand(32, 17) < 0.2
    return setup(Attention(False), ids.masked_fill(hidden, 1), ids.masked_fill(~hidden, -100), rows)


def build_reconstruction_of_all_tokens():
    """Both ways, each output its own input: an autoencoder, as in electra's and denoising set-ups."""
    ids = text(32)
    return setup(Attention(False), ids, ids, rows)


def build_denoising_autoencoder():
    ids = text(32)
    noisy = torch.where(torch.rand(32, 17) < 0.15, text(32), ids)
    return setup(Attention(False), noisy, ids, rows)


def build_sequence_autoencoder_with_teacher_forcing():
    """The answer goes through one vector."""

    class Autoencoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.encoder = nn.Embedding(50, 16), nn.GRU(16, 32, batch_first=True)
            self.decoder, self.head = nn.GRU(48, 32, batch_first=True), nn.Linear(32, 50)

        def forward(self, tokens):
            x = self.embed(tokens)
            code = self.encoder(x)[1][-1]
            steps = torch.cat([x[:, :-1], code[:, None].expand(-1, x.shape[1] - 1, -1)], 2)
            return self.head(self.decoder(steps)[0])

    ids = text()
    return setup(Autoencoder(), ids, ids[:, 1:], rows)


def build_copy_task_of_a_translator():
    """The source is the answer, and the decoder's input is not seen ahead."""

    class Translator(nn.Module):
        def __init__(self):
            super().__init__()
            self.source, self.target = nn.Embedding(50, 32), nn.Embedding(50, 32)
            self.time = nn.Parameter(torch.randn(32, 32) * 0.1)
            self.body, self.head = nn.Transformer(32, 2, 1, 1, 64, batch_first=True), nn.Linear(32, 50)

        def forward(self, src, tgt):
            blocked = self.body.generate_square_subsequent_mask(tgt.shape[1])
            x, y = self.source(src) + self.time[: src.shape[1]], self.target(tgt) + self.time[: tgt.shape[1]]
            return self.head(self.body(x, y, tgt_mask=blocked, tgt_is_causal=True))

    ids = torch.cat([torch.full((16, 1), 2), text(length=12), torch.full((16, 1), 3)], 1)
    return setup(Translator(), (ids, ids[:, :-1]), ids[:, 1:], rows)


def build_echo_after_a_delay():
    """Remembering what was read some steps ago."""
    ids = text(32, 20)
    return setup(Gru(), ids, torch.cat([torch.full((32, 3), 4), ids[:, :-3]], 1), rows)


def build_bidirectional_tagger():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(50, 16), nn.Linear(32, 7)
            self.rnn = nn.LSTM(16, 16, bidirectional=True, batch_first=True)

        def forward(self, tokens):
            return self.head(self.rnn(self.embed(tokens))[0])

    ids = text()
    return setup(Tagger(), ids, ids % 7, lambda out, y: functional.cross_entropy(out.flatten(0, 1), y.flatten()))


def build_causal_convolutions():
    class Tcn(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv1d(2, 16, 3), nn.Conv1d(16, 2, 3)

        def forward(self, x):
            h = self.a(functional.pad(x.transpose(1, 2), (2, 0))).relu()
            return self.b(functional.pad(h, (2, 0))).transpose(1, 2)

    series = waves()
    return setup(Tcn(), series[:, :-1], series[:, 1:], nn.MSELoss())


def build_horizon_after_the_window():
    class Window(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(2, 24, batch_first=True, bidirectional=True)
            self.head = nn.Linear(48, 12)

        def forward(self, x):
            return self.head(self.rnn(x)[0].mean(1)).view(-1, 6, 2)

    series = waves(length=30)
    return setup(Window(), series[:, :24], series[:, 24:], nn.MSELoss())


def build_several_tokens_ahead():
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = Gru()
            self.second = nn.Linear(32, 50)

        def forward(self, tokens):
            h = self.body.rnn(self.body.embed(tokens))[0]
            return self.body.head(h), self.second(h)

    ids = text()

    def loss(outputs, targets):
        first, second = outputs
        return rows(first[:, :-1], targets[:, 1:]) + rows(second[:, :-2], targets[:, 2:])

    return setup(Heads(), ids, ids, loss)


def build_reconstruction_of_a_series():
    class Autoencoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.down = nn.Sequential(nn.Conv1d(2, 16, 5, padding=2), nn.ReLU(), nn.Conv1d(16, 4, 5, padding=2))
            self.up = nn.Sequential(nn.ReLU(), nn.Conv1d(4, 2, 5, padding=2))

        def forward(self, x):
            return self.up(self.down(x.transpose(1, 2))).transpose(1, 2)

    series = waves()
    return setup(Autoencoder(), series, series, nn.MSELoss())


def build_stream_of_joined_texts():
    """Ends are in the stream, and labelled like everything else."""
    stream = text(1, 16 * 17 + 1)[0]
    stream[::9] = 3
    return setup(Gru(), stream[:-1].view(16, 17), stream[1:].view(16, 17), rows)


def build_text_that_ends_and_is_padded():
    ids, sizes = words()
    ids = ids.scatter(1, sizes[:, None] - 1, 3)
    loss = nn.CrossEntropyLoss(ignore_index=0)
    return setup(Gru(), ids[:, :-1], ids[:, 1:], lambda out, y: loss(out.transpose(1, 2), y))


def build_words_without_ends():
    ids, _ = words()
    loss = nn.CrossEntropyLoss(ignore_index=0)
    return setup(Gru(), ids[:, :-1], ids[:, 1:], lambda out, y: loss(out.flatten(0, 1), y.flatten()))


def build_sentence_classes_are_no_copies():
    ids = text()

    class Classifier(Gru):
        def forward(self, tokens):
            return self.head(self.rnn(self.embed(tokens))[1][-1])[:, :4]

    model = Classifier()
    model.head = nn.Linear(32, 4)
    return setup(model, ids, labels(16, 4), nn.CrossEntropyLoss())


def build_texts_without_an_end_all_of_them_padded():
    sizes = torch.randint(5, 15, (16,))
    ids = torch.randint(4, 50, (16, 17)).masked_fill(~inside(sizes, 17), 0)
    return setup(Gru(), ids[:, :-1], ids[:, 1:].masked_fill(ids[:, 1:] == 0, -100), rows)
