"""Padding that is read, or counted by the loss."""

import math

import torch
from _padded import inside, series, words
from _parts import labels, setup
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

# -------------------------------------------------------------------- padding that is read


def build_state_after_the_padding():  # expect: ARC032
    class Sentiment(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(40, 16, padding_idx=0)
            self.lstm = nn.LSTM(16, 24, batch_first=True)
            self.head = nn.Linear(24, 3)

        def forward(self, tokens):
            out, _ = self.lstm(self.embed(tokens))
            return self.head(out[:, -1])  # <- ARC032

    ids, _ = words()
    return setup(Sentiment(), ids, labels(16, 3), nn.CrossEntropyLoss())


def build_final_hidden_state_with_lengths_left_aside():  # expect: ARC032
    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru, self.head = nn.GRU(3, 24, batch_first=True, num_layers=2), nn.Linear(24, 4)

        def forward(self, x, lengths):
            h = self.gru(x)[1][-1]  # <- ARC032
            return self.head(h / lengths[:, None].float().sqrt())

    values, sizes = series()
    return setup(Classifier(), (values, sizes), labels(16, 4), nn.CrossEntropyLoss())


def build_mean_over_all_positions():  # expect: ARC032
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.layers = (
                nn.Embedding(40, 16),
                nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3)),
            )

        def forward(self, tokens):
            return self.layers(self.embed(tokens).mean(dim=1))  # <- ARC032

    ids, _ = words()
    return setup(Bag(), ids, labels(16, 3), nn.CrossEntropyLoss())


def build_bidirectional_tagger_without_packing():  # expect: ARC032 at rnn
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(40, 16, padding_idx=0)
            self.rnn = nn.LSTM(16, 16, bidirectional=True, batch_first=True)
            self.head = nn.Linear(32, 6)

        def forward(self, tokens):
            return self.head(self.rnn(self.embed(tokens))[0])

    ids, _ = words()
    tags = torch.where(ids > 0, ids % 6, -100)
    return setup(Tagger(), ids, tags, lambda out, y: functional.cross_entropy(out.flatten(0, 1), y.flatten()))


def build_encoder_that_gets_no_mask():  # expect: ARC032
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.position = nn.Embedding(40, 16), nn.Embedding(20, 16)
            layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(16, 3)

        def forward(self, tokens):
            x = self.embed(tokens) + self.position.weight[: tokens.shape[1]]
            return self.head(self.encoder(x)[:, 0])  # <- ARC032

    ids, _ = words()
    return setup(Encoder(), ids, labels(16, 3), nn.CrossEntropyLoss())


def build_inverted_key_padding_mask():  # expect: ARC032
    class Attentive(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.place = nn.Embedding(40, 16), nn.Parameter(torch.randn(20, 16))
            self.attention, self.norm = nn.MultiheadAttention(16, 2, batch_first=True), nn.LayerNorm(16)
            self.query, self.head = nn.Parameter(torch.randn(1, 1, 16)), nn.Linear(16, 3)

        def forward(self, tokens, mask):
            x = self.embed(tokens) + self.place[: tokens.shape[1]]
            pooled, _ = self.attention(self.query.expand(len(x), -1, -1), x, x, key_padding_mask=mask)  # <- ARC032
            return self.head(self.norm(pooled[:, 0]))

    ids, sizes = words()
    ids[:, -2:] = 0  # every sample is padded: none is without a key
    return setup(Attentive(), (ids, inside(sizes.clamp(max=18))), labels(16, 3), nn.CrossEntropyLoss())


def build_fused_attention_with_a_mask_along_queries():  # expect: ARC032
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out, self.norm = nn.Linear(16, 48), nn.Linear(16, 16), nn.LayerNorm(16)

        def forward(self, x, mask):
            b, n, d = x.shape
            q, k, v = self.qkv(self.norm(x)).reshape(b, n, 3, 2, d // 2).permute(2, 0, 3, 1, 4)
            bias = torch.zeros(b, 1, n, n).masked_fill(~mask[:, None, :, None], -1e4)
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)  # <- ARC032
            return x + self.out(mixed.transpose(1, 2).reshape(b, n, d))

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.lift, self.block, self.head = nn.Linear(3, 16), Block(), nn.Linear(16, 4)

        def forward(self, x, mask):
            h = self.block(self.lift(x), mask)
            return self.head((h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))

    values, sizes = series()
    return setup(Reader(), (values, inside(sizes, 24)), labels(16, 4), nn.CrossEntropyLoss())


def build_cross_attention_without_memory_mask():  # expect: ARC032
    class Translator(nn.Module):
        def __init__(self):
            super().__init__()
            self.source, self.target = nn.Embedding(40, 16, padding_idx=0), nn.Embedding(40, 16, padding_idx=0)
            self.time = nn.Parameter(torch.randn(20, 16) * 0.1)
            self.body = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
            self.head = nn.Linear(16, 40)

        def forward(self, src, tgt):
            blocked = torch.triu(torch.ones(tgt.shape[1], tgt.shape[1], dtype=torch.bool), 1)
            memory = self.body.encoder(self.source(src) + self.time, src_key_padding_mask=src == 0)
            x = self.target(tgt) + self.time[: tgt.shape[1]]
            return self.head(self.body.decoder(x, memory, tgt_mask=blocked, tgt_key_padding_mask=tgt == 0))  # <- ARC032

    src, _ = words()
    tgt, _ = words(longest=14)
    loss = nn.CrossEntropyLoss(ignore_index=0)
    return setup(Translator(), (src, tgt[:, :-1]), tgt[:, 1:], lambda out, y: loss(out.transpose(1, 2), y))


def build_additive_attention_over_the_padding():  # expect: ARC032
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
            h, made = h[-1], []
            for step in self.target(tgt).unbind(1):
                weights = self.v(torch.tanh(self.w(memory) + self.u(h)[:, None])).softmax(dim=1)  # <- ARC032
                h = self.cell(torch.cat([step, (weights * memory).sum(1)], 1), h)
                made.append(self.head(h))
            return torch.stack(made, 1)

    src, sizes = words()
    tgt, _ = words(longest=10)
    loss = nn.CrossEntropyLoss(ignore_index=0)
    return setup(Seq2Seq(), (src, sizes, tgt[:, :-1]), tgt[:, 1:], lambda out, y: loss(out.flatten(0, 1), y.flatten()))


def build_set_summed_with_its_padding():  # expect: ARC032
    class DeepSet(nn.Module):
        def __init__(self):
            super().__init__()
            self.phi = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 32))
            self.rho = nn.Sequential(nn.ReLU(), nn.Linear(32, 1))

        def forward(self, points, count):
            return self.rho(self.phi(points).sum(1) / count[:, None])[:, 0]  # <- ARC032

    values, sizes = series(32)
    return setup(DeepSet(), (values, sizes), values.sum((1, 2)) / 20, nn.MSELoss())


def build_loop_of_cells_through_the_padding():  # expect: ARC032
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.GRUCell(3, 24), nn.Linear(24, 4)

        def forward(self, x):
            h = x.new_zeros(len(x), 24)
            for t in range(x.shape[1]):
                h = self.cell(x[:, t], h)  # <- ARC032
            return self.head(h)

    values, _ = series()
    return setup(Loop(), values, labels(16, 4), nn.CrossEntropyLoss())


def build_graph_of_words_read_time_first():  # expect: ARC032
    class TimeMajor(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn, self.head = nn.Embedding(40, 16, padding_idx=1), nn.LSTM(16, 24), nn.Linear(24, 2)

        def forward(self, text):
            out, (h, c) = self.rnn(self.embed(text))
            return self.head(h[-1])  # <- ARC032

    ids, _ = words(pad=1)
    return setup(TimeMajor(), ids.t().contiguous(), labels(16, 2), nn.CrossEntropyLoss())


def build_hand_written_blocks_with_an_einsum_and_no_mask():  # expect: ARC032
    class Einsum(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.place = nn.Embedding(40, 16), nn.Parameter(torch.randn(1, 20, 16) * 0.1)
            self.q, self.k, self.v = (nn.Linear(16, 16, bias=False) for _ in range(3))
            self.mlp = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
            self.head = nn.Linear(16, 3)

        def forward(self, tokens):
            x = self.embed(tokens) + self.place  # one length only: cannot be run on shorter sequences
            q, k, v = (f(x).view(*x.shape[:2], 4, 4) for f in (self.q, self.k, self.v))
            weights = torch.einsum("bihd,bjhd->bhij", q, k).div(math.sqrt(4)).softmax(-1)  # <- ARC032
            x = x + torch.einsum("bhij,bjhd->bihd", weights, v).flatten(2)
            return self.head((x + self.mlp(x))[:, 0])

    ids, _ = words()
    return setup(Einsum(), ids, labels(16, 3), nn.CrossEntropyLoss())


# -------------------------------------------------------------------- padding that is counted


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(40, 16), nn.GRU(16, 32, batch_first=True), nn.Linear(32, 40)

    def forward(self, tokens):
        return self.head(self.rnn(self.embed(tokens))[0])


def build_language_model_that_learns_to_pad():  # expect: LOS028
    ids, _ = words()

    def loss(logits, targets):
        return functional.cross_entropy(logits.reshape(-1, 40), targets.reshape(-1))  # <- LOS028

    return setup(Language(), ids[:, :-1], ids[:, 1:], loss)


def build_tags_of_padding_count_as_outside():  # expect: LOS028
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(40, 16, padding_idx=0)
            self.rnn, self.head = nn.LSTM(16, 24, batch_first=True), nn.Linear(24, 5)

        def forward(self, tokens):
            return self.head(self.rnn(self.embed(tokens))[0]).movedim(-1, 1)

    ids, _ = words()
    return setup(Tagger(), ids, (ids % 5) * (ids > 0), nn.CrossEntropyLoss())


def build_masked_loss_that_forgets_the_mask():  # expect: LOS028
    class Forecast(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(3, 24, batch_first=True), nn.Linear(24, 3)

        def forward(self, x, lengths):
            out, _ = self.rnn(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
            return self.head(pad_packed_sequence(out, batch_first=True, total_length=x.shape[1])[0])

    values, sizes = series()
    following = torch.cat([values[:, 1:], values[:, :1] * 0], 1)
    following = following * inside(sizes - 1, 24)[..., None]
    return setup(Forecast(), (values, sizes), following, lambda out, y: (out - y).square().mean())  # <- LOS028


def build_hand_written_cross_entropy_over_padding():  # expect: LOS028
    ids, _ = words()

    def loss(logits, targets):
        rows = logits.reshape(-1, 40).log_softmax(-1)
        chosen = rows.gather(-1, targets.reshape(-1, 1))
        return -chosen.mean()  # <- LOS028

    return setup(Language(), ids[:, :-1], ids[:, 1:], loss)


def build_time_first_targets_in_one_row():  # expect: LOS028
    class TimeMajor(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn, self.head = nn.Embedding(40, 16, padding_idx=1), nn.LSTM(16, 32), nn.Linear(32, 40)

        def forward(self, text):
            return self.head(self.rnn(self.embed(text))[0])

    ids, _ = words(pad=1)
    text = ids.t().contiguous()

    def loss(output, target):
        return functional.cross_entropy(output.view(-1, 40), target)  # <- LOS028

    return setup(TimeMajor(), text[:-1], text[1:].reshape(-1), loss)


# -------------------------------------------------------------------- the end is the padding


def build_mean_over_ends_that_fill_the_texts():  # expect: ARC032
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn, self.head = nn.Embedding(40, 16), nn.GRU(16, 24, batch_first=True), nn.Linear(24, 3)

        def forward(self, tokens):
            return self.head(self.rnn(self.embed(tokens))[0].mean(1))  # <- ARC032

    ids, sizes = words(pad=2)
    ids = torch.cat([ids, torch.full((len(ids), 1), 2)], 1)
    return setup(Mean(), ids, labels(len(ids), 3), nn.CrossEntropyLoss())
