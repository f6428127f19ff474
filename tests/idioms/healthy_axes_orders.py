"""The programs of `_axes_orders.py` as they are meant, and look-alikes."""

import _axes_orders as orders
import torch
from _parts import classifier, images, labels, setup, table
from torch import nn
from torch.nn import functional as F


def build_patches_by_convolution():
    return orders.patches_by_convolution(right=True)


def build_patches_by_unfold():
    return orders.patches_by_unfold(right=True)


def build_patches_by_views():
    return orders.patches_by_views(right=True)


def build_beats_of_a_signal():
    return orders.beats_of_a_signal(right=True)


def build_subpixels():
    return orders.subpixels(right=True)


def build_squeezed_pixels():
    return orders.squeezed_pixels(right=True)


def build_windows_put_back():
    return orders.windows_put_back(right=True)


def build_user_beside_each_item():
    return orders.user_beside_each_item(right=True)


def build_state_beside_each_step():
    return orders.state_beside_each_step(right=True)


def build_next_words_in_one_row():
    return orders.next_words_in_one_row(right=True)


def build_tags_in_one_row():
    return orders.tags_in_one_row(right=True)


def build_steps_stacked():
    return orders.steps_stacked(right=True)


def build_time_major_rows():
    words = torch.randint(0, 20, (16, 11))
    return setup(orders.TimeMajor(20, 20, right=False), words[:, :-1], words[:, 1:].T.flatten(), orders.rows_of)


def build_steps_averaged():
    return orders.steps_averaged(right=True)


def build_steps_weighed():
    return orders.steps_weighed(right=True)


def build_time_major_steps_averaged():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(5, 24), nn.Linear(24, 3)

        def forward(self, x):
            return self.head(self.rnn(x)[0].mean(0))

    return classifier(Net(), torch.randn(16, 16, 5), 3)


def build_patches_read_by_place():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch, self.layer, self.head = nn.Conv2d(3, 32, 8, 8), orders.Layer(32), nn.Linear(16 * 32, 5)

        def forward(self, x):
            return self.head(self.layer(self.patch(x).flatten(2).mT).flatten(1))

    return classifier(Net(), images(16))


def build_frames_pooled_before_attention():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch, self.layer, self.head = nn.Conv2d(3, 32, 8, 8), orders.Layer(32), nn.Linear(32, 5)
            self.time = nn.Parameter(0.1 * torch.randn(6, 32))

        def forward(self, x):
            frames = F.relu(self.patch(x.flatten(0, 1))).mean((2, 3)).unflatten(0, x.shape[:2])
            return self.head(self.layer(frames + self.time).mean(1))

    return classifier(Net(), torch.rand(8, 6, 3, 16, 16))


def build_every_pair_of_samples():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(8, 16), nn.Linear(5, 16)
            self.score = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))

        def forward(self, x, y):
            n = len(x)
            both = torch.cat([self.left(x).repeat_interleave(n, 0), self.right(y).repeat(n, 1)], 1)
            return self.score(both).view(n, n)

    return setup(Net(), (torch.randn(16, 8), torch.randn(16, 5)), torch.arange(16), nn.CrossEntropyLoss())


def build_latent_autoencoder():
    class Vae(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(
                nn.Conv2d(3, 16, 3, 2, 1), nn.SiLU(), nn.Conv2d(16, 16, 3, 2, 1), nn.SiLU(), nn.Conv2d(16, 8, 3, 1, 1)
            )
            self.quant_conv, self.post_quant_conv = nn.Conv2d(8, 8, 1), nn.Conv2d(4, 4, 1)
            self.decoder = nn.Sequential(
                nn.Conv2d(4, 16, 3, 1, 1),
                nn.SiLU(),
                nn.ConvTranspose2d(16, 16, 4, 2, 1),
                nn.SiLU(),
                nn.ConvTranspose2d(16, 3, 4, 2, 1),
            )

        def forward(self, x):
            mean, log_variance = self.quant_conv(self.encoder(x)).chunk(2, 1)
            code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp() if self.training else mean
            return self.decoder(self.post_quant_conv(code)), mean, log_variance

    def loss(output, target):
        made, mean, log_variance = output
        return F.mse_loss(made, target) - 5e-5 * (1 + log_variance - mean**2 - log_variance.exp()).mean()

    x = images(8, 3, 16)
    return setup(Vae(), x, x, loss)


def build_trunk_of_two_heads():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 24))
            self.policy, self.value = nn.Linear(24, 4), nn.Linear(24, 1)

        def forward(self, x):
            h = self.trunk(x)
            return self.policy(h), self.value(h).squeeze(1)

    def loss(output, target):
        scores, values = output
        return F.cross_entropy(scores, target) + F.mse_loss(values, target.float())

    return setup(Net(), table(), labels(64, 4), loss)


def build_embedding_scored_by_prototypes():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64))
            self.prototypes = nn.Parameter(0.02 * torch.randn(70, 64))

        def forward(self, x):
            return F.linear(self.body(x), self.prototypes)

    return setup(Net(), torch.randn(70, 20), torch.arange(70), nn.CrossEntropyLoss())


def build_strided_shortcuts_first():
    class Block(nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.enter = nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
            self.inner = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs))

        def forward(self, x):
            return F.relu(self.inner(self.enter(x)) + self.shortcut(x))

    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
    return classifier(nn.Sequential(Block(4, 16), Block(16, 16), *head), images(16, 4, 16))


def build_every_third_step():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv1d(5, 16, 3, padding=1), nn.Linear(16, 5)

        def forward(self, x):
            return self.head(F.relu(self.conv(x[:, :, ::3])).mean(2))

    return classifier(Net(), torch.randn(16, 5, 48))


def build_scores_shifted_by_their_largest():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))

        def forward(self, x):
            scores = self.body(x)
            return scores - scores.max()

    return classifier(Net(), table())


def build_gates_shifted_by_their_largest():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.value, self.head = nn.Linear(20, 16), nn.Linear(20, 16), nn.Linear(16, 5)

        def forward(self, x):
            scores = 40 * self.gate(x)
            weights = (scores - scores.amax().detach()).exp()
            return self.head(F.relu(self.value(x)) * weights / weights.sum(-1, keepdim=True))

    return classifier(Net(), table())
