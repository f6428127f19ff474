"""Mixed precision as it is written well."""

import math

import torch
from _parts import images, table
from faulty_precision import FUTURE, Around, Attending, mixed
from torch import nn
from torch.nn import functional


def scores_of(q, k):
    return q @ k.mT / math.sqrt(q.shape[-1])


def build_mask_by_the_smallest_number_of_the_dtype():
    def attend(q, k, v):
        scores = scores_of(q, k)
        return scores.masked_fill(FUTURE, torch.finfo(scores.dtype).min).softmax(-1) @ v

    return mixed(Attending(attend))


def build_mask_by_infinity():
    return mixed(Attending(lambda q, k, v: scores_of(q, k).masked_fill(FUTURE, float("-inf")).softmax(-1) @ v))


def build_additive_mask_in_float32():
    return mixed(Attending(lambda q, k, v: (scores_of(q, k) + FUTURE.float() * -1e9).softmax(-1) @ v))


def build_large_negative_mask_in_bfloat16():
    return mixed(Attending(lambda q, k, v: scores_of(q, k).masked_fill(FUTURE, -1e9).softmax(-1) @ v), precision="bf16")


def build_attention_in_float32_on_purpose():
    def attend(q, k, v):
        with torch.autocast("cuda", enabled=False):
            scores = (200 * q.float()) @ (200 * k.float()).mT / 1e6
            return scores.masked_fill(FUTURE, -1e9).softmax(-1) @ v.float()

    return mixed(Attending(attend))


def build_root_mean_square_norm_by_hand():
    def norm(h):
        h = 300 * h
        return h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6)

    return mixed(Around(norm), table())


def build_fused_attention():
    return mixed(Attending(lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, is_causal=True)))


def build_convolutions_with_norms():
    features = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
    deeper = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.SiLU(), nn.AdaptiveAvgPool2d(1))
    return mixed(nn.Sequential(features, deeper, nn.Flatten(), nn.Dropout(0.3), nn.Linear(32, 5)), images())


def build_recurrent_net():
    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn = nn.Embedding(50, 16), nn.LSTM(16, 32, 2, batch_first=True, dropout=0.1)
            self.head = nn.Linear(32, 5)

        def forward(self, words):
            return self.head(self.rnn(self.embed(words))[0].mean(1))

    return mixed(Text())


def build_encoder_of_torch():
    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.places = nn.Embedding(50, 32), nn.Parameter(0.1 * torch.randn(12, 32))
            self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 1)
            self.head = nn.Linear(32, 5)

        def forward(self, words):
            return self.head(self.encoder(self.embed(words) + self.places).mean(1))

    return mixed(Text(), precision="bf16")


def build_rows_in_the_dtype_of_the_messages():
    def spread(h):
        return h.new_zeros(h.shape).index_add_(0, torch.arange(h.shape[0]), h)

    return mixed(Around(spread), table())


def build_norm_of_large_values_in_full_precision():
    def squared(h):
        wide = h.float() * 500
        return (wide / wide.square().mean(-1, keepdim=True).add(1e-6).sqrt()).to(h.dtype)

    return mixed(Around(squared), table())
