"""Graphs, sets, tables, routers, policies, several inputs and outputs."""

import math

import torch
from _parts import classifier, labels, setup
from torch import nn
from torch.nn import functional


class MessagePassing(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.message, self.update = nn.Linear(2 * inputs, outputs), nn.Linear(inputs + outputs, outputs)

    def forward(self, x, edges):
        source, target = edges
        messages = functional.relu(self.message(torch.cat([x[source], x[target]], dim=1)))
        gathered = torch.zeros(len(x), messages.shape[1]).index_add(0, target, messages)
        return functional.relu(self.update(torch.cat([x, gathered], dim=1)))


class GraphNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([MessagePassing(8, 32), MessagePassing(32, 32)])
        self.head = nn.Linear(32, 5)

    def forward(self, x, edge_index):
        for layer in self.layers:
            x = layer(x, edge_index)
        return self.head(x)


def build_message_passing():
    return setup(GraphNet(), (torch.randn(60, 8), torch.randint(0, 60, (2, 240))), labels(60), nn.CrossEntropyLoss())


class GraphConvolution(nn.Module):
    """Two layers with a normalized dense adjacency."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 32), nn.Linear(32, 5)

    def forward(self, x, adjacency):
        x = functional.dropout(functional.relu(adjacency @ self.first(x)), 0.3, self.training)
        return adjacency @ self.second(x)


def build_graph_convolution():
    adjacency = ((torch.rand(60, 60) < 0.1) | torch.eye(60, dtype=torch.bool)).float()
    adjacency = torch.maximum(adjacency, adjacency.T)
    degree = adjacency.sum(1).rsqrt()
    inputs = (torch.randn(60, 8), degree[:, None] * adjacency * degree)
    return setup(GraphConvolution(), inputs, labels(60), nn.CrossEntropyLoss())


class GraphAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.value, self.score, self.head = nn.Linear(8, 32, bias=False), nn.Linear(64, 1), nn.Linear(32, 5)

    def forward(self, x, edge_index):
        source, target = edge_index
        h = self.value(x)
        score = functional.leaky_relu(self.score(torch.cat([h[source], h[target]], 1))[:, 0], 0.2)
        weight = torch.exp(score - score.max())
        total = torch.zeros(len(x)).index_add(0, target, weight)
        message = (weight / (total[target] + 1e-9))[:, None] * h[source]
        return self.head(functional.elu(torch.zeros_like(h).index_add(0, target, message)))


def build_graph_attention():
    return setup(GraphAttention(), (torch.randn(60, 8), torch.randint(0, 60, (2, 240))), labels(60), nn.CrossEntropyLoss())


class MixtureOfExperts(nn.Module):
    """Top-two routing with an auxiliary loss that balances the experts."""

    def __init__(self, width=32, experts=4):
        super().__init__()
        self.router = nn.Linear(width, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width)) for _ in range(experts)
        )

    def forward(self, x):
        probability = self.router(x).softmax(-1)
        weight, chosen = probability.topk(2, dim=-1)
        weight = weight / weight.sum(-1, keepdim=True)
        out = torch.zeros_like(x)
        for index, expert in enumerate(self.experts):
            rows, places = torch.where(chosen == index)
            out = out.index_add(0, rows, weight[rows, places, None] * expert(x[rows]))
        used = functional.one_hot(chosen[:, 0], len(self.experts)).float().mean(0)
        return x + out, len(self.experts) * (used * probability.mean(0)).sum()


class Routed(nn.Module):
    def __init__(self):
        super().__init__()
        self.inputs, self.norm, self.moe, self.head = nn.Linear(20, 32), nn.LayerNorm(32), MixtureOfExperts(), nn.Linear(32, 5)

    def forward(self, x):
        h, balance = self.moe(self.norm(self.inputs(x)))
        return self.head(h), balance


def build_mixture_of_experts():
    loss = lambda output, y: functional.cross_entropy(output[0], y) + 0.01 * output[1]
    return setup(Routed(), torch.randn(64, 20), labels(64), loss)


class SoftMixture(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(20, 3)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5)) for _ in range(3))

    def forward(self, x):
        weights = functional.softmax(self.gate(x), dim=-1)
        outputs = torch.stack([expert(x) for expert in self.experts], dim=1)
        return (weights.unsqueeze(-1) * outputs).sum(1)


def build_soft_mixture():
    return classifier(SoftMixture(), torch.randn(64, 20))


class DeepSet(nn.Module):
    def __init__(self):
        super().__init__()
        self.element = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.whole = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5))

    def forward(self, points):
        return self.whole(self.element(points).mean(dim=1))


def build_deep_set():
    return classifier(DeepSet(), torch.randn(64, 12, 3), declared={"set-input"})


class PointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.points = nn.Sequential(
            nn.Conv1d(3, 32, 1, bias=False), nn.BatchNorm1d(32), nn.ReLU(),
            nn.Conv1d(32, 64, 1, bias=False), nn.BatchNorm1d(64), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(64, 5)

    def forward(self, cloud):
        return self.head(self.points(cloud.transpose(1, 2)).amax(dim=2))


def build_point_net():
    return classifier(PointNet(), torch.randn(32, 40, 3), declared={"set-input"})


class Tabular(nn.Module):
    """Embedded categories beside numbers."""

    def __init__(self, sizes=(10, 4, 25)):
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(size, 8) for size in sizes)
        self.norm = nn.BatchNorm1d(6)
        self.body = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.BatchNorm1d(64), nn.Dropout(0.2), nn.Linear(64, 1))

    def forward(self, categories, numbers):
        embedded = [table(categories[:, index]) for index, table in enumerate(self.embeddings)]
        return self.body(torch.cat([*embedded, self.norm(numbers)], dim=1)).squeeze(-1)


def build_table_with_categories():
    categories = torch.stack([torch.randint(0, size, (64,)) for size in (10, 4, 25)], dim=1)
    return setup(Tabular(), (categories, torch.randn(64, 6)), labels(64, 2).float(), nn.BCEWithLogitsLoss())


class Factorization(nn.Module):
    def __init__(self):
        super().__init__()
        self.users, self.items = nn.Embedding(50, 16), nn.Embedding(80, 16)
        self.user_bias, self.item_bias = nn.Embedding(50, 1), nn.Embedding(80, 1)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.1)
        for table in (self.user_bias, self.item_bias):
            nn.init.zeros_(table.weight)

    def forward(self, user, item):
        score = (self.users(user) * self.items(item)).sum(-1, keepdim=True)
        return (score + self.user_bias(user) + self.item_bias(item)).squeeze(-1)


def build_matrix_factorization():
    inputs = (torch.randint(0, 50, (128,)), torch.randint(0, 80, (128,)))
    return setup(Factorization(), inputs, torch.randn(128), nn.MSELoss())


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.policy, self.value = nn.Linear(64, 4), nn.Linear(64, 1)
        for layer, gain in ((self.body[0], 2**0.5), (self.body[2], 2**0.5), (self.policy, 0.01), (self.value, 1.0)):
            nn.init.orthogonal_(layer.weight, gain)
            nn.init.zeros_(layer.bias)

    def forward(self, observation):
        h = self.body(observation)
        return torch.distributions.Categorical(logits=self.policy(h)), self.value(h).squeeze(-1)


def ppo(output, batch):
    policy, value = output
    ratio = torch.exp(policy.log_prob(batch["action"]) - batch["log_probability"])
    clipped = ratio.clamp(0.8, 1.2)
    gain = torch.minimum(ratio * batch["advantage"], clipped * batch["advantage"]).mean()
    return -gain + 0.5 * functional.mse_loss(value, batch["return"]) - 0.01 * policy.entropy().mean()


def build_actor_critic():
    batch = {
        "action": torch.randint(0, 4, (64,)),
        "log_probability": torch.full((64,), -math.log(4.0)),
        "advantage": torch.randn(64),
        "return": torch.randn(64),
    }
    return setup(ActorCritic(), torch.randn(64, 8), batch, ppo)


class QLearning(nn.Module):
    def __init__(self):
        super().__init__()
        self.online, self.target = (nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4)) for _ in range(2))
        self.target.requires_grad_(False)

    def forward(self, state, action, reward, following):
        value = self.online(state).gather(1, action[:, None]).squeeze(1)
        with torch.no_grad():
            best = reward + 0.99 * self.target(following).max(1).values
        return functional.smooth_l1_loss(value, best)


def build_q_learning():
    inputs = (torch.randn(64, 8), torch.randint(0, 4, (64,)), torch.randn(64), torch.randn(64, 8))
    return setup(QLearning(), inputs, loss=lambda output: output, frozen="target*")


class HyperNetwork(nn.Module):
    """One net makes the weights of another."""

    def __init__(self):
        super().__init__()
        self.maker = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 20 * 5))
        nn.init.normal_(self.maker[2].weight, std=0.02)

    def forward(self, task, x):
        weight = self.maker(task).view(-1, 5, 20)
        return torch.bmm(weight, x.unsqueeze(-1)).squeeze(-1)


def build_hypernetwork():
    return setup(HyperNetwork(), (torch.randn(64, 6), torch.randn(64, 20)), labels(64), nn.CrossEntropyLoss())


class NeuralOde(nn.Module):
    """Euler steps with one vector field."""

    def __init__(self):
        super().__init__()
        self.inputs, self.head = nn.Linear(20, 16), nn.Linear(16, 5)
        self.field = nn.Sequential(nn.Linear(17, 32), nn.Tanh(), nn.Linear(32, 16))

    def forward(self, x):
        h = self.inputs(x)
        for step in range(6):
            time = h.new_full((len(h), 1), step / 6)
            h = h + self.field(torch.cat([h, time], dim=1)) / 6
        return self.head(h)


def build_neural_ode():
    return classifier(NeuralOde(), torch.randn(64, 20))


class PhysicsInformed(nn.Module):
    """Its loss differentiates the output by the input."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

    def forward(self, x):
        x = x.detach().requires_grad_(True)
        with torch.enable_grad():
            u = self.net(x)
            slope = torch.autograd.grad(u.sum(), x, create_graph=True)[0]
        return u, slope


def build_physics_informed():
    return setup(PhysicsInformed(), torch.rand(64, 1), loss=lambda o: (o[1] + o[0]).square().mean() + (o[0][0] - 1).square().sum())


class Recommender(nn.Module):
    """User and item towers; the other items of the batch are the negatives."""

    def __init__(self):
        super().__init__()
        self.user = nn.Sequential(nn.Embedding(50, 16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
        self.item = nn.Sequential(nn.Embedding(80, 16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, user, item):
        return self.user(user) @ self.item(item).T / 4


def build_two_towers_with_in_batch_negatives():
    inputs = (torch.randperm(50)[:40], torch.randperm(80)[:40])
    return setup(Recommender(), inputs, torch.arange(40), nn.CrossEntropyLoss())
