"""The programs of `_axes_pairs` repaired, and programs that look like them."""

import _axes_pairs as pairs
import torch
from _parts import classifier, setup
from torch import nn
from torch.nn import functional as F


def build_steps_laid_in_a_row():
    return pairs.steps_laid_in_a_row(fixed=True)


def build_two_views_of_each_image():
    return pairs.two_views_of_each_image(fixed=True)


def build_rows_of_words_by_time():
    return pairs.rows_of_words_by_time(fixed=True)


def build_rows_of_pixels_by_place():
    return pairs.rows_of_pixels_by_place(fixed=True)


def build_positions_looked_up_by_sample():
    return pairs.positions_looked_up_by_sample(fixed=True)


def build_sines_as_many_as_samples():
    return pairs.sines_as_many_as_samples(fixed=True)


def build_time_major_embedding_indexed_by_sample():
    return pairs.time_major_embedding_indexed_by_sample(fixed=True)


def build_index_as_a_feature():
    return pairs.index_as_a_feature(fixed=True)


def build_halves_turned_over_heads():
    return pairs.halves_turned_over_heads(fixed=True)


def build_complex_angles_of_samples():
    return pairs.complex_angles_of_samples(fixed=True)


def build_time_of_day_of_samples():
    return pairs.time_of_day_of_samples(fixed=True)


def build_lengths_for_rows():
    return pairs.lengths_for_rows(fixed=True)


def build_last_of_unbound():
    return pairs.last_of_unbound(fixed=True)


def build_last_row_of_a_bidirectional_reader():
    return pairs.last_row_of_a_bidirectional_reader(fixed=True)


def build_last_column_of_a_time_major_stack():
    return pairs.last_column_of_a_time_major_stack(fixed=True)


def build_last_frame_after_convolutions():
    return pairs.last_frame_after_convolutions(fixed=True)


def build_summary_token_of_the_last_sample():
    return pairs.summary_token_of_the_last_sample(fixed=True)


def build_language_model_of_torch_defaults():
    return pairs.language_model_of_torch_defaults(fixed=True)


def build_translator_of_torch_defaults():
    return pairs.translator_of_torch_defaults(fixed=True)


def build_autoencoder_of_smooth_series():
    return pairs.autoencoder_of_smooth_series(fixed=True)


def build_neighbours_weighed_by_columns():
    return pairs.neighbours_weighed_by_columns(fixed=True)


def build_scaled_by_the_batch():
    return pairs.scaled_by_the_batch(fixed=True)


def build_largest_word_of_the_batch():
    return pairs.largest_word_of_the_batch(fixed=True)


def build_convolutions_without_activations():
    return pairs.convolutions_without_activations(fixed=True)


def build_graph_convolutions_without_activations():
    return pairs.graph_convolutions_without_activations(fixed=True)


def build_road_sensors_without_activations():
    return pairs.road_sensors_without_activations(fixed=True)


def build_mask_that_is_not_passed_on():
    return pairs.mask_that_is_not_passed_on(fixed=True)


def build_last_slice_squeezed():
    return pairs.last_slice_squeezed(fixed=True)


# -------------------------------------------------------------------- programs that look like them


def build_embedding_of_each_node_of_one_graph():
    class Sensors(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.node, self.out = nn.Linear(2, 16), nn.Embedding(20, 16), nn.Linear(16, 1)
            self.place = nn.Parameter(0.2 * torch.randn(1, 12, 16))
            self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, x):
            h = self.inner(x) + self.node.weight[:, None] + self.place
            return self.out((h + self.attention(h, h, h)[0])[:, -1])

    x = pairs.series(20, 12, 2)
    return setup(Sensors(), x, x[:, -1, :1].cos(), nn.MSELoss())


def build_soft_clusters_of_nodes():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.cluster, self.embed, self.out = nn.Linear(6, 4), nn.Linear(6, 16), nn.Linear(16, 2)

        def forward(self, x, adj):
            s = torch.softmax(adj @ self.cluster(x), -1)
            return self.out((s.mT @ torch.relu(adj @ self.embed(x))).amax(1))

    return classifier(Pooled(), (torch.randn(8, 10, 6), torch.stack([pairs.adjacency(10) for _ in range(8)])), 2)


def build_guidance_of_two_halves():
    class Denoiser(nn.Module):
        def __init__(self):
            super().__init__()
            self.label = nn.Embedding(6, 16)
            self.inner, self.outer = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 1, 3, padding=1)

        def forward(self, x, label):
            named = torch.cat([self.label(label), self.label(torch.full_like(label, 5))])
            one, other = self.outer(F.silu(self.inner(torch.cat([x, x])) + named[:, :, None, None])).chunk(2)
            return other + 1.5 * (one - other)

    x = torch.randn(8, 1, 8, 8)
    return setup(Denoiser(), (x, torch.arange(8) % 5), torch.randn(8, 1, 8, 8), nn.MSELoss())


def build_upsampler_without_activations():
    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
            )

        def forward(self, x):
            return x + 0.1 * self.body(x)

    class Larger(nn.Module):
        def __init__(self, width=16):
            super().__init__()
            self.head, self.body = nn.Conv2d(3, width, 3, padding=1), nn.Sequential(Block(width), Block(width))
            self.tail = nn.Sequential(
                nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(width, 3, 3, padding=1)
            )

        def forward(self, x):
            h = self.head(x)
            return self.tail(h + self.body(h))

    x = torch.rand(4, 3, 8, 8)
    return setup(Larger(), x, F.interpolate(x, scale_factor=2, mode="bicubic"), nn.L1Loss())


def build_adapters_of_a_small_head():
    class Adapted(nn.Module):
        def __init__(self, inputs, outputs, rank=8):
            super().__init__()
            self.base = nn.Linear(inputs, outputs)
            self.down, self.up = nn.Linear(inputs, rank, bias=False), nn.Linear(rank, outputs, bias=False)

        def forward(self, x):
            return self.base(x) + 0.5 * self.up(self.down(x))

    return classifier(nn.Sequential(Adapted(12, 32), nn.GELU(), Adapted(32, 3)), torch.randn(18, 12), 3)


def build_as_many_words_as_sentences():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.out = nn.Embedding(40, 16, padding_idx=0), nn.Linear(16, 3)

        def forward(self, x, lengths):
            return self.out((self.embed(x) * (x > 0).unsqueeze(-1)).sum(1) / lengths[:, None])

    lengths = torch.randint(4, 13, (12, 1))
    x = torch.randint(1, 40, (12, 12)).masked_fill(torch.arange(12) >= lengths, 0)
    return classifier(Bag(), (x, lengths[:, 0].float()), 3)
