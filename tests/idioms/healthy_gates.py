"""Gates, experts and checkpoints that pass their gradient, and zeros that come of the data."""

import torch
from _parts import classifier, labels, setup, table
from faulty_gates import Around, Checkpointed, Context, Gathered, InSegments, Renormalized, Scaled, experts
from torch import nn
from torch.nn import functional


def build_two_chosen_experts_renormalized():
    return classifier(Around(Renormalized(2)), table())


def build_share_of_the_one_chosen_expert():
    return classifier(Around(Gathered(1, after=False)), table())


def build_softmax_over_two_chosen_scores():
    return classifier(Around(Gathered(2, after=True)), table())


def build_attention_to_three_tokens():
    return classifier(Around(Context(3)), table())


def build_branch_that_starts_at_zero():
    class Gated(Scaled):
        def __init__(self):
            super().__init__(lambda y: y * self.alpha)
            self.alpha = nn.Parameter(torch.zeros(1))

    return classifier(Around(Gated()), table())


class Sparse(nn.Module):
    """Of six experts the router takes the first two for all samples of the batch."""

    def __init__(self, combine):
        super().__init__()
        self.gate, self.experts, self.combine = nn.Linear(32, 6), experts(6), combine
        self.gate.bias.data = torch.tensor([9.0, 8.0, 0.0, 0.0, 0.0, 0.0])

    def forward(self, h):
        return self.combine(self.gate(h).softmax(-1), self.experts, h)


def by_mask(shares, parts, h):
    top, index = shares.topk(2, -1)
    return sum((top * (index == number)).sum(-1, keepdim=True) * part(h) for number, part in enumerate(parts))


def by_rows(shares, parts, h):
    top, index = shares.max(-1)
    out = torch.zeros_like(h)
    for number, part in enumerate(parts):
        rows = index == number
        if rows.any():
            out[rows] = top[rows][:, None] * part(h[rows])
    return out


def by_one_hot(shares, parts, h):
    chosen = functional.one_hot(shares.argmax(-1), 6)
    return ((chosen * shares)[..., None] * torch.stack([part(h) for part in parts], 1)).sum(1)


def build_idle_experts_under_a_mask():
    return classifier(Around(Sparse(by_mask)), table())


def build_idle_experts_without_rows():
    return classifier(Around(Sparse(by_rows)), table())


def build_idle_experts_under_a_one_hot():
    return classifier(Around(Sparse(by_one_hot)), table())


def build_head_that_no_sample_is_for():
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.heads = nn.Linear(20, 32), nn.ModuleList(nn.Linear(32, 5) for _ in range(3))

        def forward(self, x):
            h = torch.relu(self.first(x))
            return torch.stack([head(h) for head in self.heads], 1)[torch.arange(len(x)), torch.zeros(len(x)).long()]

    return classifier(Heads(), table())


def build_positions_without_a_label():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head, self.other = nn.Linear(20, 32), nn.Linear(32, 5), nn.Linear(32, 5)

        def forward(self, x):
            h = torch.relu(self.first(x))
            return torch.stack([self.head(h), self.other(h)], 2)

    return setup(Two(), table(), torch.stack([labels(64), torch.full((64,), -100)], 1), nn.CrossEntropyLoss())


def build_reentrant_checkpoint():
    return classifier(Checkpointed(reentrant=True, frozen=False), table())


def build_checkpoint_behind_a_frozen_stem():
    return classifier(Checkpointed(reentrant=False, frozen=True), table())


def build_segments_from_the_input_on():
    return classifier(InSegments(reentrant=False), table())
