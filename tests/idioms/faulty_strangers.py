"""The faults beside the working code of healthy_strangers.py: alike to look at, and still found."""

import numpy as np
import torch
import torch.nn.functional as F
from _parts import classifier, images, labels, setup, table
from healthy_strangers import (
    Bottom,
    Convolutions,
    Detached,
    Latent,
    Plane,
    Ranking,
    Residual,
    Style,
    _marked,
    _raw_pictures,
    _triples,
)
from torch import nn


def build_elu_before_a_binary_loss():  # expect: LOS017 warning at 3
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5), nn.ELU())
    return setup(model, table(), torch.randint(0, 2, (64, 5)).float(), nn.BCEWithLogitsLoss())


def build_tanh_before_a_softmax():  # expect: LOS017 warning at 3
    return classifier(nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5), nn.Tanh()), table())


def build_rectified_logits_of_averaged_heads():  # expect: LOS017
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.heads = nn.Linear(20, 32), nn.ModuleList(nn.Linear(32, 5) for _ in range(3))

        def forward(self, x):
            h = torch.tanh(self.body(x))
            return F.relu(torch.stack([head(h) for head in self.heads]).mean(0))  # <- LOS017

    return classifier(Heads(), table())


def build_channel_of_a_series_that_was_not_filled():  # expect: DAT002
    x = _marked(2)
    x[:, 0], x[:, 1] = torch.randn(32, 40), 3.7

    def loss(output, target):
        return F.cross_entropy(output.reshape(-1, 4), target.reshape(-1))

    return setup(Convolutions(2), x, torch.randint(0, 4, (32, 40)), loss)


def build_raw_pixels_before_a_rectifier():  # expect: DAT001
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1))
    return setup(model, _raw_pictures(), torch.rand(4, 3, 32, 32), nn.MSELoss())


def build_raw_pixels_into_two_layers_of_which_one_is_normalized():  # expect: DAT001
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.style, self.short = Style(), nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.style(x) + F.relu(self.short(x)) / 255

    return setup(Two(), _raw_pictures(), torch.rand(4, 3, 32, 32), nn.MSELoss())


def build_head_seven_times_a_standard_one():  # expect: LOS018 error
    model = Residual(nn.init.kaiming_normal_)
    with torch.no_grad():
        model.linear.weight.mul_(7)
    return classifier(model, images(), classes=10)


def build_momentum_of_a_thousand_steps_at_the_usual_rate():  # expect: OPT010
    model = Residual(nn.init.kaiming_normal_)
    return classifier(model, images(), classes=10, optimizer=torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.999))


class Noisy(nn.Module):
    def __init__(self, disturb):
        super().__init__()
        self.disturb, self.body, self.head = disturb, nn.Linear(20, 32), nn.Linear(32, 5)

    def forward(self, x):
        return self.head(self.disturb(torch.relu(self.body(x))))


def build_noise_of_numpy_in_evaluation():  # expect: SIG007
    def disturb(h):
        return h + torch.from_numpy(np.random.normal(0, 0.1, h.shape).astype("float32"))  # <- SIG007

    return classifier(Noisy(disturb), table())


def build_mask_of_numpy_in_evaluation():  # expect: SIG007
    def disturb(h):
        return h * torch.from_numpy((np.random.rand(*h.shape) < 0.7).astype("float32"))  # <- SIG007

    return classifier(Noisy(disturb), table())


def build_uniform_noise_in_evaluation():  # expect: SIG007
    return classifier(Noisy(lambda h: h + 0.1 * torch.rand_like(h)), table())  # <- SIG007


def build_softmax_between_layers_of_a_disturbed_input():  # expect: ARC019 at 3, SIG007 at 0
    class Disturbed(nn.Linear):
        def forward(self, x):
            return super().forward(x + 0.1 * torch.randn_like(x))

    return classifier(nn.Sequential(Disturbed(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.Softmax(-1), nn.Linear(32, 5)), table())


def build_code_without_an_activation():  # expect: ARC005 at code
    class Plain(Latent):
        def forward(self, x):
            return self.out(F.relu(self.outer(self.code(F.relu(self.inner(x))))))

    x = table()
    return setup(Plain(None, codes=64, outputs=1), x, x, nn.MSELoss())


def build_pictures_too_small_for_their_strides():  # expect: ARC014 at 4
    layers = [nn.Conv2d(3, 16, 4, 4), nn.ReLU(), nn.Conv2d(16, 32, 4, 4), nn.ReLU()]
    layers += [nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)]
    return classifier(nn.Sequential(*layers), images(size=16))


def build_translated_below_one_position():  # expect: ARC014 at down.3, GRD001 at down.0
    class Deeper(Bottom):
        def __init__(self):
            super().__init__()
            self.deep = nn.Conv2d(16, 16, 3, 1, 1)

        def forward(self, x):
            for layer in self.down:
                x = F.leaky_relu(layer(x), 0.2)
            x = F.relu(self.deep(x)).expand(-1, -1, 2, 2)
            for layer in self.up:
                x = F.relu(layer(x if layer is self.up[0] else torch.cat([x, x], 1)))
            return self.out(torch.cat([x, x], 1)).tanh()

    x = images(8, size=16)
    return setup(Deeper(), x, F.interpolate(x, 32).tanh(), nn.L1Loss())


def build_fresh_word_vectors_detached():  # expect: ARC007
    model = Detached(recurrent=True)
    nn.init.normal_(model.embed.weight)
    return classifier(model, torch.randint(0, 200, (32, 12)))


def build_ranking_through_a_layer_with_plain_descent():  # expect: LOS021
    class Deep(Ranking):
        def __init__(self):
            super().__init__()
            self.mix = nn.Linear(8, 8)

        def forward(self, user, liked, other):
            user = torch.tanh(self.mix(self.user(user)))
            return (user * self.item(liked)).sum(-1) - (user * self.item(other)).sum(-1)

    model = Deep()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    return {"model": model, "inputs": _triples(), "loss": lambda margin: -F.logsigmoid(margin).sum(), "optimizer": optimizer}  # <- LOS021


def build_policy_gradient_added_up_and_clipped():  # expect: LOS021 info
    actions, returns = torch.randint(0, 2, (64,)), torch.randn(64)

    def loss(probabilities, batch):
        return -(torch.distributions.Categorical(probabilities).log_prob(batch["a"]) * batch["r"]).sum()  # <- LOS021

    policy = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2), nn.Softmax(dim=1))
    return setup(policy, table(), {"a": actions, "r": returns}, loss, grad_clip=1.0)


def build_sentence_that_is_not_read():  # expect: ARC011
    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(60, 16), nn.Linear(16, 3)

        def forward(self, premise, hypothesis):
            return self.head(torch.relu(self.embed(premise)).mean(1))

    return setup(One(), (torch.randint(0, 60, (32, 10)), torch.randint(0, 60, (32, 8))), labels(32, 3), nn.CrossEntropyLoss())


def build_plane_behind_a_rectifier():  # expect: ARC028 at body.2
    return classifier(Plane(nn.ReLU()), table(), classes=10)


def build_signature_shared_by_models_that_read_more():  # expect: ARC011
    class Forecast(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(20, 32), nn.Linear(32, 5)

        def forward(self, x, marks, decoder_input, decoder_marks):
            return self.head(torch.relu(self.body(x)))

    inputs = table(), torch.randn(64, 4), torch.randn(64, 20), torch.randn(64, 4)
    return setup(Forecast(), inputs, labels(64), nn.CrossEntropyLoss())
