"""Losses of several terms, with targets made by networks: each term trains what it should, and nothing else."""

import copy

import torch
from _parts import images, labels, setup, table
from torch import nn
from torch.nn import functional


def mlp(inputs=20, outputs=5, last=None):
    layers = [nn.Linear(inputs, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, outputs)]
    return nn.Sequential(*layers, *([last] if last is not None else []))


def rollout(samples=64, actions=3):
    states = table(samples)
    return states, torch.randint(0, actions, (samples,)), torch.randn(samples), states + 0.1 * torch.randn(samples, 20)


# -------------------------------------------------------------------- agents


def build_dqn_with_a_target_network():
    online = mlp(outputs=3)
    target = copy.deepcopy(online).requires_grad_(False)
    states, action, reward, following = rollout()

    def loss(values, replay):
        action, reward, following, done = replay
        with torch.no_grad():
            wanted = reward + 0.99 * (1 - done) * target(following).max(1).values
        return functional.smooth_l1_loss(values.gather(1, action[:, None]).squeeze(1), wanted)

    return setup(online, states, (action, reward, following, torch.zeros(64)), loss)


def build_dqn_with_a_copy_that_nobody_froze():
    """Its parameters require grad, and no optimizer holds them: a waste, no fault."""
    online = mlp(outputs=3)
    target = copy.deepcopy(online)
    states, action, reward, following = rollout()

    def loss(values, replay):
        action, reward, following = replay
        wanted = reward + 0.99 * target(following).max(1).values
        return functional.mse_loss(values[torch.arange(64), action], wanted)

    return setup(online, states, (action, reward, following), loss)


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.policy, self.value = nn.Sequential(nn.Linear(20, 48), nn.Tanh()), nn.Linear(48, 3), nn.Linear(48, 1)

    def forward(self, states):
        hidden = self.body(states)
        return self.policy(hidden), self.value(hidden).squeeze(-1)


def build_actor_critic_with_a_detached_advantage():
    def loss(output, batch):
        logits, value = output
        action, returns = batch
        advantage = (returns - value).detach()
        chosen = torch.distributions.Categorical(logits=logits)
        return -(chosen.log_prob(action) * advantage).mean() + 0.5 * (returns - value).pow(2).mean() - 0.01 * chosen.entropy().mean()

    states, action, returns, _ = rollout()
    return setup(ActorCritic(), states, (action, returns), loss)


def build_proximal_policy():
    def loss(output, batch):
        logits, value = output
        action, before, advantage, returns = batch
        chosen = torch.distributions.Categorical(logits=logits)
        ratio = (chosen.log_prob(action) - before).exp()
        clipped = torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
        return -clipped.mean() + 0.5 * functional.mse_loss(value, returns) - 0.01 * chosen.entropy().mean()

    states, action, returns, _ = rollout()
    return setup(ActorCritic(), states, (action, torch.full((64,), -1.1), torch.randn(64), returns), loss)


def build_deterministic_policy():
    """The actor's step of TD3: the critic lives in the loss, its value is maximized."""
    actor, critic = mlp(outputs=2, last=nn.Tanh()), mlp(22, 1)
    states = table()
    return setup(actor, states, states, lambda action, state: -critic(torch.cat([state, action], 1)).mean())


def build_twin_critics():
    class Critics(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = mlp(22, 1), mlp(22, 1)

        def forward(self, state, action):
            both = torch.cat([state, action], 1)
            return self.one(both).squeeze(1), self.two(both).squeeze(1)

    model, actor = Critics(), mlp(outputs=2, last=nn.Tanh())
    old = copy.deepcopy(model).requires_grad_(False)

    def loss(values, replay):
        reward, following = replay
        with torch.no_grad():
            wanted = reward + 0.99 * torch.min(*old(following, actor(following)))
        return functional.mse_loss(values[0], wanted) + functional.mse_loss(values[1], wanted)

    states, _, reward, following = rollout()
    return setup(model, (states, torch.rand(64, 2)), (reward, following), loss)


# -------------------------------------------------------------------- generative models


class Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.code, self.outer = mlp(20, 32), nn.Linear(32, 12), mlp(6, 20)

    def forward(self, x):
        mean, log_variance = self.code(torch.relu(self.inner(x))).chunk(2, 1)
        return self.outer(mean + torch.randn_like(mean) * (0.5 * log_variance).exp()), mean, log_variance


def divergence(mean, log_variance):
    return -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1)


def build_vae_averaged_over_samples():
    def loss(output, x):
        made, mean, log_variance = output
        return ((made - x) ** 2).sum(1).mean() + divergence(mean, log_variance).mean()

    x = table()
    return setup(Vae(), x, x, loss, declared=["stochastic"])


def build_vae_before_its_beta_rises():
    def loss(output, x, beta=0.0):
        made, mean, log_variance = output
        return functional.mse_loss(made, x) + beta * divergence(mean, log_variance).mean()

    x = table()
    return setup(Vae(), x, x, loss, declared=["stochastic"])


def build_generator_and_pixels():
    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 3, 3, 1, 1))

        def forward(self, x):
            return self.net(x)

    critic = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 4, 2, 1))

    def loss(fake, real):
        judged = critic(fake)
        adversarial = functional.binary_cross_entropy_with_logits(judged, torch.ones_like(judged))
        return adversarial + 100 * functional.l1_loss(fake, real)

    x = images(8, 3, 16)
    return setup(Generator(), x, x.flip(3), loss)


class Judge(nn.Module):
    def __init__(self, last=None):
        super().__init__()
        self.net = mlp(12, 1, last)

    def forward(self, real, fake):
        return self.net(real), self.net(fake)


def pairs():
    return torch.randn(64, 12) + 1, torch.randn(64, 12)


def build_critic_with_a_gradient_penalty():
    model = Judge()
    real, fake = pairs()

    def loss(scores):
        between = (0.3 * real + 0.7 * fake).requires_grad_()
        (slope,) = torch.autograd.grad(model.net(between).sum(), between, create_graph=True)
        return scores[1].mean() - scores[0].mean() + 10 * ((slope.norm(dim=1) - 1) ** 2).mean()

    return setup(model, (real, fake), loss=loss)


def build_discriminator_with_a_sigmoid():
    def loss(scores):
        real, fake = scores
        return functional.binary_cross_entropy(real, torch.ones_like(real)) + functional.binary_cross_entropy(fake, torch.zeros_like(fake))

    return setup(Judge(nn.Sigmoid()), pairs(), loss=loss)


def build_discriminator_with_logarithms():
    loss = lambda scores: -(torch.log(scores[0] + 1e-6).mean() + torch.log(1 - scores[1] + 1e-6).mean())
    return setup(Judge(nn.Sigmoid()), pairs(), loss=loss)


def build_discriminator_with_a_hinge():
    loss = lambda scores: functional.relu(1 - scores[0]).mean() + functional.relu(1 + scores[1]).mean()
    return setup(Judge(), pairs(), loss=loss)


def build_codebook():
    class Quantized(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.codes, self.outer = mlp(20, 8), nn.Embedding(16, 8), mlp(8, 20)

        def forward(self, x):
            z = self.inner(x)
            nearest = torch.cdist(z, self.codes.weight).argmin(1)
            q = self.codes(nearest)
            return self.outer(z + (q - z).detach()), z, q

    def loss(output, x):
        made, z, q = output
        return functional.mse_loss(made, x) + functional.mse_loss(q, z.detach()) + 0.25 * functional.mse_loss(z, q.detach())

    model = Quantized()
    nn.init.normal_(model.codes.weight, std=0.2)
    x = table()
    return setup(model, x, x, loss)


# -------------------------------------------------------------------- teachers, views, several tasks


def build_distillation_without_gradients():
    student, teacher = mlp(), mlp()
    x = table()

    def loss(logits, y):
        with torch.no_grad():
            wanted = (teacher(x) / 2).softmax(1)
        near = functional.kl_div((logits / 2).log_softmax(1), wanted, reduction="batchmean")
        return 0.5 * functional.cross_entropy(logits, y) + 0.5 * 4 * near

    return setup(student, x, labels(64), loss)


def build_two_networks_that_teach_each_other():
    class Peers(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = mlp(), mlp()

        def forward(self, x):
            return self.one(x), self.two(x)

    def loss(output, y):
        a, b = output
        likelihood = functional.cross_entropy(a, y) + functional.cross_entropy(b, y)
        near = functional.kl_div(a.log_softmax(1), b.softmax(1), reduction="batchmean")
        return likelihood + near + functional.kl_div(b.log_softmax(1), a.softmax(1), reduction="batchmean")

    return setup(Peers(), table(), labels(64), loss)


def build_one_network_with_two_dropouts():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.drop, self.head = mlp(outputs=32), nn.Dropout(0.2), nn.Linear(32, 5)

        def forward(self, x):
            hidden = torch.relu(self.body(x))
            return self.head(self.drop(hidden)), self.head(self.drop(hidden))

    def loss(output, y):
        a, b = output
        near = functional.kl_div(a.log_softmax(1), b.softmax(1), reduction="batchmean")
        near = near + functional.kl_div(b.log_softmax(1), a.softmax(1), reduction="batchmean")
        return functional.cross_entropy(a, y) + functional.cross_entropy(b, y) + 0.5 * near

    return setup(Twice(), table(), labels(64), loss)


def build_views_of_a_siamese_network():
    class Siamese(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.predictor = mlp(outputs=16), mlp(16, 16)

        def forward(self, one, other):
            return [self.encoder(one), self.encoder(other)]

    model = Siamese()

    def loss(z):
        p = [model.predictor(part) for part in z]
        near = functional.cosine_similarity(p[0], z[1].detach()).mean() + functional.cosine_similarity(p[1], z[0].detach()).mean()
        return -near / 2

    x = table()
    return setup(model, (x, x + 0.1 * torch.randn_like(x)), loss=loss)


def build_pictures_and_words():
    class Towers(nn.Module):
        def __init__(self):
            super().__init__()
            self.pictures, self.words = mlp(outputs=16), mlp(outputs=16)

        def forward(self, a, b):
            return functional.normalize(self.pictures(a), dim=1), functional.normalize(self.words(b), dim=1)

    def loss(output):
        scores = output[0] @ output[1].T / 0.1
        wanted = torch.arange(len(scores))
        return (functional.cross_entropy(scores, wanted) + functional.cross_entropy(scores.T, wanted)) / 2

    x = table()
    return setup(Towers(), (x, x + 0.3 * torch.randn_like(x)), loss=loss)


class Tasks(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.classes, self.number = nn.Sequential(nn.Linear(20, 48), nn.ReLU()), nn.Linear(48, 5), nn.Linear(48, 1)
        self.spread = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        hidden = self.body(x)
        return self.classes(hidden), self.number(hidden).squeeze(1)


def build_two_tasks_with_learned_weights():
    model = Tasks()

    def loss(output, batch):
        terms = torch.stack([functional.cross_entropy(output[0], batch[0]), functional.mse_loss(output[1], batch[1])])
        return (torch.exp(-model.spread) * terms + model.spread).sum()

    return setup(model, table(), (labels(64), torch.randn(64)), loss)


def build_small_auxiliary_term():
    def loss(output, batch):
        return functional.cross_entropy(output[0], batch[0]) + 1e-4 * functional.mse_loss(output[1], batch[1])

    model = Tasks()
    del model.spread
    return setup(model, table(), (labels(64), torch.randn(64)), loss)


def build_weight_penalty():
    model = mlp()
    loss = lambda output, y: functional.cross_entropy(output, y) + 1e-5 * sum(p.square().sum() for p in model.parameters())
    return setup(model, table(), labels(64), loss)


def build_cycle():
    class Cycle(nn.Module):
        def __init__(self):
            super().__init__()
            self.there, self.back = mlp(outputs=20), mlp(outputs=20)

        def forward(self, x):
            moved = self.there(x)
            return moved, self.back(moved)

    loss = lambda output, batch: functional.mse_loss(output[0], batch[0]) + functional.l1_loss(output[1], batch[1])
    x = table()
    return setup(Cycle(), x, (x.roll(1, 1), x), loss)


def build_logged_terms():
    """What is shown beside the loss is no part of it."""
    shown = {}

    def loss(output, y):
        plain = functional.cross_entropy(output, y)
        with torch.no_grad():
            shown["accuracy"] = (output.argmax(1) == y).float().mean()
            shown["entropy"] = -(output.softmax(1) * output.log_softmax(1)).sum(1).mean()
        return plain

    return setup(mlp(), table(), labels(64), loss)


# -------------------------------------------------------------------- CTC and class weights


class Reader(nn.Module):
    def __init__(self, classes=9):
        super().__init__()
        self.rnn, self.head = nn.GRU(12, 32, batch_first=True, bidirectional=True), nn.Linear(64, classes)

    def forward(self, x):
        return self.head(self.rnn(x)[0]).log_softmax(-1)


def build_ctc_with_the_blank_last():
    def loss(scores, batch):
        targets, lengths = batch
        return functional.ctc_loss(scores.transpose(0, 1), targets, (30,) * len(scores), tuple(lengths.tolist()), blank=8)

    targets = torch.randint(0, 8, (16, 6))
    return setup(Reader(), torch.randn(16, 30, 12), (targets, torch.randint(3, 7, (16,))), loss)


def build_ctc_with_targets_in_a_row():
    lengths = torch.randint(2, 7, (16,))
    targets = torch.randint(1, 9, (int(lengths.sum()),))

    def loss(scores, joined):
        return nn.CTCLoss(zero_infinity=True)(scores.transpose(0, 1), joined, torch.full((16,), 30), lengths)

    return setup(Reader(), torch.randn(16, 30, 12), targets, loss)


def imbalanced(samples=240):
    return torch.tensor([0] * 150 + [1] * 60 + [2] * 30)[torch.randperm(samples)]


def build_inverse_class_weights():
    y = imbalanced()
    return setup(mlp(outputs=3), table(240), y, nn.CrossEntropyLoss(weight=80 / torch.bincount(y)))


def build_effective_number_weights():
    y = imbalanced()
    weight = (1 - 0.99) / (1 - 0.99 ** torch.bincount(y))
    return setup(mlp(outputs=3), table(240), y, nn.CrossEntropyLoss(weight=weight / weight.sum() * 3))


def build_weight_of_rare_positives():
    y = (torch.arange(64) % 8 == 0).float()[:, None]
    return setup(mlp(outputs=1), table(), y, nn.BCEWithLogitsLoss(pos_weight=torch.tensor([7.0])))


def build_weight_of_a_balanced_pair():
    """A false alarm costs more than a miss, by choice."""
    return setup(mlp(outputs=2), table(), labels(64, 2), nn.CrossEntropyLoss(weight=torch.tensor([3.0, 1.0])))


def build_boosted_samples():
    def focal(logits, y):
        plain = functional.cross_entropy(logits, y, reduction="none")
        weight = (1 - torch.exp(-plain)) ** 2
        return (weight * plain).sum() / weight.sum().detach()

    return setup(mlp(), table(), labels(64), focal)
