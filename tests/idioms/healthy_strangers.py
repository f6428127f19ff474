"""Working code as public repositories write it, of kinds on which a warning was wrong."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from _parts import classifier, images, labels, setup, table
from torch import nn

# -------------------------------------------------------------------- logits behind an ELU, under a softmax


class EluLogits(nn.Module):
    def __init__(self, last):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(20, 32), nn.Linear(32, 5), last

    def forward(self, x):
        return F.log_softmax(self.last(self.second(F.relu(self.first(x)))), dim=1)


def build_graph_attention_with_elu_after_its_last_layer():
    return setup(EluLogits(F.elu), table(), labels(64), F.nll_loss)


def build_selu_before_log_softmax():
    return setup(EluLogits(nn.SELU()), table(), labels(64), F.nll_loss)


def build_elu_before_cross_entropy():
    return classifier(nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5), nn.ELU()), table())


def build_celu_of_averaged_heads():
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.heads = nn.Linear(20, 32), nn.ModuleList(nn.Linear(32, 5) for _ in range(3))

        def forward(self, x):
            h = torch.tanh(self.body(x))
            return F.elu(torch.stack([head(h) for head in self.heads]).mean(0))

    return classifier(Heads(), table())


def build_elu_in_an_einsum_head():
    class Einsum(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.weight = nn.Linear(20, 32), nn.Parameter(torch.randn(5, 32) / 6)

        def forward(self, x):
            return F.elu(torch.einsum("nd,cd->nc", F.relu(self.body(x)), self.weight))

    return classifier(Einsum(), table())


# -------------------------------------------------------------------- markers at fixed positions of a sequence


def _marked(channels=1):
    x = torch.zeros(32, channels, 40)
    x[:, 0, :10] = torch.randint(1, 9, (32, 10)).float()
    x[:, 0, 30:] = 9.0
    return x


class Convolutions(nn.Module):
    def __init__(self, channels=1):
        super().__init__()
        self.first, self.second = nn.Conv1d(channels, 16, 5, padding=2), nn.Conv1d(16, 16, 5, padding=2)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(F.relu(self.second(F.relu(self.first(x)))).transpose(1, 2))


def build_copy_task_with_markers_as_numbers():
    def loss(output, target):
        return F.cross_entropy(output.reshape(-1, 4), target.reshape(-1))

    return setup(Convolutions(), _marked(), torch.randint(0, 4, (32, 40)), loss)


def build_markers_beside_a_second_channel():
    def loss(output, target):
        return F.cross_entropy(output.reshape(-1, 4), target.reshape(-1))

    x = _marked(2)
    x[:, 1] = torch.randn(32, 40)
    return setup(Convolutions(2), x, torch.randint(0, 4, (32, 40)), loss)


# -------------------------------------------------------------------- an instance norm takes the scale of pictures away


class Style(nn.Module):
    def __init__(self, pad=True):
        super().__init__()
        self.pad = nn.ReflectionPad2d(1) if pad else nn.Identity()
        self.conv, self.norm = nn.Conv2d(3, 16, 3, padding=0 if pad else 1), nn.InstanceNorm2d(16, affine=True)
        self.out = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x):
        return self.out(F.relu(self.norm(self.conv(self.pad(x)))))


def _raw_pictures():
    pictures = images(4)
    return (pictures - pictures.amin()) / (pictures.amax() - pictures.amin()) * 255.0


def build_style_transfer_of_raw_pixels():
    x = _raw_pictures()
    return setup(Style(), x, x / 255.0, nn.MSELoss())


def build_raw_pixels_before_a_functional_instance_norm():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.out = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 3, 3, padding=1)

        def forward(self, x):
            return self.out(F.relu(F.instance_norm(self.conv(x))))

    x = _raw_pictures()
    return setup(Functional(), x, x / 255.0, nn.MSELoss())


# -------------------------------------------------------------------- heads with a standard initialization


class Residual(nn.Module):
    def __init__(self, init):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32)
        self.conv2, self.bn2 = nn.Conv2d(32, 64, 3, 2, 1, bias=False), nn.BatchNorm2d(64)
        self.linear = nn.Linear(64, 10)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                init(module.weight)

    def forward(self, x):
        x = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(F.avg_pool2d(x, x.shape[-1]).flatten(1))


def build_kaiming_in_every_layer_and_the_head():
    return classifier(Residual(nn.init.kaiming_normal_), images(), classes=10)


def build_kaiming_uniform_in_every_layer_and_the_head():
    return classifier(Residual(lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu")), images(), classes=10)


def build_xavier_in_every_layer_and_the_head():
    return classifier(Residual(nn.init.xavier_normal_), images(), classes=10)


# -------------------------------------------------------------------- momentum close to one under a rate made for it


def build_rmsprop_with_momentum_of_a_thousand_steps():
    model = Residual(nn.init.kaiming_normal_)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-5, weight_decay=1e-8, momentum=0.999)
    return classifier(model, images(), classes=10, optimizer=optimizer)


def build_descent_with_momentum_of_a_thousand_steps():
    model = Residual(nn.init.kaiming_normal_)
    return classifier(model, images(), classes=10, optimizer=torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.999))


# -------------------------------------------------------------------- optimizers inside what sets their rate


class Scheduled:
    """Keeps the optimizer under a private name and sets its rate at each step."""

    def __init__(self, optimizer, warmup=400):
        self._optimizer, self.warmup, self.steps = optimizer, warmup, 0

    def step_and_update_lr(self):
        self.steps += 1
        for group in self._optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, self.steps / self.warmup)
        self._optimizer.step()

    def zero_grad(self):
        self._optimizer.zero_grad()


class Noam:
    def __init__(self, inner):
        self.inner, self.count = inner, 0

    def step(self):
        self.count += 1
        self.inner.step()


def _net():
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))


def build_optimizer_under_a_private_name():
    model = _net()
    return classifier(model, table(), optimizer=Scheduled(torch.optim.Adam(model.parameters())))


def build_optimizer_called_inner():
    model = _net()
    return classifier(model, table(), optimizer=Noam(torch.optim.Adam(model.parameters(), betas=(0.9, 0.98))))


# -------------------------------------------------------------------- samples drawn by hand


class Latent(nn.Module):
    """An encoder and a decoder around a way to draw the code."""

    def __init__(self, draw, codes=8, outputs=2):
        super().__init__()
        self.draw, self.inner, self.code = draw, nn.Linear(20, 64), nn.Linear(64, outputs * codes)
        self.outer, self.out = nn.Linear(codes, 64), nn.Linear(64, 20)

    def forward(self, x):
        code = self.draw(self.code(F.relu(self.inner(x))))
        return self.out(F.relu(self.outer(code)))


def _numpy_normal(code):
    mean, log_variance = code.chunk(2, 1)
    noise = torch.tensor(np.random.normal(0, 1, mean.shape), dtype=torch.float32)
    return noise * torch.exp(log_variance / 2) + mean


def _numpy_softplus(code):
    mean, spread = code.chunk(2, 1)
    noise = torch.from_numpy(np.random.randn(*mean.shape).astype("float32"))
    return mean + F.softplus(spread) * noise


def _gumbel(code):
    u = torch.rand_like(code)
    return F.softmax((code - torch.log(-torch.log(u + 1e-7) + 1e-7)) / 0.5, dim=-1)


def _gumbel_of_exponentials(code):
    noise = -torch.empty_like(code).exponential_().log()
    return ((code + noise) / 1.0).softmax(-1)


def _concrete(code):
    u = torch.rand_like(code)
    return torch.sigmoid((code + torch.log(u + 1e-6) - torch.log(1 - u + 1e-6)) / 0.66)


def _reconstruction(draw, outputs=2):
    x = table()
    return setup(Latent(draw, outputs=outputs), x, x, nn.MSELoss())


def build_latent_drawn_by_numpy():
    return _reconstruction(_numpy_normal)


def build_latent_drawn_by_numpy_with_softplus():
    return _reconstruction(_numpy_softplus)


def build_categories_drawn_with_gumbel_noise():
    return _reconstruction(_gumbel, outputs=1)


def build_categories_drawn_with_exponential_noise():
    return _reconstruction(_gumbel_of_exponentials, outputs=1)


def build_bits_drawn_with_logistic_noise():
    return _reconstruction(_concrete, outputs=1)


# -------------------------------------------------------------------- the critic inside a generator's loss


def _critic(*layers):
    return nn.Sequential(nn.Linear(20, 64), *layers, nn.Linear(64, 1))


def _generator(critic):
    model = nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 20), nn.Tanh())
    return setup(model, torch.randn(64, 8), torch.ones(64, 1), lambda made, real: F.binary_cross_entropy_with_logits(critic(made), real))


def build_generator_whose_critic_drops_before_a_batch_norm():
    return _generator(_critic(nn.LeakyReLU(0.2), nn.Dropout(0.5), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.LeakyReLU(0.2)))


# -------------------------------------------------------------------- a decoder that starts from a dense layer


class Decoder(nn.Module):
    def __init__(self, spread):
        super().__init__()
        self.inner, self.dense, self.spread = nn.Linear(20, 16), nn.Linear(16, 32 * 4 * 4), spread
        self.out = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, x):
        return self.out(F.relu(self.spread(self.dense(F.relu(self.inner(x))).view(-1, 32, 4, 4))))


def _decoded(spread):
    return setup(Decoder(spread), table(), torch.rand(64, 1, 8, 8), nn.MSELoss())


def build_dense_layer_before_a_transposed_convolution():
    return _decoded(nn.ConvTranspose2d(32, 16, 4, 2, 1))


def build_dense_layer_before_an_upsampled_convolution():
    return _decoded(nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(32, 16, 3, padding=1)))


def build_dense_layer_before_a_pixel_shuffle():
    return _decoded(nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.PixelShuffle(2)))


# -------------------------------------------------------------------- the bottom of a U-Net


class Bottom(nn.Module):
    """Four strided convolutions down to one position, and back with a skip at each level."""

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(inputs, 16, 4, 2, 1) for inputs in (3, 16, 16, 16))
        self.up = nn.ModuleList(nn.ConvTranspose2d(inputs, 16, 4, 2, 1) for inputs in (16, 32, 32))
        self.out = nn.ConvTranspose2d(32, 3, 4, 2, 1)

    def forward(self, x):
        skips = []
        for layer in self.down:
            x = F.leaky_relu(layer(x), 0.2)
            skips.append(x)
        for layer, skip in zip(self.up, skips[-2::-1], strict=True):
            x = torch.cat([F.relu(layer(x)), skip], 1)
        return torch.tanh(self.out(x))


def build_pictures_translated_through_one_position():
    x = images(8, size=16)
    return setup(Bottom(), x, x.flip(1).tanh(), nn.L1Loss())


# -------------------------------------------------------------------- pretrained vectors kept by a detach


def _vectors(count, width):
    """As trained ones are: words of a topic look alike, and frequent ones are short."""
    topics = torch.randn(5, width)[torch.arange(count) % 5]
    return (topics + 0.3 * torch.randn(count, width)) * torch.linspace(0.3, 1.0, count)[:, None]


class Detached(nn.Module):
    def __init__(self, *, recurrent):
        super().__init__()
        self.embed = nn.Embedding(200, 32)
        self.embed.weight.data.copy_(_vectors(200, 32))
        self.rnn = nn.GRU(32, 32, batch_first=True) if recurrent else None
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        x = self.embed(x).detach()
        x = self.rnn(x)[0][:, -1] if self.rnn is not None else x.mean(1)
        return self.head(torch.relu(x))


def build_word_vectors_detached_before_a_recurrent_layer():
    return classifier(Detached(recurrent=True), torch.randint(0, 200, (32, 12)))


def build_word_vectors_detached_and_averaged():
    return classifier(Detached(recurrent=False), torch.randint(0, 200, (32, 12)))


# -------------------------------------------------------------------- sums that a batch size does not touch


def build_policy_gradient_added_up():
    actions, returns = torch.randint(0, 2, (64,)), torch.randn(64)

    def loss(probabilities, batch):
        return -(torch.distributions.Categorical(probabilities).log_prob(batch["a"]) * batch["r"]).sum()

    policy = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2), nn.Softmax(dim=1))
    return setup(policy, table(), {"a": actions, "r": returns}, loss)


class Ranking(nn.Module):
    def __init__(self):
        super().__init__()
        self.user, self.item = nn.Embedding(40, 8), nn.Embedding(50, 8)
        for embedding in (self.user, self.item):
            nn.init.normal_(embedding.weight, std=0.1)

    def forward(self, user, liked, other):
        user = self.user(user)
        return (user * self.item(liked)).sum(-1) - (user * self.item(other)).sum(-1)


def _triples():
    user = torch.randint(0, 40, (128,))
    return user, (user + torch.randint(0, 5, (128,))) % 50, torch.randint(0, 50, (128,))


def build_ranking_of_embeddings_with_plain_descent():
    model = Ranking()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    return {"model": model, "inputs": _triples(), "loss": lambda margin: -F.logsigmoid(margin).sum(), "optimizer": optimizer}


def build_word_pairs_with_plain_descent():
    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.center, self.context = nn.Embedding(60, 16), nn.Embedding(60, 16)

        def forward(self, center, context):
            return (self.center(center) * self.context(context)).sum(-1) / 4

    model = Pairs()
    inputs = torch.randint(0, 60, (64,)), torch.randint(0, 60, (64,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    return {"model": model, "inputs": inputs, "loss": lambda score: -F.logsigmoid(score).sum(), "optimizer": optimizer}


# -------------------------------------------------------------------- tensors inside an object of the user's


class Sentences:
    """As torchtext's batches: fields are attributes, time comes first."""

    def __init__(self):
        self.premise, self.hypothesis = torch.randint(0, 60, (10, 32)), torch.randint(0, 60, (8, 32))
        self.batch_size = 32


class Entailment(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(60, 16), nn.GRU(16, 16), nn.Linear(32, 3)

    def forward(self, batch):
        premise, hypothesis = (self.rnn(self.embed(part))[1][-1] for part in (batch.premise, batch.hypothesis))
        return self.head(torch.cat([premise, hypothesis], 1))


def build_batch_object_with_two_sentences():
    return setup(Entailment(), (Sentences(),), labels(32, 3), nn.CrossEntropyLoss())


# -------------------------------------------------------------------- a first update that jumps, and a loss below its start after it


def build_large_first_updates_that_come_back():
    model = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.LeakyReLU(), nn.Conv2d(32, 3, 3, padding=1))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=1 / math.sqrt(parameter[0].numel()))
    x = images(8, size=16)
    model.append(nn.Upsample(scale_factor=2))
    return setup(model, x, x, nn.MSELoss(), optimizer=torch.optim.Adam(model.parameters(), lr=5e-3))


# -------------------------------------------------------------------- distributions inside the model: labels are broadcast beside scores


class Actor(nn.Module):
    """Returns what a policy gradient needs of the actions taken, as an agent's `get_action_and_value` does."""

    def __init__(self, outputs, distribution):
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, outputs))
        self.critic = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 1))
        self.distribution = distribution

    def forward(self, x, action):
        drawn = self.distribution(self.actor(x))
        return drawn.log_prob(action), self.critic(x)


def _agent(outputs, action, distribution):
    def loss(output, batch):
        log_prob, value = output
        log_prob = log_prob if log_prob.dim() == 1 else log_prob.sum(-1)
        return -(log_prob * batch["advantage"]).mean() + 0.5 * F.mse_loss(value.squeeze(1), batch["return"])

    x = table()
    return setup(Actor(outputs, distribution), (x, action), {"advantage": torch.randn(64), "return": x[:, 0]}, loss)


def build_actor_of_categories():
    return _agent(4, torch.randint(0, 4, (64,)), lambda scores: torch.distributions.Categorical(logits=scores))


def build_actor_of_categories_by_probability():
    return _agent(4, torch.randint(0, 4, (64,)), lambda scores: torch.distributions.Categorical(probs=scores.softmax(-1)))


def build_actor_of_bits():
    return _agent(4, torch.randint(0, 2, (64, 4)).float(), lambda scores: torch.distributions.Bernoulli(logits=scores))


def build_actor_of_counts():
    return _agent(4, torch.randint(0, 5, (64, 4)).float(), lambda scores: torch.distributions.Poisson(scores.exp()))


def build_actor_of_numbers():
    return _agent(4, torch.randn(64, 4), lambda scores: torch.distributions.Normal(scores, torch.ones(4)))


def build_scores_broadcast_by_hand():
    class Chosen(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(20, 32), nn.Linear(32, 5)

        def forward(self, x, label):
            label, scores = torch.broadcast_tensors(label[:, None], self.head(torch.relu(self.body(x))).log_softmax(-1))
            return scores.gather(1, label[:, :1])

    return setup(Chosen(), (table(), labels(64)), loss=lambda chosen: -chosen.mean())


# -------------------------------------------------------------------- embeddings into the plane


class Plane(nn.Module):
    def __init__(self, between, *, shown=False):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 64), nn.PReLU(), nn.Linear(64, 2))
        self.between, self.head, self.shown = between, nn.Linear(2, 10), shown

    def forward(self, x):
        x = self.between(self.body(x))
        return (x, self.head(x)) if self.shown else self.head(x)


def build_embedding_into_the_plane_with_a_parametric_rectifier():
    return classifier(Plane(nn.PReLU()), table(), classes=10)


def build_embedding_into_the_plane_with_a_leaky_rectifier():
    return classifier(Plane(nn.LeakyReLU(0.2)), table(), classes=10)


def build_embedding_that_a_center_loss_reads():
    centers = torch.randn(10, 2)

    def loss(output, target):
        return F.cross_entropy(output[1], target) + 0.01 * (output[0] - centers[target]).pow(2).sum(1).mean()

    return setup(Plane(nn.PReLU(), shown=True), table(), labels(64, 10), loss)
