"""Gradients that never come: gates that normalize themselves, factors of zero, checkpoints without a gradient at their input."""

import torch
from _parts import classifier, table
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint, checkpoint_sequential


class Around(nn.Module):
    """A residual branch between two layers."""

    def __init__(self, branch):
        super().__init__()
        self.first, self.branch, self.last = nn.Linear(20, 32), branch, nn.Linear(32, 5)

    def forward(self, x):
        h = torch.relu(self.first(x))
        return self.last(h + self.branch(h))


def experts(count):
    return nn.ModuleList(nn.Sequential(nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 32)) for _ in range(count))


class Renormalized(nn.Module):
    """The weights of the chosen experts are divided by their sum, also where one is chosen."""

    def __init__(self, chosen):
        super().__init__()
        self.gate, self.experts, self.chosen = nn.Linear(32, 4), experts(4), chosen

    def forward(self, h):
        weights, index = self.gate(h).softmax(-1).topk(self.chosen, -1)
        weights = weights / weights.sum(-1, keepdim=True)  # <- GRD003
        combined = torch.zeros(len(h), 4).scatter(1, index, weights)
        return torch.einsum("be,bed->bd", combined, torch.stack([expert(h) for expert in self.experts], 1))


class Gathered(nn.Module):
    """Weights of experts in one tensor, looked up by index."""

    def __init__(self, chosen, *, after):
        super().__init__()
        self.router, self.weight = nn.Parameter(0.2 * torch.randn(32, 4)), nn.Parameter(0.1 * torch.randn(4, 32, 32))
        self.chosen, self.after = chosen, after

    def forward(self, h):
        scores = h @ self.router
        top, index = torch.topk(scores, self.chosen)
        share = functional.softmax(top, 1) if self.after else functional.softmax(scores, 1).gather(1, index)  # <- GRD003
        return (share[..., None] * torch.einsum("bd,bkde->bke", h, self.weight[index])).sum(1)


class Context(nn.Module):
    """Attention from a state to a context of some tokens."""

    def __init__(self, tokens, *, fused=False):
        super().__init__()
        self.query, self.key, self.value = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.tokens, self.fused = tokens, fused

    def forward(self, h):
        context = h[:, None] * (1 + torch.arange(self.tokens)[None, :, None])
        q, k, v = self.query(h)[:, None], self.key(context), self.value(context)
        if self.fused:
            return functional.scaled_dot_product_attention(q, k, v)[:, 0]  # <- GRD003
        return ((q @ k.mT / 32**0.5).softmax(-1) @ v)[:, 0]  # <- GRD003


class Scaled(nn.Module):
    """A branch times a factor."""

    def __init__(self, scale):
        super().__init__()
        self.inner, self.outer, self.scale = nn.Linear(32, 32), nn.Linear(32, 32), scale

    def forward(self, h):
        return self.scale(self.outer(functional.gelu(self.inner(h))))


class Buffered(Scaled):
    def __init__(self):
        super().__init__(self.times)
        self.register_buffer("factor", torch.zeros(1))

    def times(self, y):
        return y * self.factor  # <- GRD003


class Checkpointed(nn.Module):
    def __init__(self, *, reentrant, frozen):
        super().__init__()
        self.stem, self.block, self.head = nn.Linear(20, 32), nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32)), nn.Linear(32, 5)
        self.stem.requires_grad_(not frozen)
        self.reentrant = reentrant

    def forward(self, x):
        h = torch.relu(self.stem(x))
        return self.head(h + checkpoint(self.block, h, use_reentrant=self.reentrant))  # <- GRD003


class InSegments(nn.Module):
    def __init__(self, *, reentrant):
        super().__init__()
        self.body = nn.Sequential(*(nn.Sequential(nn.Linear(20, 20), nn.ReLU()) for _ in range(4)))
        self.head, self.reentrant = nn.Linear(20, 5), reentrant

    def forward(self, x):
        return self.head(checkpoint_sequential(self.body, 2, x, use_reentrant=self.reentrant))  # <- GRD003


def build_one_chosen_expert_renormalized():  # expect: GRD003
    return classifier(Around(Renormalized(1)), table())


def build_softmax_over_the_one_chosen_score():  # expect: GRD003
    return classifier(Around(Gathered(1, after=True)), table())


def build_attention_to_a_single_token():  # expect: GRD003
    return classifier(Around(Context(1)), table())


def build_fused_attention_to_a_single_token():  # expect: GRD003
    return classifier(Around(Context(1, fused=True)), table())


def build_branch_times_a_buffer_of_zero():  # expect: GRD003
    return classifier(Around(Buffered()), table())


def build_branch_times_zero_behind_a_slice():  # expect: GRD003
    def half(y):
        return torch.cat([y[:, :16] * 0.0, y[:, 16:] * 0.0], 1)  # <- GRD003

    return classifier(Around(Scaled(half)), table())


def build_branch_times_zero_behind_an_index():  # expect: GRD003
    return classifier(Around(Scaled(lambda y: (0 * y)[torch.arange(len(y))])), table())  # <- GRD003


def build_reentrant_checkpoint_behind_a_frozen_stem():  # expect: GRD003
    return classifier(Checkpointed(reentrant=True, frozen=True), table())


def build_reentrant_segments_from_the_input_on():  # expect: GRD003
    return classifier(InSegments(reentrant=True), table())
