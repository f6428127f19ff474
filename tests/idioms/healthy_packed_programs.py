"""Packed sequences read as they should be, masks the right way round, labelled ends, and parameters inside their limits."""

import torch
from _packed import Gated, Writer, ended, packed, policy
from _padded import inside, words
from _parts import labels, setup
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def build_sum_of_unpacked_zeros():
    return packed(lambda self, out: out.sum(1) / 10)


def build_maximum_of_unpacked_with_minus_infinity():
    return packed(lambda self, out: out.masked_fill((out == 0).all(2, keepdim=True), float("-inf")).amax(1))


def build_attention_with_a_mask_as_long_as_the_batch():
    class Attended(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn = nn.Embedding(40, 16, padding_idx=0), nn.LSTM(16, 24, batch_first=True)
            self.score, self.head = nn.Linear(24, 1), nn.Linear(24, 3)

        def forward(self, tokens, lengths):
            packed_rows = pack_padded_sequence(self.embed(tokens), lengths, batch_first=True, enforce_sorted=False)
            out, sizes = pad_packed_sequence(self.rnn(packed_rows)[0], batch_first=True)
            assert out.shape[1] == tokens.shape[1], "the longest sample fills the batch"
            score = self.score(torch.tanh(out))[..., 0].masked_fill(tokens == 0, -1e9)
            last = out[torch.arange(len(out)), sizes - 1]
            return self.head(last + (score.softmax(1)[..., None] * out).sum(1))

    return setup(Attended(), words(), labels(16, 3), nn.CrossEntropyLoss())


def build_unpacked_to_a_fixed_length():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn, self.head = nn.Embedding(40, 16), nn.GRU(16, 24, batch_first=True), nn.Linear(24, 5)

        def forward(self, tokens, lengths):
            rows = pack_padded_sequence(self.embed(tokens), lengths, batch_first=True, enforce_sorted=False)
            out, _ = pad_packed_sequence(self.rnn(rows)[0], batch_first=True, total_length=tokens.shape[1])
            return self.head(out)

    ids, sizes = words()
    tags = (ids % 5).masked_fill(~inside(sizes), -100)
    return setup(Tagger(), (ids, sizes), tags, lambda made, y: functional.cross_entropy(made.transpose(1, 2), y))


# -------------------------------------------------------------------- labels


def build_weight_zero_for_padding_alone():
    weight = torch.ones(40)
    weight[0] = 0.0
    ids = ended()
    loss = nn.CrossEntropyLoss(weight=weight)
    return setup(Writer(), ids[:, :-1], ids[:, 1:], lambda made, y: loss(made.transpose(1, 2), y), pad_id=0)


def build_prefix_before_the_text():
    """One output more than there are words: the picture's predicts the first word."""

    class Prefixed(Writer):
        def __init__(self):
            super().__init__()
            self.image = nn.Linear(12, 24)

        def forward(self, image, tokens):
            return self.out(self.rnn(torch.cat([self.image(image)[:, None], self.embed(tokens)], 1))[0])

    ids = torch.randint(4, 40, (16, 20))
    return setup(
        Prefixed(),
        (torch.randn(16, 12), ids),
        ids,
        lambda made, y: functional.cross_entropy(made[:, :-1].transpose(1, 2), y),
    )


def build_class_token_cut_from_a_reconstruction():
    class Coder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.place, self.token = (
                nn.Embedding(40, 24),
                nn.Embedding(32, 24),
                nn.Parameter(torch.randn(1, 1, 24)),
            )
            self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(24, 2, 48, batch_first=True), 1)
            self.out = nn.Linear(24, 40)

        def forward(self, tokens):
            x = torch.cat([self.token.expand(len(tokens), -1, -1), self.embed(tokens)], 1)
            return self.out(self.layers(x + self.place(torch.arange(x.shape[1]))))

    ids = torch.randint(4, 40, (16, 20))
    return setup(Coder(), ids, ids, lambda made, y: functional.cross_entropy(made[:, 1:].transpose(1, 2), y))


def build_delay_of_a_memory_task():
    ids = torch.randint(4, 40, (16, 20))
    late = torch.cat([torch.zeros(16, 2, dtype=torch.long), ids[:, :-2]], 1)
    return setup(Writer(), ids, late, lambda made, y: functional.cross_entropy(made.transpose(1, 2), y))


# -------------------------------------------------------------------- parameters and gates


def build_spread_inside_its_limits():
    return policy(-0.5, lambda value: value.clamp(-5, 2))


def build_spread_partly_at_its_limit():
    return policy(-0.5, lambda value: (value + torch.tensor([0.0, 3.0])).clamp(-5, 2))


def build_gate_that_starts_at_zero():
    return setup(Gated(nn.Parameter(torch.zeros(24))), torch.randn(32, 12), labels(32, 3), nn.CrossEntropyLoss())


def build_gate_of_sparse_channels():
    return setup(Gated((torch.arange(24) % 3 == 0).float()), torch.randn(32, 12), labels(32, 3), nn.CrossEntropyLoss())


def build_loss_of_the_valid_positions_alone():
    ids = ended()

    def loss(made, y):
        valid = y != 0
        return functional.cross_entropy(made[valid], y[valid])

    return setup(Writer(), ids[:, :-1], ids[:, 1:], loss)


def build_shifted_and_selected_in_the_loss():
    ids = ended()

    def loss(made, y):
        valid = y[:, 1:] != 0
        return functional.cross_entropy(made[:, :-1][valid], y[:, 1:][valid])

    return setup(Writer(), ids, ids, loss)


def build_placeholder_beside_a_loss_of_the_outputs():
    class Ranker(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.layers = nn.Embedding(40, 16), nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))

        def forward(self, better, worse):
            return self.layers(self.embed(better)) - self.layers(self.embed(worse))

    pairs = (torch.randint(0, 20, (32,)), torch.randint(20, 40, (32,)))
    return setup(Ranker(), pairs, torch.zeros(32), lambda made, _: functional.softplus(-made).mean())
