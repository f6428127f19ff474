"""Packed sequences that are unpacked and read to the end, inverted masks, ends and shifts of labels, parameters in flat parts."""

import torch
from _packed import Gated, Writer, ended, packed, policy
from _padded import inside, words
from _parts import labels, setup
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

# -------------------------------------------------------------------- unpacked, and read to the end


def build_last_position_of_unpacked():  # expect: ARC032
    def read(self, out):
        return out[:, -1]  # <- ARC032

    return packed(read)


def build_mean_of_unpacked():  # expect: ARC032
    def read(self, out):
        return torch.mean(out, dim=1)  # <- ARC032

    return packed(read)


def build_attention_over_unpacked():  # expect: ARC032
    def read(self, out):
        weights = (out * self.head.weight[0]).sum(-1).softmax(dim=1)  # <- ARC032
        return torch.einsum("bt,btd->bd", weights, out)

    return packed(read)


def build_decoder_over_unpacked():  # expect: ARC032
    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.source, self.target = nn.Embedding(40, 16), nn.Embedding(40, 16)
            self.encoder, self.cell = nn.LSTM(16, 16), nn.GRUCell(32, 16)
            self.score, self.out = nn.Linear(32, 1), nn.Linear(16, 40)

        def forward(self, source, lengths, target):
            packed = pack_padded_sequence(self.source(source), lengths, enforce_sorted=False)
            memory, (state, _) = self.encoder(packed)
            memory, h, made = pad_packed_sequence(memory)[0], state[0], []
            for token in target:
                energy = self.score(torch.cat([h.expand_as(memory), memory], 2))
                context = (energy.softmax(0) * memory).sum(0)  # <- ARC032
                h = self.cell(torch.cat([self.target(token), context], 1), h)
                made.append(self.out(h))
            return torch.stack(made)

    ids, sizes = words()
    copied = ids[:, :6].t()

    def loss(made, target):
        return functional.cross_entropy(made.flatten(0, 1), target.flatten(), ignore_index=0)

    return setup(Decoder(), (ids.t(), sizes, copied[:-1]), copied[1:], loss)


# -------------------------------------------------------------------- inverted: full samples have no key left


def build_inverted_mask_of_pooling():  # expect: ARC032 error at attention
    class Pool(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.place = nn.Embedding(40, 16), nn.Embedding(64, 16)
            self.query, self.head = nn.Parameter(torch.randn(1, 2, 16)), nn.Linear(32, 3)
            self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, tokens, mask):
            x = self.embed(tokens) + self.place(torch.arange(tokens.shape[1]))
            query = self.query.expand(len(x), -1, -1)
            return self.head(self.attention(query, x, x, key_padding_mask=mask)[0].flatten(1))

    ids, sizes = words()
    return setup(Pool(), (ids, inside(sizes, ids.shape[1])), labels(16, 3), nn.CrossEntropyLoss())


# -------------------------------------------------------------------- ends and shifts of labels


def build_end_of_weight_zero():  # expect: LOS030
    weight = torch.ones(40)
    weight[[0, 2]] = 0.0
    ids = ended()
    loss = nn.CrossEntropyLoss(weight=weight)
    compared = lambda made, y: loss(made.transpose(1, 2), y)  # <- LOS030
    return setup(Writer(), ids[:, :-1], ids[:, 1:], compared, pad_id=0)


def build_end_replaced_by_padding():  # expect: LOS030
    ids = ended()
    target = ids[:, 1:].masked_fill(ids[:, 1:] == 2, 0)

    def loss(made, y):
        return functional.cross_entropy(made.flatten(0, 1), y.flatten(), ignore_index=0)  # <- LOS030

    return setup(Writer(), ids[:, :-1], target, loss)


def build_first_logits_cut_instead_of_last():  # expect: LOS029
    ids = torch.randint(4, 40, (16, 20))

    def loss(made, y):
        return functional.cross_entropy(made[:, 1:].reshape(-1, 40), y[:, :-1].reshape(-1))  # <- LOS029

    return setup(Writer(), ids, ids, loss)


def build_step_fed_what_it_predicts():  # expect: ARC018
    class Captions(nn.Module):
        def __init__(self):
            super().__init__()
            self.image, self.embed = nn.Linear(12, 24), nn.Embedding(40, 24)
            self.cell, self.out = nn.LSTMCell(24, 24), nn.Linear(24, 40)

        def forward(self, image, text):
            h = c = torch.tanh(self.image(image))
            made = []
            for step in range(1, text.shape[1]):
                h, c = self.cell(self.embed(text[:, step]), (h, c))  # <- ARC018
                made.append(self.out(h))
            return torch.stack(made, 1)

    text = torch.randint(4, 40, (16, 10))
    return setup(
        Captions(),
        (torch.randn(16, 12), text),
        text[:, 1:],
        lambda made, y: functional.cross_entropy(made.transpose(1, 2), y),
    )


# -------------------------------------------------------------------- parameters whose gradient is zero whatever the data are


def build_spread_above_its_limit():  # expect: GRD003
    return policy(3.0, lambda value: value.clamp(-5, 2))  # <- GRD003


def build_spread_rectified_below_zero():  # expect: GRD003
    return policy(-1.0, torch.relu)  # <- GRD003


def build_gate_times_zero():  # expect: GRD003 at gate
    return setup(Gated(0), torch.randn(32, 12), labels(32, 3), nn.CrossEntropyLoss())


def build_gate_times_a_tensor_of_zeros():  # expect: GRD003 at gate
    return setup(Gated(torch.zeros(24)), torch.randn(32, 12), labels(32, 3), nn.CrossEntropyLoss())
