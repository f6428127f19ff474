"""The programs of `_axes_orders.py` with one step of theirs wrong."""

import _axes_orders as orders
import torch
from _parts import setup
from torch import nn
from torch.nn import functional as F


def build_patches_by_convolution_without_positions():  # expect: ARC021
    return orders.patches_by_convolution(right=False)


def build_patches_by_unfold_without_positions():  # expect: ARC021
    return orders.patches_by_unfold(right=False)


def build_patches_by_views_without_positions():  # expect: ARC021
    return orders.patches_by_views(right=False)


def build_beats_of_a_signal_without_positions():  # expect: ARC021
    return orders.beats_of_a_signal(right=False)


def build_subpixels_by_reshape():  # expect: ARC029 error
    return orders.subpixels(right=False)


def build_squeezed_pixels_by_view():  # expect: ARC029 error
    return orders.squeezed_pixels(right=False)


def build_windows_put_back_without_permute():  # expect: ARC029 error
    return orders.windows_put_back(right=False)


def build_user_repeated_for_each_item():  # expect: ARC029 error
    return orders.user_beside_each_item(right=False)


def build_state_expanded_before_the_batch():  # expect: ARC029 error
    return orders.state_beside_each_step(right=False)


def build_next_words_in_one_row():  # expect: ARC029 error
    return orders.next_words_in_one_row(right=False)


def build_tags_in_one_row():  # expect: ARC029 error
    return orders.tags_in_one_row(right=False)


def build_steps_stacked_before_the_batch():  # expect: ARC029 error
    return orders.steps_stacked(right=False)


def build_samples_averaged_for_steps():  # expect: ARC008
    return orders.steps_averaged(right=False)


def build_samples_weighed_for_steps():  # expect: ARC008
    return orders.steps_weighed(right=False)


def build_encoder_of_two_linear_layers():  # expect: ARC005 at first
    class Vae(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.mean, self.log_variance = nn.Linear(64, 40), nn.Linear(40, 8), nn.Linear(40, 8)
            self.second, self.last = nn.Linear(8, 40), nn.Linear(40, 64)

        def forward(self, x):
            h = self.first(x)
            mean, log_variance = self.mean(h), self.log_variance(h)
            code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp() if self.training else mean
            return self.last(F.relu(self.second(code))), mean, log_variance

    def loss(output, target):
        made, mean, log_variance = output
        distance = F.mse_loss(made, target, reduction="sum") / len(target)
        return distance - 0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()

    x = torch.rand(32, 64)
    return setup(Vae(), x, x, loss)


def build_shifted_by_the_mean_of_the_batch():  # expect: ARC008
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(20, 32), nn.Linear(32, 5)

        def forward(self, x):
            h = self.first(x)
            return self.last(F.relu(h - h.mean()))  # <- ARC008

    return setup(Net(), torch.randn(32, 20), torch.arange(32) % 5, nn.CrossEntropyLoss())
