"""Metric learning, contrastive and self-supervised learning, distillation."""

import copy

import torch
import torch.nn.functional as F
from torch import nn


def clusters(n=64, classes=4, width=20):
    y = torch.arange(n) % classes
    return torch.randn(classes, width)[y] * 2 + torch.randn(n, width), y


def mlp(*widths):
    layers = []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.fc = (
            mlp(20, 64, 32),
            nn.Sequential(nn.Linear(64, 32), nn.ReLU(inplace=True), nn.Linear(32, 1)),
        )

    def forward(self, a, b):
        return torch.sigmoid(self.fc(torch.cat((self.embedding(a), self.embedding(b)), 1))).squeeze(1)


def build_siamese_bce():
    model = Siamese()
    x, _y = clusters(128)
    return {
        "model": model,
        "inputs": (x[:64], x[64:][torch.arange(64).roll(1).where(torch.arange(64) % 2 > 0, torch.arange(64))]),
        "targets": (torch.arange(64) % 2 == 0).float(),
        "loss": nn.BCELoss(),
        "optimizer": torch.optim.Adadelta(model.parameters(), lr=1.0),
    }


class TripletNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = mlp(20, 64, 16)

    def forward(self, anchor, positive, negative):
        return self.embedding(anchor), self.embedding(positive), self.embedding(negative)


def build_triplet():
    model = TripletNet()
    x, _ = clusters(96)
    loss = nn.TripletMarginLoss(margin=1.0)
    return {
        "model": model,
        "inputs": (x[:32], x[32:64], x[64:].roll(1, 0)),
        "loss": lambda out: loss(*out),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }


def contrastive(output, same):
    a, b = output
    d = F.pairwise_distance(a, b)
    return (same * d.pow(2) + (1 - same) * F.relu(1.0 - d).pow(2)).mean()


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = mlp(20, 64, 16)

    def forward(self, a, b):
        return self.net(a), self.net(b)


def build_contrastive_pairs():
    model = Pair()
    x, y = clusters(64)
    other = torch.randperm(64)
    return {
        "model": model,
        "inputs": (x, x[other]),
        "targets": (y == y[other]).float(),
        "loss": contrastive,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }


class SimCLR(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.projector = (
            nn.Sequential(mlp(20, 64, 32), nn.ReLU()),
            nn.Sequential(nn.Linear(32, 32, bias=False), nn.ReLU(), nn.Linear(32, 16, bias=False)),
        )

    def forward(self, x_i, x_j):
        return self.projector(self.encoder(x_i)), self.projector(self.encoder(x_j))


def nt_xent(out):
    z = F.normalize(torch.cat(out), dim=1)
    n = len(z) // 2
    sim = z @ z.t() / 0.5
    sim = sim.masked_fill(torch.eye(2 * n, dtype=torch.bool), -9e15)
    return F.cross_entropy(sim, torch.arange(2 * n).roll(n))


def build_simclr():
    model = SimCLR()
    x, _ = clusters()
    return {
        "model": model,
        "inputs": (x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x)),
        "loss": nt_xent,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-4, weight_decay=1e-6),
    }


class CLIP(nn.Module):
    def __init__(self):
        super().__init__()
        self.visual, self.text = mlp(20, 64, 16), nn.EmbeddingBag(40, 16)
        self.logit_scale = nn.Parameter(torch.ones([]) * 2.6593)

    def forward(self, image, text):
        image, text = F.normalize(self.visual(image), dim=-1), F.normalize(self.text(text), dim=-1)
        logits = self.logit_scale.exp() * image @ text.t()
        return logits, logits.t()


def clip_loss(out):
    labels = torch.arange(len(out[0]))
    return (F.cross_entropy(out[0], labels) + F.cross_entropy(out[1], labels)) / 2


def build_clip():
    model = CLIP()
    text = torch.randint(0, 40, (32, 6))
    image = torch.randn(40, 20)[text].mean(1)
    return {
        "model": model,
        "inputs": (image, text),
        "loss": clip_loss,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.2),
    }


class BYOL(nn.Module):
    def __init__(self):
        super().__init__()
        self.online = nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 16))
        self.predictor = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16))
        self.target = copy.deepcopy(self.online)
        for p in self.target.parameters():
            p.requires_grad = False

    def forward(self, a, b):
        with torch.no_grad():
            ta, tb = self.target(a), self.target(b)
        pa, pb = self.predictor(self.online(a)), self.predictor(self.online(b))
        return (4 - 2 * F.cosine_similarity(pa, tb, dim=-1) - 2 * F.cosine_similarity(pb, ta, dim=-1)).mean()


def build_byol():
    model = BYOL()
    x, _ = clusters()
    params = [p for p in model.parameters() if p.requires_grad]
    return {
        "model": model,
        "inputs": (x + 0.2 * torch.randn_like(x), x + 0.2 * torch.randn_like(x)),
        "loss": lambda out: out,
        "optimizer": torch.optim.Adam(params, lr=3e-4),
    }


def build_distillation():
    x, y = clusters()
    teacher, student = mlp(20, 128, 4), mlp(20, 32, 4)
    teacher_logits = teacher(x).detach() * 4

    def loss(logits, target, t=2.0):
        soft = (
            F.kl_div(F.log_softmax(logits / t, dim=1), F.softmax(target["teacher"] / t, dim=1), reduction="batchmean")
            * t
            * t
        )
        return 0.5 * soft + 0.5 * F.cross_entropy(logits, target["label"])

    return {
        "model": student,
        "inputs": x,
        "targets": {"teacher": teacher_logits, "label": y},
        "loss": loss,
        "optimizer": torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9),
    }


class ArcFace(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.weight = (
            nn.Sequential(nn.Linear(20, 64), nn.PReLU(), nn.Linear(64, 16)),
            nn.Parameter(torch.empty(4, 16)),
        )
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x, label):
        cosine = F.linear(F.normalize(self.backbone(x)), F.normalize(self.weight))
        phi = torch.cos(torch.acos(cosine.clamp(-1 + 1e-5, 1 - 1e-5)) + 0.2)
        return 16 * torch.where(F.one_hot(label, 4).bool(), phi, cosine)


def build_arcface():
    model = ArcFace()
    x, y = clusters()
    return {
        "model": model,
        "inputs": (x, y),
        "targets": y,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4),
    }


class Proto(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = mlp(20, 64, 16)

    def forward(self, support, query):
        prototypes = self.encoder(support).mean(1)
        return -torch.cdist(self.encoder(query), prototypes).pow(2)


def build_prototypical():
    model = Proto()
    x, y = clusters(60)
    support = torch.stack([x[:20][y[:20] == c] for c in range(4)])
    return {
        "model": model,
        "inputs": (support, x[20:]),
        "targets": y[20:],
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }
