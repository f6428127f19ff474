"""The same programs with their axes in order, and others that only look scrambled."""

import torch
from _parts import classifier, images, labels, setup, tokens
from torch import nn
from torch.nn import functional as F


def build_masked_autoencoder():
    class MultiHead(nn.Module):
        def __init__(self, dim, heads):
            super().__init__()
            self.heads = heads
            self.q, self.k, self.v, self.o = [nn.Linear(dim, dim) for _ in range(4)]

        def forward(self, x):
            B, N, C = x.shape
            split = lambda t: t.view(B, N, self.heads, C // self.heads).transpose(1, 2)
            q, k, v = split(self.q(x)), split(self.k(x)), split(self.v(x))
            att = torch.softmax(torch.einsum("bhid,bhjd->bhij", q, k) * (C // self.heads) ** -0.5, -1)
            return self.o(torch.einsum("bhij,bhjd->bihd", att, v).reshape(B, N, C))

    class Blk(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
            self.att = MultiHead(d, 4)
            self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

        def forward(self, x):
            x = x + self.att(self.n1(x))
            return x + self.mlp(self.n2(x))

    class MAE(nn.Module):
        def __init__(self, d=32, p=8, size=32, keep=6):
            super().__init__()
            self.p, self.keep, self.n = p, keep, (size // p) ** 2
            self.embed = nn.Linear(3 * p * p, d)
            self.pos = nn.Parameter(torch.randn(1, self.n, d) * 0.2)
            self.enc, self.dec = Blk(d), Blk(d)
            self.mask_token = nn.Parameter(torch.randn(1, 1, d) * 0.02)
            self.head = nn.Linear(d, 3 * p * p)

        def patchify(self, im):
            b, c, h, w = im.shape
            p = self.p
            x = im.reshape(b, c, h // p, p, w // p, p)
            return torch.einsum("bchpwq->bhwpqc", x).reshape(b, -1, p * p * c)

        def forward(self, im):
            x = self.patchify(im)
            t = self.embed(x) + self.pos
            perm = torch.rand(t.shape[0], t.shape[1]).argsort(1)
            back = perm.argsort(1)
            seen = torch.gather(t, 1, perm[:, : self.keep, None].expand(-1, -1, t.size(-1)))
            z = self.enc(seen)
            z = torch.cat([z, self.mask_token.expand(len(t), self.n - self.keep, -1)], 1)
            z = torch.gather(z, 1, back[..., None].expand(-1, -1, z.size(-1))) + self.pos
            return self.head(self.dec(z)), x, (back >= self.keep).float()

    def loss(out, _):
        pred, wanted, mask = out
        per = ((pred - wanted) ** 2).mean(-1)
        return (per * mask).sum() / mask.sum()

    x = images()
    return setup(MAE(), x, x, loss)


def build_vit_patches_by_unfold():
    class ViT(nn.Module):
        def __init__(self, dim=32):
            super().__init__()
            self.proj = nn.Linear(3 * 64, dim)
            self.cls = nn.Parameter(torch.randn(1, 1, dim))
            self.pos = nn.Parameter(torch.randn(1, 17, dim))
            enc = nn.TransformerEncoderLayer(dim, 4, 64, batch_first=True, dropout=0.0)
            self.tr = nn.TransformerEncoder(enc, 1)
            self.fc = nn.Linear(dim, 5)

        def forward(self, img):
            b = img.shape[0]
            x = img.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).reshape(b, 16, -1)
            x = torch.cat((self.cls.repeat(b, 1, 1), self.proj(x)), dim=1) + self.pos
            return self.fc(self.tr(x)[:, 0])

    return classifier(ViT(), images())


def build_bilstm_hidden_of_two_layers():
    class SentimentLSTM(nn.Module):
        def __init__(self, vocab=100, emb=16, hid=24):
            super().__init__()
            self.emb = nn.Embedding(vocab, emb)
            self.lstm = nn.LSTM(emb, hid, 2, batch_first=True, bidirectional=True)
            self.fc = nn.Linear(2 * hid, 5)

        def forward(self, x):
            _, (h, c) = self.lstm(self.emb(x))
            h = h.view(2, 2, x.size(0), -1)[-1]
            return self.fc(h.transpose(0, 1).reshape(x.size(0), -1))

    return classifier(SentimentLSTM(), tokens())


def build_seq2seq_outputs_time_major_loss():
    class Seq2Seq(nn.Module):
        def __init__(self, v=30, h=32):
            super().__init__()
            self.src, self.trg = nn.Embedding(v, h), nn.Embedding(v, h)
            self.enc, self.dec = nn.GRU(h, h), nn.GRU(h, h)
            self.out = nn.Linear(h, v)

        def forward(self, src, trg):
            _, hidden = self.enc(self.src(src))
            outputs = torch.zeros(trg.size(0), trg.size(1), 30)
            for t in range(trg.size(0)):
                o, hidden = self.dec(self.trg(trg[t : t + 1]), hidden)
                outputs[t] = self.out(o[0])
            return outputs

    src, trg = tokens(24, 9, 30).t(), tokens(24, 8, 30).t()
    crit = nn.CrossEntropyLoss()
    return setup(Seq2Seq(), (src, trg[:-1]), trg[1:], lambda o, y: crit(o.view(-1, 30), y.reshape(-1)))


def build_pyramidal_listener():
    class PBLSTM(nn.Module):
        def __init__(self, i, h):
            super().__init__()
            self.rnn = nn.LSTM(2 * i, h, batch_first=True, bidirectional=True)

        def forward(self, x):
            b, t, f = x.shape
            return self.rnn(x.contiguous().view(b, t // 2, f * 2))[0]

    class Listener(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.fc = PBLSTM(10, 12), PBLSTM(24, 12), nn.Linear(24, 5)

        def forward(self, x):
            return self.fc(self.b(self.a(x)).mean(1))

    return classifier(Listener(), torch.randn(32, 16, 10))


def build_swin_windows_by_hand():
    def part(x, w):
        b, h, ww, c = x.shape
        return x.view(b, h // w, w, ww // w, w, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, w * w, c)

    def unpart(x, w, h, ww):
        b = x.size(0) // ((h // w) * (ww // w))
        return x.view(b, h // w, ww // w, w, w, -1).permute(0, 1, 3, 2, 4, 5).reshape(b, h, ww, -1)

    class Net(nn.Module):
        def __init__(self, d=24):
            super().__init__()
            self.patch, self.norm = nn.Conv2d(3, d, 4, 4), nn.LayerNorm(d)
            self.bias = nn.Parameter(torch.randn(16, d) * 0.3)
            self.attn, self.head = nn.MultiheadAttention(d, 4, batch_first=True), nn.Linear(d, 5)

        def forward(self, x):
            x = self.patch(x).permute(0, 2, 3, 1)
            y = part(torch.roll(self.norm(x), (-2, -2), (1, 2)), 4) + self.bias
            y = self.attn(y, y, y, need_weights=False)[0]
            x = x + torch.roll(unpart(y, 4, 8, 8), (2, 2), (1, 2))
            return self.head(x.mean((1, 2)))

    return classifier(Net(), images())


def build_grouped_query_attention():
    class GQA(nn.Module):
        def __init__(self, d=32, h=4, kv=2):
            super().__init__()
            self.h, self.kv, self.hd = h, kv, d // h
            self.q, self.k, self.v, self.o = (
                nn.Linear(d, d),
                nn.Linear(d, kv * self.hd),
                nn.Linear(d, kv * self.hd),
                nn.Linear(d, d),
            )

        def rep(self, x):
            b, t, n, d = x.shape
            return x[:, :, :, None, :].expand(b, t, n, self.h // self.kv, d).reshape(b, t, self.h, d)

        def forward(self, x):
            b, t, _ = x.shape
            q = self.q(x).view(b, t, self.h, self.hd).transpose(1, 2)
            k = self.rep(self.k(x).view(b, t, self.kv, self.hd)).transpose(1, 2)
            v = self.rep(self.v(x).view(b, t, self.kv, self.hd)).transpose(1, 2)
            m = torch.ones(t, t, dtype=torch.bool).tril()
            w = (q @ k.transpose(2, 3) / self.hd**0.5).masked_fill(~m, float("-inf")).softmax(-1)
            return self.o((w @ v).transpose(1, 2).reshape(b, t, -1))

    class LM(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.p, self.a, self.n, self.h = (
                nn.Embedding(60, 32),
                nn.Embedding(32, 32),
                GQA(),
                nn.LayerNorm(32),
                nn.Linear(32, 60),
            )

        def forward(self, x):
            h = self.e(x) + self.p(torch.arange(x.size(1)))
            return self.h(h + self.a(self.n(h)))

    t = tokens(24, 13, 60)
    return setup(LM(), t[:, :-1], t[:, 1:], lambda o, y: F.cross_entropy(o.reshape(-1, 60), y.reshape(-1)))


def build_stgcn_permuted():
    class STGCN(nn.Module):
        def __init__(self, feats=2, hid=16):
            super().__init__()
            self.theta = nn.Parameter(torch.randn(feats, hid) * 0.5)
            self.gru, self.out = nn.GRU(hid, hid, batch_first=True), nn.Linear(hid, 1)

        def forward(self, x, adj):
            B, T, N, _ = x.shape
            h = torch.relu(torch.einsum("mn,btnf->btmf", adj, x) @ self.theta)
            h = h.permute(0, 2, 1, 3).reshape(B * N, T, -1)
            return self.out(self.gru(h)[0][:, -1]).view(B, N)

    x = torch.randn(16, 12, 7, 2).cumsum(1) / 3
    adj = torch.rand(7, 7).softmax(-1)
    return setup(STGCN(), (x, adj), x[:, -1, :, 0] + 0.1 * torch.randn(16, 7), nn.MSELoss())


def build_relative_shift_of_transformer_xl():
    class RelAttn(nn.Module):
        def __init__(self, d=32, h=4):
            super().__init__()
            self.h, self.hd = h, d // h
            self.qkv, self.r, self.o = (
                nn.Linear(d, 3 * d),
                nn.Parameter(torch.randn(31, h, d // h) * 0.2),
                nn.Linear(d, d),
            )

        def shift(self, x):
            b, h, q, k = x.shape
            x = F.pad(x, (1, 0)).view(b, h, k + 1, q)
            return x[:, :, 1:].view(b, h, q, k)[..., :q]

        def forward(self, x):
            b, t, d = x.shape
            q, k, v = self.qkv(x).view(b, t, 3, self.h, self.hd).permute(2, 0, 3, 1, 4)
            ac = q @ k.transpose(-1, -2)
            bd = self.shift(torch.einsum("bhqd,rhd->bhqr", q, self.r))
            w = ((ac + bd) / self.hd**0.5).softmax(-1)
            return self.o((w @ v).transpose(1, 2).reshape(b, t, d))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.a, self.n, self.h = nn.Embedding(100, 32), RelAttn(), nn.LayerNorm(32), nn.Linear(32, 5)

        def forward(self, x):
            x = self.e(x)
            return self.h((x + self.a(self.n(x)))[:, 0])

    return classifier(Net(), tokens())


def build_clusters_of_descriptors():
    """Clusters: a softmax over clusters and a mean over the members is no attention."""

    class NetVLAD(nn.Module):
        def __init__(self, d=16, k=4):
            super().__init__()
            self.conv, self.assign, self.c = (
                nn.Conv2d(3, d, 3, 2, 1),
                nn.Conv2d(d, k, 1),
                nn.Parameter(torch.randn(k, d)),
            )
            self.fc = nn.Linear(d * k, 5)

        def forward(self, x):
            f = F.normalize(self.conv(x), dim=1)
            a = self.assign(f).softmax(1).flatten(2)
            f = f.flatten(2)
            v = torch.einsum("bkn,bdn->bkd", a, f) - a.sum(-1)[..., None] * self.c
            return self.fc(F.normalize(v, dim=-1).flatten(1))

    return classifier(NetVLAD(), images(16))


def build_linear_attention_two_softmaxes():
    class Eff(nn.Module):
        def __init__(self, d=32):
            super().__init__()
            self.q, self.k, self.v, self.o = [nn.Linear(d, d) for _ in range(4)]

        def forward(self, x):
            q, k = self.q(x).softmax(-1), self.k(x).softmax(1)
            return self.o(q @ (k.transpose(1, 2) @ self.v(x)))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.p, self.a, self.h = (
                nn.Embedding(100, 32),
                nn.Parameter(torch.randn(16, 32) * 0.3),
                Eff(),
                nn.Linear(32, 5),
            )

        def forward(self, x):
            x = self.e(x) + self.p
            return self.h((x + self.a(x)).mean(1))

    return classifier(Net(), tokens())


def build_dense_graph_attention():
    class GAT(nn.Module):
        def __init__(self, i=8, o=16):
            super().__init__()
            self.W, self.a1, self.a2 = (
                nn.Linear(i, o, bias=False),
                nn.Linear(o, 1, bias=False),
                nn.Linear(o, 1, bias=False),
            )

        def forward(self, x, adj):
            h = self.W(x)
            e = F.leaky_relu(self.a1(h) + self.a2(h).transpose(1, 2), 0.2).masked_fill(adj == 0, -9e15)
            return F.elu(F.softmax(e, dim=2) @ h)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.g1, self.g2, self.fc = GAT(), GAT(16, 16), nn.Linear(16, 5)

        def forward(self, x, adj):
            return self.fc(self.g2(self.g1(x, adj), adj).mean(1))

    adj = ((torch.rand(32, 9, 9) < 0.4) | torch.eye(9, dtype=torch.bool)).float()
    return classifier(Net(), (torch.randn(32, 9, 8), adj))


def build_attention_scores_keys_first():
    """Scores are kept as (keys, queries) and normalized over the keys."""

    class SelfAttn(nn.Module):
        def __init__(self, c=16):
            super().__init__()
            self.f, self.g, self.h = nn.Conv1d(c, c // 2, 1), nn.Conv1d(c, c // 2, 1), nn.Conv1d(c, c, 1)
            self.gamma = nn.Parameter(torch.tensor([0.3]))

        def forward(self, x):
            size = x.size()
            x = x.view(*size[:2], -1)
            beta = F.softmax(torch.bmm(self.f(x).transpose(1, 2), self.g(x)), dim=1)
            return (self.gamma * torch.bmm(self.h(x), beta) + x).view(*size)

    net = nn.Sequential(
        nn.Conv2d(3, 16, 4, 2, 1), nn.ReLU(), SelfAttn(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)
    )
    return classifier(net, images(16))


def build_rotary_by_complex_numbers():
    class Attn(nn.Module):
        def __init__(self, d=32, h=4):
            super().__init__()
            self.h, self.hd = h, d // h
            self.qkv, self.o = nn.Linear(d, 3 * d), nn.Linear(d, d)
            f = torch.outer(torch.arange(64).float(), 1.0 / 100 ** (torch.arange(0, self.hd, 2).float() / self.hd))
            self.register_buffer("cis", torch.polar(torch.ones_like(f), f))

        def rot(self, x):
            z = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
            return torch.view_as_real(z * self.cis[: x.size(1)].unsqueeze(1)).flatten(3)

        def forward(self, x):
            b, t, d = x.shape
            q, k, v = [y.view(b, t, self.h, self.hd) for y in self.qkv(x).chunk(3, -1)]
            o = F.scaled_dot_product_attention(*(y.transpose(1, 2) for y in (self.rot(q), self.rot(k), v)))
            return self.o(o.transpose(1, 2).reshape(b, t, d))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.a, self.n, self.h = nn.Embedding(100, 32), Attn(), nn.LayerNorm(32), nn.Linear(32, 5)

        def forward(self, x):
            x = self.e(x)
            return self.h((x + self.a(self.n(x)))[:, 0])

    return classifier(Net(), tokens())


def build_pairwise_distances_outer_on_purpose():
    """A metric-learning loss that compares every sample with every other: (N, 1) with (N,) is meant."""

    class Emb(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 8))

        def forward(self, x):
            return F.normalize(self.f(x), dim=-1)

    def batch_hard(e, y):
        d = torch.cdist(e, e)
        same = y[:, None] == y[None, :]
        hardest_p = (d * same).max(1)[0]
        hardest_n = (d + 10 * same).min(1)[0]
        return F.relu(hardest_p - hardest_n + 0.3).mean()

    return setup(Emb(), torch.randn(40, 20), labels(40), batch_hard)


def build_heads_beside_the_batch():
    class Attn(nn.Module):
        def __init__(self, d=32, h=4):
            super().__init__()
            self.h = h
            self.q, self.k, self.v, self.o = [nn.Linear(d, d) for _ in range(4)]

        def forward(self, x):
            t, b, d = x.shape
            sp = lambda z: z.view(t, b * self.h, d // self.h).transpose(0, 1)
            q, k, v = sp(self.q(x)), sp(self.k(x)), sp(self.v(x))
            w = torch.bmm(q, k.transpose(1, 2)).div((d // self.h) ** 0.5).softmax(-1)
            return self.o(torch.bmm(w, v).transpose(0, 1).reshape(t, b, d))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.p, self.a, self.h = (
                nn.Embedding(100, 32),
                nn.Parameter(torch.randn(16, 1, 32) * 0.3),
                Attn(),
                nn.Linear(32, 5),
            )

        def forward(self, x):
            x = self.e(x.t()) + self.p
            return self.h((x + self.a(x)).mean(0))

    return classifier(Net(), tokens())
