"""Losses of several terms, and targets made by networks, where a term trains nothing, too much, or the wrong thing."""

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


# -------------------------------------------------------------------- LOS032: targets that are trained


def build_target_of_the_same_network():  # expect: LOS032
    online = mlp(outputs=3)
    states, action, reward, following = rollout()

    def loss(values, replay):
        action, reward, following = replay
        wanted = reward + 0.99 * online(following).max(1).values  # <- LOS032
        return functional.smooth_l1_loss(values.gather(1, action[:, None]).squeeze(1), wanted)

    return setup(online, states, (action, reward, following), loss)


def build_target_network_under_another_name():  # expect: LOS032
    class Agent(nn.Module):
        def __init__(self):
            super().__init__()
            self.online = mlp(outputs=3)
            self.target = self.online

        def forward(self, states):
            return self.online(states)

        def criterion(self, values, replay):
            action, reward, following, done = replay
            best = self.target(following).amax(1)
            error = values[torch.arange(len(action)), action] - (reward + 0.9 * (1 - done) * best)  # <- LOS032
            return (error**2).mean()  # <- LOS032

    states, action, reward, following = rollout()
    agent = Agent()
    return setup(agent, states, (action, reward, following, torch.zeros(64)), agent.criterion)


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.policy, self.value = nn.Sequential(nn.Linear(20, 48), nn.Tanh()), nn.Linear(48, 3), nn.Linear(48, 1)

    def forward(self, states):
        hidden = self.body(states)
        return self.policy(hidden), self.value(hidden).squeeze(-1)


def build_advantage_with_its_gradient():  # expect: LOS032
    def loss(output, batch):
        logits, value = output
        action, returns = batch
        advantage = returns - value  # <- LOS032
        chosen = logits.log_softmax(-1).gather(1, action[:, None])[:, 0]
        return -(chosen * advantage).mean() + 0.5 * advantage.pow(2).mean()  # <- LOS032

    states, action, returns, _ = rollout()
    return setup(ActorCritic(), states, (action, returns), loss)


def build_normalized_advantage_with_its_gradient():  # expect: LOS032
    def loss(output, batch):
        logits, value = output
        action, returns = batch
        advantage = returns - value
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)  # <- LOS032
        chosen = torch.distributions.Categorical(logits=logits).log_prob(action)
        return -torch.mean(chosen * advantage) + functional.mse_loss(value, returns)  # <- LOS032

    states, action, returns, _ = rollout()
    return setup(ActorCritic(), states, (action, returns), loss)


def build_teacher_that_learns():  # expect: LOS032
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.student, self.teacher = mlp(), mlp()

        def forward(self, x):
            return self.student(x), self.teacher(x)

    def loss(output, y):
        a, b = output
        near = functional.kl_div((a / 2).log_softmax(1), (b / 2).softmax(1), reduction="batchmean")  # <- LOS032
        return functional.cross_entropy(a, y) + near

    return setup(Pair(), table(), labels(64), loss)


def build_critic_that_bootstraps_from_itself():  # expect: LOS032
    critic = mlp(22, 1)
    states, _, reward, following = rollout()
    action = torch.rand(64, 2)

    def loss(value, replay):
        reward, following, action = replay
        wanted = torch.where(reward > 1, reward, reward + 0.9 * critic(torch.cat([following, action], 1))[:, 0])  # <- LOS032
        return functional.huber_loss(value[:, 0], wanted)

    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = critic

        def forward(self, state, action):
            return self.net(torch.cat([state, action], 1))

    return setup(Critic(), (states, action), (reward, following, action), loss)


# -------------------------------------------------------------------- LOS033: CTC


class Reader(nn.Module):
    def __init__(self, classes=9, stride=1):
        super().__init__()
        self.conv = nn.Conv1d(12, 32, 5, stride, 2)
        self.rnn, self.head = nn.GRU(32, 32, batch_first=True, bidirectional=True), nn.Linear(64, classes)

    def forward(self, x):
        hidden = torch.relu(self.conv(x.transpose(1, 2))).transpose(1, 2)
        return self.head(self.rnn(hidden)[0]).log_softmax(-1)


def ctc(blank=0, steps=None, **more):
    def loss(scores, targets):
        samples, time, _ = scores.shape
        lengths = torch.full((samples,), targets.shape[1])
        return nn.CTCLoss(blank=blank, **more)(scores.transpose(0, 1), targets, torch.full((samples,), steps or time), lengths)  # <- LOS033 RUN003

    return loss


def build_blank_among_the_letters():  # expect: LOS033
    return setup(Reader(), torch.randn(16, 30, 12), torch.randint(0, 9, (16, 5)), ctc())


def build_blank_in_the_middle():  # expect: LOS033
    return setup(Reader(), torch.randn(16, 30, 12), torch.randint(1, 9, (16, 5)), ctc(blank=4))


def build_stride_that_leaves_too_few_steps():  # expect: LOS033
    return setup(Reader(stride=4), torch.randn(16, 32, 12), torch.randint(1, 9, (16, 12)), ctc(zero_infinity=True))


def build_lengths_before_the_stride():  # expect: LOS033, RUN003
    return setup(Reader(stride=2), torch.randn(16, 32, 12), torch.randint(1, 9, (16, 5)), ctc(steps=32))


def build_ctc_on_logits():  # expect: LOS033
    class Logits(Reader):
        def forward(self, x):
            hidden = torch.relu(self.conv(x.transpose(1, 2))).transpose(1, 2)
            return self.head(self.rnn(hidden)[0])

    return setup(Logits(), torch.randn(16, 30, 12), torch.randint(1, 9, (16, 5)), ctc())


# -------------------------------------------------------------------- LOS034: bounded critics


class Judge(nn.Module):
    def __init__(self, last):
        super().__init__()
        self.net, self.last = mlp(12, 1), last

    def forward(self, real, fake):
        return self.last(self.net(real)), self.last(self.net(fake))  # <- LOS034


def pairs():
    return torch.randn(64, 12) + 1, torch.randn(64, 12)


def build_wasserstein_with_a_sigmoid_module():  # expect: LOS034 at last
    return setup(Judge(nn.Sigmoid()), pairs(), loss=lambda scores: scores[1].mean() - scores[0].mean())


def build_wasserstein_with_a_tanh():  # expect: LOS034
    return setup(Judge(torch.tanh), pairs(), loss=lambda scores: -(scores[0].mean() - scores[1].mean()))


def build_wasserstein_in_one_mean():  # expect: LOS034
    return setup(Judge(torch.sigmoid), pairs(), loss=lambda scores: torch.mean(scores[1].view(-1) - scores[0].view(-1)))


def build_wasserstein_with_labels():  # expect: LOS034 at 5
    model = mlp(20, 1, nn.Sigmoid())
    sides = 1 - 2 * (torch.arange(64) % 2).float()[:, None]
    return setup(model, table(), sides, lambda score, side: (score * side).mean())


# -------------------------------------------------------------------- LOS035: dead terms


def build_adversarial_term_on_a_detached_picture():  # expect: LOS035
    generator = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 3, 3, 1, 1))
    critic = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 4, 2, 1))

    def loss(fake, real):
        judged = critic(fake.detach())  # <- LOS035
        adversarial = functional.binary_cross_entropy_with_logits(judged, torch.ones_like(judged))
        return 0.01 * adversarial + functional.l1_loss(fake, real)

    x = images(8, 3, 16)
    return setup(generator, x, x.flip(3), loss)


def build_consistency_under_no_grad():  # expect: LOS035
    model = mlp()
    x = table()

    def loss(output, y):
        with torch.no_grad():
            other = model(x + 0.1 * torch.randn_like(x)).softmax(1)  # <- LOS035
            near = functional.mse_loss(output.softmax(1), other)  # <- LOS035
        return functional.cross_entropy(output, y) + near

    return setup(model, x, labels(64), loss)


def build_smoothness_of_numbers():  # expect: LOS035
    def loss(output, y):
        rough = (output[:, 1:] - output[:, :-1]).data.abs().mean()  # <- LOS035
        total = functional.mse_loss(output, y)
        total += 0.1 * rough
        return total

    return setup(mlp(outputs=8), table(), torch.randn(64, 8), loss)


def build_preference_with_beta_zero():  # expect: LOS035 error
    class Preference(nn.Module):
        def __init__(self, beta=0.0):
            super().__init__()
            self.policy, self.beta = mlp(outputs=1), beta
            self.reference = copy.deepcopy(self.policy).requires_grad_(False)

        def forward(self, chosen, rejected):
            margin = self.policy(chosen) - self.policy(rejected)
            with torch.no_grad():
                before = self.reference(chosen) - self.reference(rejected)
            return -functional.logsigmoid(self.beta * (margin - before)).mean()  # <- LOS035

    return setup(Preference(), (table(), table()), loss=lambda out: out)


def build_entropy_of_a_detached_policy():  # expect: LOS035
    def loss(output, y):
        logp = output.detach().log_softmax(1)  # <- LOS035
        return torch.stack([functional.cross_entropy(output, y), -(logp.exp() * logp).sum(1).mean()]).sum()

    return setup(mlp(), table(), labels(64), loss)


# -------------------------------------------------------------------- LOS036: dominant terms


class Vae(nn.Module):
    def __init__(self, inputs=64):
        super().__init__()
        self.inner, self.code, self.outer = mlp(inputs, 32), nn.Linear(32, 24), mlp(12, inputs)

    def forward(self, x):
        mean, log_variance = self.code(torch.relu(self.inner(x))).chunk(2, 1)
        return self.outer(mean + torch.randn_like(mean) * (0.5 * log_variance).exp()), mean, log_variance


def build_summed_divergence_beside_a_mean():  # expect: LOS036
    def loss(output, x):
        made, mean, log_variance = output
        kl = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
        return functional.mse_loss(made, x) + kl  # <- LOS036

    x = torch.randn(128, 64)
    return setup(Vae(), x, x, loss, declared=["stochastic"])


class Tasks(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.classes, self.number = nn.Sequential(nn.Linear(20, 48), nn.ReLU()), nn.Linear(48, 5), nn.Linear(48, 1)

    def forward(self, x):
        hidden = self.body(x)
        return {"class": self.classes(hidden), "price": self.number(hidden).squeeze(1)}


def build_prices_beside_classes():  # expect: LOS036
    def loss(output, batch):
        return functional.cross_entropy(output["class"], batch["y"]) + ((output["price"] - batch["price"]) ** 2).mean()  # <- LOS036

    return setup(Tasks(), table(), {"y": labels(64), "price": 5e4 + 1e4 * torch.randn(64)}, loss)


def build_boxes_in_pixels_beside_classes():  # expect: LOS036
    class Detector(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.classes, self.boxes = nn.Linear(16, 5), nn.Linear(16, 4)

        def forward(self, x):
            hidden = self.body(x)
            return self.classes(hidden), self.boxes(hidden)

    def loss(output, batch):
        likelihood = functional.cross_entropy(output[0], batch[0])  # <- LOS036
        return likelihood + functional.mse_loss(output[1], batch[1], reduction="sum")

    return setup(Detector(), images(16, 3, 16), (labels(16), 600 * torch.rand(16, 4)), loss)


# -------------------------------------------------------------------- LOS037: weights of the mean


def build_focal_loss_of_the_mean():  # expect: LOS037
    class Focal(nn.Module):
        def forward(self, logits, y):
            plain = functional.cross_entropy(logits, y)
            p = torch.exp(-plain)
            return 0.25 * (1 - p) ** 2 * plain  # <- LOS037

    return setup(mlp(), table(), labels(64), Focal())


def build_binary_focal_loss_of_the_mean():  # expect: LOS037
    def focal(scores, y, gamma=2.0):
        plain = functional.binary_cross_entropy_with_logits(scores, y, reduction="none").mean()
        return plain * (1 - (-plain).exp()).pow(gamma)  # <- LOS037

    return setup(mlp(outputs=1), table(), (torch.arange(64) % 2).float()[:, None], focal)


def build_focal_loss_of_the_mean_of_pixels():  # expect: LOS037
    def focal(output, y):
        plain = functional.nll_loss(output.log_softmax(1), y)
        return torch.mul((1 - torch.exp(-plain.detach())) ** 2, plain)  # <- LOS037

    model = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 4, 1))
    return setup(model, images(16, 3, 16), torch.randint(0, 4, (16, 16, 16)), focal)


# -------------------------------------------------------------------- DAT014: class weights


def imbalanced(samples=240):
    return torch.tensor([0] * 150 + [1] * 60 + [2] * 30)[torch.randperm(samples)]


def build_frequencies_as_weights():  # expect: DAT014
    y = imbalanced()
    loss = nn.CrossEntropyLoss(weight=torch.bincount(y) / len(y))
    return setup(mlp(outputs=3), table(240), y, lambda output, y: loss(output, y))  # <- DAT014


def build_weights_of_two_classes_swapped():  # expect: DAT014
    y = (torch.arange(200) % 10 == 0).long()
    loss = lambda output, y: functional.cross_entropy(output, y, torch.tensor([10.0, 1.1]))  # <- DAT014
    return setup(mlp(outputs=2), table(200), y, loss)


def build_weights_in_the_order_of_first_appearance():  # expect: DAT014
    y = imbalanced()
    weight = (80 / torch.bincount(y))[[1, 2, 0]]
    loss = lambda output, y: functional.nll_loss(output.log_softmax(1), y, weight=weight)  # <- DAT014
    return setup(mlp(outputs=3), table(240), y, loss)


def build_positives_over_negatives():  # expect: DAT014
    y = (torch.arange(200) % 10 == 0).float()[:, None]
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([20 / 180]))
    return setup(mlp(outputs=1), table(200), y, lambda output, y: loss(output, y))  # <- DAT014


def build_positives_that_weigh_nothing():  # expect: DAT014
    y = (torch.arange(200) % 4 == 0).float()[:, None]
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([50 // 150]))
    return setup(mlp(outputs=1), table(200), y, lambda output, y: loss(output, y))  # <- DAT014
