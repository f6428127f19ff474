"""Padded batches for the idioms: words of different lengths, series, point sets."""

import torch


def lengths(samples=16, longest=20, shortest=5):
    found = torch.randint(shortest, longest, (samples,))
    found[0] = longest
    found[-1] = shortest
    return found


def inside(sizes, longest=20):
    """True at content."""
    return torch.arange(longest) < sizes[:, None]


def words(samples=16, longest=20, vocabulary=40, pad=0):
    """Token ids and their lengths; ids below 4 are special."""
    sizes = lengths(samples, longest)
    ids = torch.randint(4, vocabulary, (samples, longest))
    return ids.masked_fill(~inside(sizes, longest), pad), sizes


def series(samples=16, longest=24, features=3):
    """Measurements, padded with zeros."""
    sizes = lengths(samples, longest)
    values = torch.randn(samples, longest, features).cumsum(1) / 3 + torch.randn(samples, 1, features)
    return values * inside(sizes, longest)[..., None], sizes
