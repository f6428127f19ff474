"""Working code as public repositories write it: rows in sorted order, one trajectory, latent products, layers that start at almost zero."""

import math

import torch
import torch.nn.functional as F
from _parts import classifier, labels, setup, table
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

# -------------------------------------------------------------------- a batch that is sorted by length


def sentences(count=16, length=12, words=40):
    lengths = torch.arange(count) * 5 % 7 + length - 6
    ids = (torch.arange(length) * 3 + torch.arange(count)[:, None] * 7) % (words - 1) + 1
    return ids.masked_fill(torch.arange(length) >= lengths[:, None], 0), lengths


class SortedVae(nn.Module):
    """The words come back in the order of the batch; the statistics of the latent stay sorted, and only their sum is used."""

    def __init__(self):
        super().__init__()
        self.words, self.encoder, self.decoder = (
            nn.Embedding(40, 24),
            nn.GRU(24, 24, batch_first=True),
            nn.GRU(24, 24, batch_first=True),
        )
        self.mean, self.deviation, self.start, self.head = (
            nn.Linear(24, 6),
            nn.Linear(24, 6),
            nn.Linear(6, 24),
            nn.Linear(24, 40),
        )

    def forward(self, ids, lengths):
        lengths, order = lengths.sort(descending=True)
        x = self.words(ids[order])
        packed = pack_padded_sequence(x, lengths, batch_first=True)
        state = self.encoder(packed)[1][0]
        mean, deviation = self.mean(state), self.deviation(state)
        z = mean + torch.exp(0.5 * deviation) * torch.randn(len(ids), 6)
        h, _ = pad_packed_sequence(
            self.decoder(packed, self.start(z)[None])[0], batch_first=True, total_length=ids.shape[1]
        )
        return self.head(h[order.argsort()]), mean, deviation


def elbo(outputs, ids):
    logits, mean, deviation = outputs
    kept = -0.5 * (1 + deviation - mean**2 - deviation.exp()).sum(1).mean()
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), ignore_index=0) + 0.1 * kept


def build_latent_statistics_in_sorted_order():
    ids, lengths = sentences()
    return setup(SortedVae(), (ids, lengths), ids, elbo)


def build_attention_weights_in_sorted_order():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.rnn, self.score, self.head = (
                nn.Embedding(40, 24),
                nn.LSTM(24, 24, batch_first=True),
                nn.Linear(24, 1),
                nn.Linear(24, 5),
            )

        def forward(self, ids, lengths):
            lengths, order = torch.sort(lengths, descending=True)
            ids = ids[order]
            h, _ = pad_packed_sequence(
                self.rnn(pack_padded_sequence(self.words(ids), lengths, batch_first=True))[0],
                batch_first=True,
                total_length=ids.shape[1],
            )
            weights = self.score(h).squeeze(2).masked_fill(ids == 0, -math.inf).softmax(1)
            answer = self.head((weights[..., None] * h).sum(1))
            return torch.empty_like(answer).index_copy(0, order, answer), weights

    ids, lengths = sentences()
    sparse = lambda out, y: F.cross_entropy(out[0], y) - 0.01 * (out[1] ** 2).sum(1).mean()
    return setup(Reader(), (ids, lengths), labels(16), sparse)


# -------------------------------------------------------------------- one trajectory, whose steps follow each other


class RecurrentPolicy(nn.Module):
    """Steps of one game: the recurrent state comes from outside, for one sample."""

    def __init__(self, kind):
        super().__init__()
        self.body, self.rnn, self.policy, self.value = (
            nn.Linear(4, 24),
            kind(24, 24),
            nn.Linear(24, 2),
            nn.Linear(24, 1),
        )

    def forward(self, x, *state):
        x = F.relu(self.body(x)).view(-1, 1, 24)
        h, _ = self.rnn(x, state if len(state) > 1 else state[0])
        return self.policy(h).squeeze(1), self.value(h).squeeze(1)


def _actor_critic(outputs, game):
    actions, gains = game
    logits, values = outputs
    chosen = logits.log_softmax(1).gather(1, actions[:, None]).squeeze(1)
    return (-chosen * gains).mean() + F.smooth_l1_loss(values.squeeze(1), gains)


def _game():
    steps = torch.linspace(0, 6, 20)
    return torch.stack([steps.sin(), steps.cos(), (2 * steps).sin(), steps / 6], 1), (
        torch.arange(20) % 2,
        (3 * steps).cos(),
    )


def build_lstm_policy_on_one_trajectory():
    x, game = _game()
    return setup(RecurrentPolicy(nn.LSTM), (x, torch.zeros(1, 1, 24), torch.zeros(1, 1, 24)), game, _actor_critic)


def build_gru_policy_on_one_trajectory():
    x, game = _game()
    return setup(RecurrentPolicy(nn.GRU), (x, torch.zeros(1, 1, 24)), game, _actor_critic)


def build_unbatched_rnn_with_its_state():
    class Unbatched(RecurrentPolicy):
        def forward(self, x, state):
            h, _ = self.rnn(F.relu(self.body(x)), state)
            return self.policy(h), self.value(h)

    x, game = _game()
    return setup(Unbatched(nn.RNN), (x, torch.zeros(1, 24)), game, _actor_critic)


# -------------------------------------------------------------------- logits that are products of sampled codes


def build_graph_autoencoder_with_an_inner_product():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.mean, self.deviation = nn.Linear(12, 24), nn.Linear(24, 16), nn.Linear(24, 16)

        def forward(self, x, links):
            h = F.relu(links @ self.first(x))
            mean, deviation = links @ self.mean(h), links @ self.deviation(h)
            z = mean + torch.randn_like(deviation) * deviation.exp() if self.training else mean
            return z @ z.t(), mean, deviation

    nodes = torch.arange(40) % 4
    near = (nodes[:, None] == nodes) & ((torch.arange(40)[:, None] + torch.arange(40)) % 3 < 2)
    near = (near | near.t()).float()
    links = near + torch.eye(40)
    links = links / links.sum(1).sqrt().outer(links.sum(1).sqrt())
    x = F.one_hot(nodes, 4).float().repeat(1, 3) + 0.3 * torch.randn(40, 12)

    def loss(outputs, wanted):
        logits, mean, deviation = outputs
        kept = -0.5 / 40 * (1 + 2 * deviation - mean**2 - (2 * deviation).exp()).sum(1).mean()
        return F.binary_cross_entropy_with_logits(logits, wanted, pos_weight=torch.tensor(5.0)) + kept

    return setup(Encoder(), (x, links), near, loss)


# -------------------------------------------------------------------- one layer that starts at almost zero


def build_registration_whose_flow_starts_at_zero():
    class Registration(nn.Module):
        """The field begins as the identity: its layer is drawn at 1e-5, and integrated in halves."""

        def __init__(self):
            super().__init__()
            steps = [nn.Conv2d(2 if i == 0 else 8, 8, 3, padding=1) for i in range(5)]
            self.body = nn.Sequential(*(part for step in steps for part in (step, nn.LeakyReLU(0.2))))
            self.flow = nn.Conv2d(8, 2, 3, padding=1)
            nn.init.normal_(self.flow.weight, std=1e-5)
            nn.init.zeros_(self.flow.bias)
            self.register_buffer("grid", F.affine_grid(torch.eye(2, 3)[None], (1, 1, 16, 16), align_corners=False))

        def forward(self, moving, fixed):
            field = self.flow(self.body(torch.cat([moving, fixed], 1))).permute(0, 2, 3, 1) / 2**4
            for _ in range(4):
                field = field + F.grid_sample(
                    field.permute(0, 3, 1, 2), self.grid + field, align_corners=False
                ).permute(0, 2, 3, 1)
            return F.grid_sample(moving, self.grid + field, align_corners=False), field

    moving = F.interpolate(torch.rand(8, 1, 5, 5), size=16, mode="bilinear")
    fixed = moving.roll((1, 2), (2, 3))
    loss = lambda out, y: F.mse_loss(out[0], y) + 0.01 * out[1].diff(dim=1).square().mean()
    return setup(Registration(), (moving, fixed), fixed, loss)


def build_energy_whose_branches_end_at_almost_zero():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(32, 32), nn.Linear(32, 32)
            nn.init.normal_(self.second.weight, std=1e-10)
            nn.init.zeros_(self.second.bias)

        def forward(self, x):
            return F.leaky_relu(x + self.second(F.leaky_relu(self.first(x), 0.2)), 0.2)

    model = nn.Sequential(nn.Linear(20, 32), *(Block() for _ in range(8)), nn.Linear(32, 1))
    pull = lambda out, y: F.binary_cross_entropy_with_logits(out.squeeze(1), y)
    return setup(model, table(), (torch.arange(64) % 2).float(), pull)


# -------------------------------------------------------------------- torch's own bias on pooled, normalized values


def build_squeeze_of_normalized_maps():
    class Squeeze(nn.Module):
        """The average of a normalized map is near zero for every sample: one unit of two may be on for all."""

        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
            self.down, self.up, self.head = nn.Linear(8, 1), nn.Linear(1, 8), nn.Linear(8, 5)
            nn.init.constant_(self.down.bias, 0.3)

        def forward(self, x):
            x = self.norm(self.conv(x))
            x = x * torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3))))))[..., None, None]
            return self.head(F.relu(x).mean((2, 3)))

    return classifier(Squeeze(), torch.randn(32, 3, 12, 12))


# -------------------------------------------------------------------- functions and batches of their own kind


class _Once(torch.autograd.Function):
    """Runs again in the backward and gives up what it kept, as checkpoints before torch's own did."""

    @staticmethod
    def forward(ctx, run, x, *weights):
        ctx.run, ctx.kept = run, (x, weights)
        with torch.no_grad():
            return run(x)

    @staticmethod
    def backward(ctx, gradient):
        x, weights = ctx.kept
        del ctx.kept
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            found = torch.autograd.grad(ctx.run(x), (x, *weights), gradient, allow_unused=True)
        return None, *found


def build_checkpoint_that_runs_backward_once():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.block, self.mean, self.spread = (
                nn.Linear(20, 24),
                nn.Sequential(nn.Linear(24, 24), nn.Tanh()),
                nn.Linear(24, 4),
                nn.Linear(24, 4),
            )

        def forward(self, x):
            h = _Once.apply(self.block, F.relu(self.first(x)), *self.block.parameters())
            return self.mean(h), self.spread(h)

    loss = lambda out, y: F.mse_loss(out[0], y) + 0.1 * (out[1] ** 2).mean()
    return setup(Net(), table(), table()[:, :4], loss)


def build_next_item_from_one_item_and_a_fresh_state():
    class Session(nn.Module):
        def __init__(self):
            super().__init__()
            self.items, self.rnn, self.head = nn.Embedding(30, 24), nn.GRU(24, 24), nn.Linear(24, 30)

        def forward(self, item, state):
            return self.head(self.rnn(self.items(item)[None], state)[0][0])

    item = torch.arange(32) * 11 % 23
    return setup(Session(), (item, torch.zeros(1, 32, 24)), (item * 5 + torch.arange(32) // 23) % 30, F.cross_entropy)


# -------------------------------------------------------------------- scales that their own means keep in bounds


def build_summed_squares_under_a_clip_that_always_cuts():
    net = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1))
    sharp = torch.rand(8, 1, 16, 16)
    blurred = F.avg_pool2d(sharp, 3, 1, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    return {**setup(net, blurred, sharp, nn.MSELoss(reduction="sum"), grad_clip=0.4), "optimizer": optimizer}


def build_strides_that_leave_the_end_of_a_screen_over():
    screens = torch.rand(32, 4, 44, 44)
    body = [nn.Conv2d(4, 16, 5, stride=5), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=3), nn.ReLU(), nn.Flatten()]
    return classifier(nn.Sequential(*body, nn.Linear(128, 5)), screens)


def build_lstm_drawn_wider_than_torch_does():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.rnn, self.head = nn.Embedding(40, 16), nn.LSTM(16, 32, batch_first=True), nn.Linear(32, 5)
            nn.init.uniform_(self.rnn.weight_hh_l0, -0.85, 0.85)

        def forward(self, ids):
            return self.head(self.rnn(self.words(ids))[0][:, -1])

    return classifier(Tagger(), torch.randint(0, 40, (32, 12)))
