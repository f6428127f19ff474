"""What evaluation mode loses, samples that meet, norms of one sample, units that are copies of each other."""

import torch
from _parts import classifier, images, setup, table, tokens
from torch import nn
from torch.nn import functional


class Noise(nn.Module):
    """A layer of a function of its mode and its input."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(self.training, x)


def with_noise(function):
    return classifier(nn.Sequential(nn.Linear(20, 32), nn.ReLU(), Noise(function), nn.Linear(32, 5)), table())


def ctc(model, inputs, samples=8, steps=30):
    lengths = torch.full((samples,), steps), torch.full((samples,), 5)
    return setup(model, inputs, torch.randint(1, 6, (samples, 5)), lambda out, y: functional.ctc_loss(out, y, *lengths))


# -------------------------------------------------------------------- evaluation mode drops everything


def build_dropout_of_everything_in_evaluation():  # expect: NRM005 error at 2
    return with_noise(lambda training, x: functional.dropout(x, 0.3 if training else 1.0))


def build_mode_read_the_wrong_way_round():  # expect: NRM005 error at 2
    return with_noise(lambda training, x: functional.dropout(x, 1.0, training=not training))


def build_share_to_keep_is_zero_in_evaluation():  # expect: NRM005 error at 2
    return with_noise(lambda training, x: x * torch.bernoulli(torch.full_like(x, 0.7 if training else 0.0)))


def build_mask_filled_in_evaluation():  # expect: NRM005 error at 2
    return with_noise(lambda training, x: x.masked_fill(torch.rand_like(x) < 0.3 if training else torch.ones_like(x).bool(), 0.0))


def build_branches_that_all_die_in_evaluation():  # expect: NRM005 error at 0
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(20, 20)

        def forward(self, x):
            return x + torch.relu(self.linear(x)) * (torch.rand(len(x), 1) < (0.8 if self.training else 0.0))

    return classifier(nn.Sequential(Block(), Block(), Block(), nn.Linear(20, 5)), table())


# -------------------------------------------------------------------- samples meet, time first


class Recognizer(nn.Module):
    """Time-major log-probabilities of a recurrent net."""

    def __init__(self, meet):
        super().__init__()
        self.rnn, self.head, self.meet = nn.GRU(12, 32), nn.Linear(32, 6), meet

    def forward(self, x):
        return functional.log_softmax(self.head(self.meet(self.rnn(x.transpose(0, 1))[0])), -1)


def build_mean_over_the_batch_of_a_recognizer():  # expect: ARC008 at
    return ctc(Recognizer(lambda h: h - h.mean(1, keepdim=True)), torch.randn(8, 30, 12))


def build_norm_over_batch_and_features():  # expect: ARC008 at
    return ctc(Recognizer(lambda h: functional.layer_norm(h, h.shape[1:])), torch.randn(8, 30, 12))


def build_faint_trace_of_the_others():  # expect: ARC008 at
    return ctc(Recognizer(lambda h: h + 3e-3 * h.mean(1, keepdim=True)), torch.randn(8, 30, 12))


def build_ids_whose_outputs_are_nearly_alike():  # expect: ARC008 at
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(50, 32), nn.Linear(32, 5)

        def forward(self, ids):
            h = self.embed(ids).mean(1)
            return self.head(h - 1e-3 * h.mean(0)) * 0.01

    return classifier(Net(), tokens(vocabulary=50))


# -------------------------------------------------------------------- norms of one sample


def build_projector_on_one_sample():  # expect: NRM008 at projector.1, RUN002 at projector.1
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Conv2d(3, 8, 3)
            self.projector = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 5))

        def forward(self, x):
            return self.projector(self.encoder(x).mean((2, 3)))

    return classifier(Net(), images(1, size=16))


def build_global_branch_on_one_picture():  # expect: NRM008 at pooled.2, RUN002 at pooled.2
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.out = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(16, 3, 1)
            self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU())

        def forward(self, x):
            h = self.encoder(x)
            return self.out(torch.cat([h, self.pooled(h).expand_as(h)], 1))

    return setup(Net(), images(1, size=16), torch.randint(0, 3, (1, 16, 16)), nn.CrossEntropyLoss())


def build_functional_batch_norm_of_one_sample():  # expect: NRM008 at, RUN002 at
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(20, 32, bias=False), nn.Linear(32, 5)

        def forward(self, x):
            return self.last(functional.batch_norm(self.first(x), None, None, training=True))

    return classifier(Net(), table(1))


def build_instance_norm_of_one_position():  # expect: NRM008 at 3, RUN002 at 3
    model = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.InstanceNorm2d(16), nn.Flatten(), nn.Linear(16, 5))
    return classifier(model, images())


def build_transformer_over_single_numbers():  # expect: NRM008 at encoder.layers.0.norm1
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            layer = nn.TransformerEncoderLayer(1, 1, 64, batch_first=True)
            self.encoder, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(10, 1)

        def forward(self, x):
            return self.head(self.encoder(x)[..., 0])

    x = torch.randn(16, 10, 1)
    return setup(Net(), x, x[:, -1] * 2, nn.MSELoss())


# -------------------------------------------------------------------- units that are copies


def laplace(model):
    """Weights of no initialization that is known, as training leaves them."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data = torch.distributions.Laplace(0.0, 0.1).sample(parameter.shape)
    return model


def build_trained_weights_with_one_row():  # expect: INI006 at 0
    model = laplace(nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5)))
    model[0].weight.data[:] = model[0].weight.data[0].clone()
    return classifier(model, table())


def build_seed_set_anew_for_each_row():  # expect: INI006 at
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            rows = [torch.randn(20, generator=torch.Generator().manual_seed(7)) for _ in range(32)]
            self.w, self.head = nn.Parameter(torch.stack(rows) * 0.2), nn.Linear(32, 5)

        def forward(self, x):
            return self.head(torch.relu(x @ self.w.t()))

    return classifier(Net(), table())


def build_repeated_kernel_in_an_einsum():  # expect: INI006 at
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel, self.head = nn.Parameter(torch.randn(1, 20).repeat(32, 1) * 0.2), nn.Linear(32, 5)

        def forward(self, x):
            return self.head(torch.einsum("bi,oi->bo", x, self.kernel).relu())

    return classifier(Net(), table())


def build_one_filter_expanded():  # expect: INI006 at 0
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
    model[0].weight.data = nn.init.kaiming_normal_(torch.empty(1, 3, 3, 3)).expand(16, -1, -1, -1).clone()
    return classifier(model, images())
