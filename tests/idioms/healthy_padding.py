"""Padded batches treated as they should be, and batches that only look padded."""

import math

import torch
from _padded import inside, series, words
from _parts import labels, setup
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def build_packed_lstm():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(40, 16, padding_idx=0)
            self.lstm, self.head = nn.LSTM(16, 24, batch_first=True, bidirectional=True), nn.Linear(48, 3)

        def forward(self, tokens, lengths):
            packed = pack_padded_sequence(self.embed(tokens), lengths.cpu(), batch_first=True, enforce_sorted=False)
            _, (h, _) = self.lstm(packed)
            return self.head(torch.cat([h[-2], h[-1]], 1))

    return setup(Packed(), words(), labels(16, 3), nn.CrossEntropyLoss())


def build_gathered_last_valid_state():
    class Gathered(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.gru, self.head = nn.Embedding(40, 16), nn.GRU(16, 24, batch_first=True), nn.Linear(24, 3)

        def forward(self, tokens):
            last = (tokens != 0).sum(1) - 1
            out, _ = self.gru(self.embed(tokens))
            return self.head(out.gather(1, last[:, None, None].expand(-1, 1, 24))[:, 0])

    ids, _ = words()
    return setup(Gathered(), ids, labels(16, 3), nn.CrossEntropyLoss())


def build_masked_mean_of_embeddings():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(40, 16), nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))

        def forward(self, tokens):
            mask = tokens.ne(0).float().unsqueeze(-1)
            return self.head((self.embed(tokens) * mask).sum(1) / mask.sum(1).clamp(min=1))

    ids, _ = words()
    return setup(Bag(), ids, labels(16, 3), nn.CrossEntropyLoss())


def build_sum_of_zero_rows():
    """The row of the padding is zero, so that a sum over all positions does not see it."""

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(40, 16, padding_idx=0), nn.Linear(16, 3)

        def forward(self, tokens):
            return self.head(self.embed(tokens).sum(1) / 4)

    ids, _ = words()
    return setup(Sum(), ids, labels(16, 3), nn.CrossEntropyLoss())


class Layers(nn.Module):
    def __init__(self, time):
        super().__init__()
        self.embed, self.time = nn.Embedding(40, 16, padding_idx=0), time
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens):
        x = self.embed(tokens) + self.time[: tokens.shape[1]]
        return self.head(self.encoder(x, src_key_padding_mask=tokens == 0)[:, 0])


def build_encoder_with_its_padding_mask():
    ids, _ = words()
    return setup(Layers(nn.Parameter(torch.randn(20, 16) * 0.1)), ids, labels(16, 3), nn.CrossEntropyLoss())


def build_encoder_of_one_fixed_length():
    class Fixed(Layers):
        def forward(self, tokens):
            x = self.embed(tokens) + self.time
            return self.head(self.encoder(x, src_key_padding_mask=tokens == 0)[:, 0])

    ids, _ = words()
    return setup(Fixed(nn.Parameter(torch.randn(20, 16) * 0.1)), ids, labels(16, 3), nn.CrossEntropyLoss())


def build_translator_with_all_its_masks():
    class Translator(nn.Module):
        def __init__(self):
            super().__init__()
            self.source, self.target = nn.Embedding(40, 16, padding_idx=0), nn.Embedding(40, 16, padding_idx=0)
            self.time = nn.Parameter(torch.randn(20, 16) * 0.1)
            self.body, self.head = nn.Transformer(16, 2, 1, 1, 32, batch_first=True), nn.Linear(16, 40)

        def forward(self, src, tgt):
            blocked = torch.triu(torch.ones(tgt.shape[1], tgt.shape[1], dtype=torch.bool), 1)
            x, y = self.source(src) + self.time[: src.shape[1]], self.target(tgt) + self.time[: tgt.shape[1]]
            hidden = self.body(
                x, y, tgt_mask=blocked, src_key_padding_mask=src == 0, tgt_key_padding_mask=tgt == 0,
                memory_key_padding_mask=src == 0,
            )  # fmt: skip
            return self.head(hidden)

    src, _ = words()
    tgt, _ = words()
    loss = nn.CrossEntropyLoss(ignore_index=0)
    return setup(Translator(), (src, tgt[:, :-1]), tgt[:, 1:], lambda out, y: loss(out.transpose(1, 2), y))


def build_attention_by_hand_with_a_large_negative_number():
    class Hand(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.qkv, self.head = nn.Embedding(40, 16), nn.Linear(16, 48), nn.Linear(16, 3)
            self.out = nn.Linear(16, 16)

        def forward(self, tokens, mask):
            x = self.embed(tokens)
            q, k, v = self.qkv(x).chunk(3, -1)
            scores = torch.einsum("bid,bjd->bij", q, k) / math.sqrt(16) + (1.0 - mask[:, None, :]) * -1e9
            x = x + self.out(scores.softmax(-1) @ v)
            return self.head((x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))

    ids, sizes = words()
    return setup(Hand(), (ids, inside(sizes).float()), labels(16, 3), nn.CrossEntropyLoss())


def build_seq2seq_with_masked_additive_attention():
    class Seq2Seq(nn.Module):
        def __init__(self):
            super().__init__()
            self.source, self.target = nn.Embedding(40, 16, padding_idx=0), nn.Embedding(40, 16, padding_idx=0)
            self.encoder, self.cell = nn.GRU(16, 24, batch_first=True), nn.GRUCell(40, 24)
            self.w, self.u, self.v = nn.Linear(24, 24), nn.Linear(24, 24), nn.Linear(24, 1)
            self.head = nn.Linear(24, 40)

        def forward(self, src, lengths, tgt):
            packed = pack_padded_sequence(self.source(src), lengths, batch_first=True, enforce_sorted=False)
            out, h = self.encoder(packed)
            memory, _ = pad_packed_sequence(out, batch_first=True, total_length=src.shape[1])
            h, made, open_ = h[-1], [], (src != 0).unsqueeze(-1)
            for step in self.target(tgt).unbind(1):
                scores = self.v(torch.tanh(self.w(memory) + self.u(h)[:, None])).masked_fill(~open_, float("-inf"))
                h = self.cell(torch.cat([step, (scores.softmax(dim=1) * memory).sum(1)], 1), h)
                made.append(self.head(h))
            return torch.stack(made, 1)

    src, sizes = words()
    tgt, _ = words(longest=10)
    loss = nn.CrossEntropyLoss(ignore_index=0)
    return setup(Seq2Seq(), (src, sizes, tgt[:, :-1]), tgt[:, 1:], lambda out, y: loss(out.flatten(0, 1), y.flatten()))


def build_language_model_with_padding_after_the_text():
    """Causal: what comes after the text is seen by nothing that counts."""

    class Causal(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.time = nn.Embedding(40, 16), nn.Embedding(32, 16)
            self.qkv, self.out, self.head = nn.Linear(16, 48), nn.Linear(16, 16), nn.Linear(16, 40)

        def forward(self, tokens):
            x = self.embed(tokens) + self.time(torch.arange(tokens.shape[1]))
            q, k, v = self.qkv(x).chunk(3, -1)
            return self.head(x + self.out(functional.scaled_dot_product_attention(q, k, v, is_causal=True)))

    ids, _ = words()
    targets = ids[:, 1:].masked_fill(ids[:, 1:] == 0, -1)
    return setup(
        Causal(),
        ids[:, :-1],
        targets,
        lambda out, y: functional.cross_entropy(out.reshape(-1, 40), y.reshape(-1), ignore_index=-1),
    )


def build_masked_forecast():
    class Forecast(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(3, 24, batch_first=True), nn.Linear(24, 3)

        def forward(self, x):
            return self.head(self.rnn(x)[0])

    values, sizes = series()
    mask = inside(sizes - 1, 24)
    following = torch.cat([values[:, 1:], values[:, :1] * 0], 1) * mask[..., None]

    def loss(output, target):
        known = (target != 0).any(-1)
        return ((output - target).square().mean(-1) * known).sum() / known.sum()

    return setup(Forecast(), values, following, loss)


def build_deep_set_with_a_mask():
    class DeepSet(nn.Module):
        def __init__(self):
            super().__init__()
            self.phi = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 32))
            self.rho = nn.Sequential(nn.ReLU(), nn.Linear(32, 1))

        def forward(self, points, mask):
            return self.rho((self.phi(points) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))[:, 0]

    values, sizes = series(32)
    mask = inside(sizes, 24).float()
    return setup(DeepSet(), (values, mask), values.sum((1, 2)) / 20, nn.MSELoss(), declared={"set-input"})


def build_set_whose_mask_is_read_off_the_zeros():
    class DeepSet(nn.Module):
        def __init__(self):
            super().__init__()
            self.phi = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 32))
            self.rho = nn.Linear(32, 1)

        def forward(self, points):
            empty = points.abs().sum(-1) == 0
            return self.rho(self.phi(points).masked_fill(empty[..., None], float("-inf")).amax(1))[:, 0]

    values, _ = series(32)
    return setup(DeepSet(), values, values.sum((1, 2)) / 20, nn.MSELoss(), declared={"set-input"})


def build_cells_that_stop_at_the_end():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.GRUCell(3, 24), nn.Linear(24, 4)

        def forward(self, x, lengths):
            h = x.new_zeros(len(x), 24)
            for t in range(x.shape[1]):
                h = torch.where((t < lengths)[:, None], self.cell(x[:, t], h), h)
            return self.head(h)

    return setup(Loop(), series(), labels(16, 4), nn.CrossEntropyLoss())


def build_text_cnn():
    """A maximum over windows: a few of them lie in the padding, at most as an info."""

    class TextCnn(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(40, 16, padding_idx=0)
            self.convs = nn.ModuleList(nn.Conv1d(16, 12, width, padding=width // 2) for width in (3, 5))
            self.head = nn.Linear(24, 3)

        def forward(self, tokens):
            x = self.embed(tokens).transpose(1, 2)
            return self.head(torch.cat([conv(x).relu().amax(2) for conv in self.convs], 1))

    ids, _ = words()
    return setup(TextCnn(), ids, labels(16, 3), nn.CrossEntropyLoss())


def build_convolutions_and_a_masked_mean():
    class Frames(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Sequential(
                nn.Conv1d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv1d(16, 16, 3, padding=1), nn.ReLU()
            )
            self.head = nn.Linear(16, 4)

        def forward(self, x, mask):
            h = self.conv(x.transpose(1, 2)).transpose(1, 2) * mask[..., None]
            return self.head(h.sum(1) / mask.sum(1, keepdim=True))

    values, sizes = series()
    return setup(Frames(), (values, inside(sizes, 24).float()), labels(16, 4), nn.CrossEntropyLoss())


def build_perceptron_on_a_padded_window():
    """The whole window is one vector: a position without content is a feature that is zero."""

    class Window(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.body = nn.Embedding(40, 8), nn.Sequential(nn.Linear(160, 32), nn.ReLU(), nn.Linear(32, 3))

        def forward(self, tokens):
            return self.body(self.embed(tokens).flatten(1))

    ids, _ = words()
    return setup(Window(), ids, labels(16, 3), nn.CrossEntropyLoss())


def build_pooling_that_normalizes_by_a_learned_score():
    class Pooling(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.score, self.head = nn.GRU(3, 16, batch_first=True), nn.Linear(16, 1), nn.Linear(16, 4)

        def forward(self, x, lengths):
            out, _ = self.rnn(x)
            late = torch.arange(x.shape[1])[None, :] >= lengths[:, None]
            weights = self.score(out).squeeze(-1).masked_fill(late, torch.finfo(out.dtype).min).softmax(-1)
            return self.head(torch.bmm(weights[:, None], out)[:, 0])

    return setup(Pooling(), series(), labels(16, 4), nn.CrossEntropyLoss())


def build_pointer_network():
    class Pointer(nn.Module):
        def __init__(self):
            super().__init__()
            self.encode, self.query, self.key = nn.Linear(3, 16), nn.Linear(16, 16), nn.Linear(16, 16)

        def forward(self, x, mask):
            h = torch.tanh(self.encode(x))
            centre = (h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            scores = torch.einsum("bd,bnd->bn", self.query(centre), self.key(h)) / 4
            return scores.masked_fill(mask == 0, -1e9)

    values, sizes = series()
    return setup(
        Pointer(), (values, inside(sizes, 24).long()), labels(16, 5), nn.CrossEntropyLoss(), declared={"set-input"}
    )


def build_ctc_with_lengths():
    class Speech(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(3, 24, batch_first=True), nn.Linear(24, 7)

        def forward(self, x, lengths):
            out, _ = self.rnn(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
            out, _ = pad_packed_sequence(out, batch_first=True, total_length=x.shape[1])
            return self.head(out).log_softmax(-1).transpose(0, 1)

    values, sizes = series()
    written = torch.tensor([2, 3] * 8)
    letters = torch.randint(1, 7, (16, 3)) * inside(written, 3)
    letters[:, 1] = letters[:, 0] % 6 + 1
    letters[:, 2] = (letters[:, 1] % 6 + 1) * (written > 2)
    return setup(Speech(), (values, sizes), letters, lambda out, y: functional.ctc_loss(out, y, sizes, written))


# -------------------------------------------------------------------- what only looks like padding


def build_rows_of_pictures():
    """Digits as sequences of rows: blank ones above and below are part of the picture."""

    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.LSTM(16, 24, batch_first=True), nn.Linear(24, 4)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    pictures = torch.rand(32, 16, 16)
    for picture in pictures:
        top, bottom = torch.randint(1, 4, (2,)).tolist()
        picture[:top] = 0
        picture[16 - bottom :] = 0
    return setup(Rows(), pictures, labels(32, 4), nn.CrossEntropyLoss())


def build_counters_that_run_out():
    """Integers that may be zero anywhere."""

    class Counters(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn, self.head = nn.Embedding(6, 8), nn.GRU(8, 16, batch_first=True), nn.Linear(16, 3)

        def forward(self, x):
            return self.head(self.rnn(self.embed(x))[1][-1])

    return setup(Counters(), torch.randint(0, 6, (32, 12)), labels(32, 3), nn.CrossEntropyLoss())


# -------------------------------------------------------------------- the end is the padding


class FirstEnd(nn.Module):
    """The state at the end of a text, which is padded with more of it."""

    def __init__(self):
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(40, 16), nn.GRU(16, 24, batch_first=True), nn.Linear(24, 3)

    def forward(self, tokens):
        states = self.rnn(self.embed(tokens))[0]
        return self.head(states[torch.arange(len(tokens)), (tokens == 2).int().argmax(1)])


def build_state_at_the_first_end():
    ids, _ = words(pad=2)
    ids = torch.cat([ids, torch.full((len(ids), 1), 2)], 1)
    return setup(FirstEnd(), ids, labels(len(ids), 3), nn.CrossEntropyLoss())
