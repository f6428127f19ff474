"""Graph networks: dense and sparse adjacency, edge lists, batches of graphs."""

import torch
import torch.nn.functional as F
from torch import nn


def graph(nodes=60, classes=3):
    """Features, labels and an adjacency matrix in which equals are neighbours."""
    y = torch.arange(nodes) % classes
    same = y[:, None] == y
    a = torch.rand(nodes, nodes) < torch.where(same, 0.15, 0.02)
    a = (a | a.t()).float()
    a.fill_diagonal_(1)
    x = F.one_hot(y, classes).float().repeat(1, 4) + torch.randn(nodes, 4 * classes)
    return x, y, a


def normalized(a):
    d = a.sum(1).pow(-0.5)
    return d[:, None] * a * d


class GraphConvolution(nn.Module):
    def __init__(self, fin, fout):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(fin, fout)), nn.Parameter(torch.empty(fout))
        stdv = fout**-0.5
        nn.init.uniform_(self.weight, -stdv, stdv)
        nn.init.uniform_(self.bias, -stdv, stdv)

    def forward(self, x, adj):
        return torch.spmm(adj, torch.mm(x, self.weight)) + self.bias


class GCN(nn.Module):
    def __init__(self, fin=12, hidden=16, classes=3):
        super().__init__()
        self.gc1, self.gc2 = GraphConvolution(fin, hidden), GraphConvolution(hidden, classes)

    def forward(self, x, adj):
        x = F.dropout(F.relu(self.gc1(x, adj)), 0.5, training=self.training)
        return F.log_softmax(self.gc2(x, adj), dim=1)


def build_gcn_sparse():
    model = GCN()
    x, y, a = graph()
    return {
        "model": model,
        "inputs": (x, normalized(a).to_sparse()),
        "targets": y,
        "loss": F.nll_loss,
        "optimizer": torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4),
    }


def build_gcn_train_mask():
    model = GCN()
    x, y, a = graph()
    idx = torch.arange(30)
    return {
        "model": model,
        "inputs": (x, normalized(a)),
        "targets": y,
        "loss": lambda out, labels: F.nll_loss(out[idx], labels[idx]),
        "optimizer": torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4),
    }


class GAT(nn.Module):
    def __init__(self, fin=12, hidden=16, classes=3):
        super().__init__()
        self.w, self.a = nn.Linear(fin, hidden, bias=False), nn.Parameter(torch.randn(2 * hidden, 1) * 0.1)
        self.out = nn.Linear(hidden, classes)

    def forward(self, x, adj):
        h = self.w(x)
        d = h.shape[1]
        e = F.leaky_relu(h @ self.a[:d] + (h @ self.a[d:]).t(), 0.2)
        attention = F.softmax(torch.where(adj > 0, e, torch.full_like(e, -9e15)), dim=1)
        attention = F.dropout(attention, 0.3, training=self.training)
        return self.out(F.elu(attention @ h))


def build_gat_dense():
    model = GAT()
    x, y, a = graph()
    return {
        "model": model,
        "inputs": (x, a),
        "targets": y,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=5e-4),
    }


class Sage(nn.Module):
    def __init__(self, fin=12, hidden=16, classes=3):
        super().__init__()
        self.own1, self.near1 = nn.Linear(fin, hidden), nn.Linear(fin, hidden, bias=False)
        self.own2, self.near2 = nn.Linear(hidden, classes), nn.Linear(hidden, classes, bias=False)

    def mean(self, x, edge_index):
        src, dst = edge_index
        total = torch.zeros_like(x).index_add_(0, dst, x[src])
        count = torch.zeros(len(x)).index_add_(0, dst, torch.ones(len(dst))).clamp(min=1)
        return total / count[:, None]

    def forward(self, x, edge_index):
        h = F.relu(self.own1(x) + self.near1(self.mean(x, edge_index)))
        return self.own2(h) + self.near2(self.mean(h, edge_index))


def build_sage_edge_index():
    model = Sage()
    x, y, a = graph()
    return {
        "model": model,
        "inputs": (x, a.nonzero().t().contiguous()),
        "targets": y,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=0.01),
    }


class Gin(nn.Module):
    """Classifies whole graphs of a batch by a sum over their nodes."""

    def __init__(self, fin=4, hidden=32):
        super().__init__()
        self.mlp1 = nn.Sequential(
            nn.Linear(fin, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.mlp2 = nn.Sequential(
            nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.out = nn.Linear(hidden, 2)

    def forward(self, x, adj):
        b, n, _ = x.shape
        for mlp in (self.mlp1, self.mlp2):
            x = mlp((x + adj @ x).view(b * n, -1)).view(b, n, -1)
        return self.out(x.mean(1))


def build_graph_classification():
    model = Gin()
    y = torch.arange(32) % 2
    adj = (torch.rand(32, 10, 10) < torch.where(y > 0, 0.5, 0.15)[:, None, None]).float()
    adj = ((adj + adj.transpose(1, 2)) > 0).float()
    x = torch.rand(32, 10, 4)
    return {
        "model": model,
        "inputs": (x, adj),
        "targets": y,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }


class LinkPredictor(nn.Module):
    def __init__(self, fin=12, hidden=16):
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(fin, hidden), nn.Linear(hidden, hidden)

    def forward(self, x, adj, pairs):
        z = adj @ self.lin2(F.relu(adj @ self.lin1(x)))
        return (z[pairs[0]] * z[pairs[1]]).sum(1)


def build_link_prediction():
    model = LinkPredictor()
    x, y, a = graph()
    pairs = torch.randint(0, 60, (2, 200))
    return {
        "model": model,
        "inputs": (x, normalized(a), pairs),
        "targets": (y[pairs[0]] == y[pairs[1]]).float(),
        "loss": nn.BCEWithLogitsLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=0.01),
    }
