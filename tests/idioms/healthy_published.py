"""Working code as public repositories write it, of kinds on which a second round of foreign setups got a wrong warning."""

import torch
import torch.nn.functional as F
from _parts import classifier, images, labels, setup, table
from torch import nn

# -------------------------------------------------------------------- an input that the whole batch shares


class Two(nn.Module):
    def __init__(self, first, second):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(first, 32), nn.Linear(second, 32), nn.Linear(32, 1)

    def forward(self, a, b):
        return self.last(torch.relu(self.first(a) + self.second(b)))


def _shared(row, others):
    shared = row.expand(len(others), -1).contiguous()
    return setup(Two(shared.shape[1], others.shape[1]), (shared, others), others[:, :1] * 2, nn.MSELoss())


def build_rays_from_one_camera():
    return _shared(torch.tensor([0.0, 0.5, 4.0]), F.normalize(torch.randn(64, 3), dim=1))


def build_one_query_for_all_documents():
    return _shared(torch.randn(8), torch.randn(32, 8))


def build_one_goal_for_all_states():
    return _shared(torch.rand(2), torch.randn(48, 6))


# -------------------------------------------------------------------- layers that only some blocks of a class take


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.inner, self.outer, self.shortcut = nn.Linear(inputs, outputs), nn.Linear(outputs, outputs), nn.Linear(inputs, outputs)
        self.same = inputs == outputs

    def forward(self, x):
        return (x if self.same else self.shortcut(x)) + self.outer(torch.relu(self.inner(x)))


def build_shortcuts_that_equal_widths_do_not_take():
    return classifier(nn.Sequential(Block(20, 32), Block(32, 32), nn.ReLU(), nn.Linear(32, 5)), table())


def build_expansion_left_out_at_ratio_one():
    class Inverted(nn.Module):
        def __init__(self, width, ratio):
            super().__init__()
            self.ratio, self.expand, self.norm = ratio, nn.Conv2d(width, width * ratio, 1, bias=False), nn.BatchNorm2d(width * ratio)
            self.project = nn.Conv2d(width * ratio, width, 3, padding=1)

        def forward(self, x):
            return x + self.project(x if self.ratio == 1 else F.silu(self.norm(self.expand(x))))

    blocks = [Inverted(8, ratio) for ratio in (1, 4)]
    return classifier(nn.Sequential(nn.Conv2d(3, 8, 3), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)), images())


# -------------------------------------------------------------------- detectors: pyramid, zero heads, targets in training only


class Detector(nn.Module):
    """One head for three levels; the head starts at zero, and training takes the targets with the pictures."""

    def __init__(self):
        super().__init__()
        self.levels = nn.ModuleList([nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 16, 5, 4, 2), nn.Conv2d(16, 16, 5, 4, 2)])
        self.tower, self.head = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 5, 3, padding=1)
        nn.init.zeros_(self.head.weight)

    def scores(self, pictures):
        found, x = [], pictures
        for level in self.levels:
            x = torch.relu(level(x))
            found.append(self.head(torch.relu(self.tower(x))).flatten(2))
        return torch.cat(found, 2).amax(2)


class Packed(Detector):
    def forward(self, given):
        if self.training:
            pictures, answers = given
            return F.cross_entropy(self.scores(pictures), answers)
        return self.scores(given).softmax(1)


class Asserting(Detector):
    def forward(self, pictures, answers=None):
        if self.training:
            return F.cross_entropy(self.scores(pictures), answers)
        assert answers is None, "targets are for training"
        return self.scores(pictures).softmax(1)


def _detector(model, inputs):
    return {
        "model": model,
        "inputs": inputs,
        "loss": lambda loss: loss,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-5),
    }


def build_detector_with_targets_in_a_pair():
    return _detector(Packed(), ((images(8, 3, 32), labels(8)),))


def build_detector_that_refuses_targets_in_evaluation():
    return _detector(Asserting(), (images(8, 3, 32), labels(8)))


def build_low_rank_update_at_a_low_rate():
    class Adapted(nn.Module):
        def __init__(self):
            super().__init__()
            self.base = nn.Linear(20, 5).requires_grad_(False)
            self.down, self.up = nn.Linear(20, 4, bias=False), nn.Linear(4, 5, bias=False)
            nn.init.zeros_(self.up.weight)

        def forward(self, x):
            return self.base(x) + self.up(self.down(x))

    model = Adapted()
    rest = [weight for weight in model.parameters() if weight.requires_grad]
    return classifier(model, table(), optimizer=torch.optim.Adam(rest, lr=1e-5))


# -------------------------------------------------------------------- dropout and softmax as older code writes them


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.first, self.last = nn.Conv2d(1, 8, 3, 2), nn.Linear(8 * 49, 32), nn.Linear(32, 5)
        self.drop, self.out = nn.Dropout2d(0.25), nn.LogSoftmax()

    def forward(self, x):
        return self.out(self.last(self.drop(F.relu(self.first(F.relu(self.conv(x)).flatten(1))))))


def build_channel_dropout_on_features_and_softmax_without_a_dimension():
    return setup(Digits(), images(64, 1, 16), labels(64), F.nll_loss)


# -------------------------------------------------------------------- weights drawn for few recurrent units


def build_lstm_drawn_like_a_convolution():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.last = nn.LSTM(8, 16, bidirectional=True, batch_first=True), nn.Linear(32, 5)
            for name, weight in self.rnn.named_parameters():
                nn.init.zeros_(weight) if "bias" in name else nn.init.kaiming_normal_(weight)

        def forward(self, x):
            return self.last(self.rnn(x)[0][:, -1])

    return classifier(Reader(), torch.randn(64, 6, 8))


# -------------------------------------------------------------------- losses that make the scores themselves


def _embedding():
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 16))


def _scored(loss, *others):
    model = _embedding()
    groups = [{"params": model.parameters()}, *({"params": other} for other in others)]
    return setup(model, table(), labels(64), loss, optimizer=torch.optim.Adam(groups, lr=1e-3))


def build_angular_margin_in_the_loss():
    centres = nn.Parameter(nn.init.xavier_uniform_(torch.empty(5, 16)))

    def loss(features, answers):
        cosine = F.linear(F.normalize(features), F.normalize(centres))
        sine = (1.0 - cosine**2).clamp(0, 1).sqrt()
        turned = torch.where(cosine > -0.87, cosine * 0.878 - sine * 0.479, cosine - 0.24)
        hot = F.one_hot(answers, 5).float()
        return F.cross_entropy(16 * (hot * turned + (1 - hot) * cosine), answers)

    return _scored(loss, [centres])


def build_head_in_the_loss():
    head = nn.Linear(16, 5)
    return _scored(lambda features, answers: F.cross_entropy(head(torch.tanh(features)), answers), head.parameters())


def build_proxies_in_the_loss():
    proxies = nn.Parameter(torch.randn(5, 16))
    return _scored(lambda x, y: F.cross_entropy(-torch.cdist(F.normalize(x), F.normalize(proxies)) * 3, y), [proxies])


# -------------------------------------------------------------------- logits that the first updates calm


def build_summed_nodes_at_the_usual_rate():
    class Summed(nn.Module):
        def __init__(self):
            super().__init__()
            self.node, self.norm, self.last = nn.Linear(7, 32), nn.BatchNorm1d(32), nn.Linear(32, 2)

        def forward(self, x):
            nodes = torch.relu(self.norm(self.node(x).flatten(0, 1)).unflatten(0, x.shape[:2]))
            return self.last(nodes.sum(1))

    model = Summed()
    kinds = torch.where(torch.arange(32)[:, None] % 2 == 0, torch.randint(0, 4, (32, 30)), torch.randint(3, 7, (32, 30)))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return setup(model, F.one_hot(kinds, 7).float(), torch.arange(32) % 2, nn.CrossEntropyLoss(), optimizer=optimizer)


# -------------------------------------------------------------------- rows that are the steps of several sequences


class Steps(nn.Module):
    """Rollouts flattened to (time * runs, features), and the states of the runs."""

    def __init__(self):
        super().__init__()
        self.rnn, self.policy = nn.GRU(6, 16), nn.Linear(16, 5)

    def forward(self, rows, states):
        runs = states.shape[0]
        told, _ = self.rnn(rows.view(-1, runs, rows.shape[1]), states.unsqueeze(0))
        return self.policy(told.flatten(0, 1))


def build_rollouts_with_their_states():
    return setup(Steps(), (torch.randn(40, 6), torch.zeros(8, 16)), labels(40), nn.CrossEntropyLoss())


# -------------------------------------------------------------------- the log-determinant of a scale


class Coupling(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 8))
        nn.init.zeros_(self.net[2].weight)

    def forward(self, x):
        kept, moved = x.chunk(2, 1)
        raw, shift = self.net(kept).chunk(2, 1)
        scale = torch.sigmoid(raw + 2)
        return torch.cat([kept, (moved + shift) * scale], 1), torch.log(scale).sum(1)


def build_flow_whose_scale_is_a_sigmoid():
    return setup(Coupling(), torch.randn(64, 8), loss=lambda made: (made[0] ** 2 / 2).sum(1).mean() - made[1].mean())


# -------------------------------------------------------------------- spikes: silence at the start, a gradient of their own


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, potential):
        ctx.save_for_backward(potential)
        return (potential >= 0).to(potential)

    @staticmethod
    def backward(ctx, gradient):
        (potential,) = ctx.saved_tensors
        return gradient / (1 + (3 * potential) ** 2)


class Spiking(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(20, 32), nn.Linear(32, 5)

    def forward(self, x):
        potential, spikes = torch.zeros(len(x), 32), 0.0
        for _ in range(6):
            potential = potential / 2 + self.first(x)
            fired = Spike.apply(potential - 1) if self.training else (potential - 1 >= 0).to(potential)
            potential, spikes = potential * (1 - fired), spikes + fired
        return self.last(spikes / 6)


def build_spikes_that_evaluation_makes_by_another_path():
    return classifier(Spiking(), table())


# -------------------------------------------------------------------- an output made of another, both masked


class Refined(nn.Module):
    """A spectrogram and its refinement; beyond the lengths both are set to the padding of the targets."""

    def __init__(self):
        super().__init__()
        self.embed, self.body = nn.Embedding(30, 16, padding_idx=0), nn.Linear(16, 12)
        self.after = nn.Conv1d(12, 12, 5, padding=2)

    def forward(self, ids):
        first = self.body(self.embed(ids))
        second = first + torch.tanh(self.after(first.transpose(1, 2)).transpose(1, 2))
        gone = (ids == 0).unsqueeze(2)
        first.data.masked_fill_(gone, 0.0)
        second.data.masked_fill_(gone, 0.0)
        return first, second


def build_refinement_of_a_masked_output():
    ids = torch.randint(1, 30, (16, 14))
    lengths = torch.randint(6, 15, (16,))
    ids[torch.arange(14)[None] >= lengths[:, None]] = 0
    targets = (torch.randn(30, 12) - 1)[ids].masked_fill((ids == 0).unsqueeze(2), 0.0)
    return setup(Refined(), ids, targets, lambda made, target: F.mse_loss(made[0], target) + F.mse_loss(made[1], target))
