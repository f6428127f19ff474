"""Axes taken for one another in whole programs: masked autoencoders, captioners, graphs over time, rotary encodings."""

import math

import torch
from _parts import classifier, images, labels, setup, tokens
from torch import nn
from torch.nn import functional as F

# -------------------------------------------------------------------- ARC029


def build_mae_heads_by_view():  # expect: ARC029 error
    class MultiHead(nn.Module):
        def __init__(self, dim, heads):
            super().__init__()
            self.heads = heads
            self.q, self.k, self.v, self.o = [nn.Linear(dim, dim) for _ in range(4)]

        def forward(self, x):
            B, N, C = x.shape
            q = self.q(x).view(B, self.heads, N, C // self.heads)  # <- ARC029
            k = self.k(x).view(B, self.heads, N, C // self.heads)  # <- ARC029
            v = self.v(x).view(B, self.heads, N, C // self.heads)  # <- ARC029
            att = torch.softmax(torch.einsum("bhid,bhjd->bhij", q, k) * (C // self.heads) ** -0.5, -1)
            out = torch.einsum("bhij,bhjd->bhid", att, v).reshape(B, N, C)
            return self.o(out)

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


def build_vit_patches_by_reshape():  # expect: ARC029 error
    class ViT(nn.Module):
        def __init__(self, size=32, patch=8, dim=32):
            super().__init__()
            self.np = (size // patch) ** 2
            self.proj = nn.Linear(3 * patch * patch, dim)
            self.cls = nn.Parameter(torch.randn(1, 1, dim))
            self.pos = nn.Parameter(torch.randn(1, self.np + 1, dim))
            enc = nn.TransformerEncoderLayer(dim, 4, 64, batch_first=True, dropout=0.0)
            self.tr = nn.TransformerEncoder(enc, 1)
            self.fc = nn.Linear(dim, 5)

        def forward(self, img):
            b = img.shape[0]
            x = img.reshape(b, self.np, -1)  # <- ARC029
            x = self.proj(x)
            x = torch.cat((self.cls.repeat(b, 1, 1), x), dim=1) + self.pos
            return self.fc(self.tr(x)[:, 0])

    return classifier(ViT(), images())


def build_tcn_on_viewed_series():  # expect: ARC029 error
    class TCN(nn.Module):
        def __init__(self, n_features=6, steps=24, horizon=3):
            super().__init__()
            self.conv1 = nn.Conv1d(n_features, 16, 3, padding=1)
            self.conv2 = nn.Conv1d(16, 16, 3, padding=1)
            self.out = nn.Linear(16 * steps, horizon)

        def forward(self, x):  # (batch, steps, features)
            x = x.view(x.size(0), x.size(2), x.size(1))  # <- ARC029
            x = F.relu(self.conv1(x))
            x = F.relu(self.conv2(x))
            return self.out(x.flatten(1))

    x = torch.randn(64, 24, 6).cumsum(1) / 4
    return setup(TCN(), x, x[:, -3:, 0] * 0.9 + 0.1 * torch.randn(64, 3), nn.MSELoss())


def build_bilstm_hidden_viewed():  # expect: ARC029 error
    class SentimentLSTM(nn.Module):
        def __init__(self, vocab=100, emb=16, hid=24):
            super().__init__()
            self.emb = nn.Embedding(vocab, emb)
            self.lstm = nn.LSTM(emb, hid, batch_first=True, bidirectional=True)
            self.fc = nn.Linear(2 * hid, 5)

        def forward(self, x):
            e = self.emb(x)
            _, (h, c) = self.lstm(e)
            h = h.view(x.size(0), -1)  # <- ARC029
            return self.fc(h)

    return classifier(SentimentLSTM(), tokens())


def build_seq2seq_outputs_viewed_as_batch_first():  # expect: ARC029 error
    class Seq2Seq(nn.Module):
        def __init__(self, v=30, h=32):
            super().__init__()
            self.src, self.trg = nn.Embedding(v, h), nn.Embedding(v, h)
            self.enc, self.dec = nn.GRU(h, h, batch_first=True), nn.GRU(h, h, batch_first=True)
            self.out = nn.Linear(h, v)
            self.v = v

        def forward(self, src, trg):
            b, length = trg.shape
            _, hidden = self.enc(self.src(src))
            outputs = []
            for t in range(length):
                o, hidden = self.dec(self.trg(trg[:, t : t + 1]), hidden)
                outputs.append(self.out(o.squeeze(1)))
            return torch.stack(outputs).view(b, length, self.v)  # <- ARC029

    src, trg = tokens(24, 9, 30), tokens(24, 8, 30)
    crit = nn.CrossEntropyLoss()
    return setup(Seq2Seq(), (src, trg[:, :-1]), trg[:, 1:], lambda o, y: crit(o.reshape(-1, 30), y.reshape(-1)))


def build_cross_entropy_of_viewed_logits():  # expect: ARC029
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(100, 24)
            self.rnn = nn.LSTM(24, 24, batch_first=True, bidirectional=True)
            self.fc = nn.Linear(48, 7)

        def forward(self, x):
            out, _ = self.rnn(self.emb(x))
            return self.fc(out)

    def criterion(logits, tags):
        return F.cross_entropy(logits.view(logits.size(0), logits.size(2), logits.size(1)), tags)  # <- ARC029

    ids = tokens()
    return setup(Tagger(), ids, ids % 7, criterion)


def build_attention_merged_without_transpose():  # expect: ARC029 error
    class SelfAttention(nn.Module):
        def __init__(self, embed_size, heads):
            super().__init__()
            self.heads, self.head_dim = heads, embed_size // heads
            self.values = nn.Linear(embed_size, embed_size, bias=False)
            self.keys = nn.Linear(embed_size, embed_size, bias=False)
            self.queries = nn.Linear(embed_size, embed_size, bias=False)
            self.fc_out = nn.Linear(embed_size, embed_size)

        def forward(self, x):
            N, L, E = x.shape
            q = self.queries(x).reshape(N, L, self.heads, self.head_dim).permute(0, 2, 1, 3)
            k = self.keys(x).reshape(N, L, self.heads, self.head_dim).permute(0, 2, 1, 3)
            v = self.values(x).reshape(N, L, self.heads, self.head_dim).permute(0, 2, 1, 3)
            energy = torch.matmul(q, k.transpose(-1, -2)) / self.head_dim**0.5
            out = torch.matmul(F.softmax(energy, -1), v).reshape(N, L, self.heads * self.head_dim)  # <- ARC029
            return self.fc_out(out)

    class Enc(nn.Module):
        def __init__(self):
            super().__init__()
            self.word, self.position = nn.Embedding(100, 32), nn.Embedding(16, 32)
            self.attention, self.norm = SelfAttention(32, 4), nn.LayerNorm(32)
            self.ff = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32))
            self.out = nn.Linear(32, 5)

        def forward(self, x):
            pos = torch.arange(0, x.shape[1]).expand(x.shape[0], x.shape[1])
            h = self.word(x) + self.position(pos)
            h = self.norm(self.attention(h) + h)
            return self.out((self.ff(h) + h).mean(dim=1))

    return classifier(Enc(), tokens())


def build_stgcn_nodes_and_time_by_view():  # expect: ARC029 error
    class STGCN(nn.Module):
        def __init__(self, nodes=7, feats=2, hid=16):
            super().__init__()
            self.theta = nn.Parameter(torch.randn(feats, hid) * 0.3)
            self.gru = nn.GRU(hid, hid, batch_first=True)
            self.out = nn.Linear(hid, 1)

        def forward(self, x, adj):  # x (B, T, N, F)
            B, T, N, _ = x.shape
            h = torch.relu(adj @ (x @ self.theta))
            h = h.reshape(B * N, T, -1)  # <- ARC029
            o, _ = self.gru(h)
            return self.out(o[:, -1]).view(B, N)

    x = torch.randn(16, 12, 7, 2).cumsum(1) / 3
    adj = torch.rand(7, 7).softmax(-1)
    return setup(STGCN(), (x, adj), x[:, -1, :, 0] + 0.1 * torch.randn(16, 7), nn.MSELoss())


def build_qkv_packed_in_the_wrong_order():  # expect: ARC029 error
    class Attn(nn.Module):
        def __init__(self, dim=32, h=4):
            super().__init__()
            self.h = h
            self.to_qkv = nn.Linear(dim, dim * 3, bias=False)
            self.proj = nn.Linear(dim, dim)

        def forward(self, x):
            b, n, c = x.shape
            q, k, v = self.to_qkv(x).reshape(3, b, self.h, n, c // self.h)  # <- ARC029
            a = (q @ k.transpose(-2, -1) * (c // self.h) ** -0.5).softmax(-1)
            return self.proj((a @ v).transpose(1, 2).reshape(b, n, c))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch, self.pos = nn.Conv2d(3, 32, 8, 8), nn.Parameter(torch.randn(1, 16, 32) * 0.3)
            self.norm, self.attn, self.head = nn.LayerNorm(32), Attn(), nn.Linear(32, 5)

        def forward(self, x):
            x = self.patch(x).flatten(2).mT + self.pos
            return self.head((x + self.attn(self.norm(x))).mean(1))

    return classifier(Net(), images())


# -------------------------------------------------------------------- ARC009


def build_default_encoder_layer_on_patches():  # expect: ARC009
    class ViT(nn.Module):
        def __init__(self, dim=32):
            super().__init__()
            self.conv = nn.Conv2d(3, dim, 8, stride=8)
            self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
            self.pos_embed = nn.Parameter(torch.randn(1, 17, dim) * 0.02)
            self.blocks = nn.ModuleList(
                [nn.TransformerEncoderLayer(d_model=dim, nhead=4, dim_feedforward=64) for _ in range(2)]
            )
            self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 5))

        def forward(self, x):
            x = self.conv(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1) + self.pos_embed
            for blk in self.blocks:
                x = blk(x)  # <- ARC009
            return self.head(x[:, 0])

    return classifier(ViT(), images())


def build_frames_cnn_then_gru_of_time_major():  # expect: ARC009
    class CNNGRU(nn.Module):
        def __init__(self):
            super().__init__()
            self.cnn = nn.Sequential(
                nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
            )
            self.gru = nn.GRU(16, 32)
            self.fc = nn.Linear(32, 5)

        def forward(self, video):
            b, t = video.shape[:2]
            f = self.cnn(video.flatten(0, 1)).view(b, t, -1)
            o, _ = self.gru(f)  # <- ARC009
            return self.fc(o[:, -1])

    return classifier(CNNGRU(), images(20, 6, 16).view(20, 6, 1, 16, 16))


def build_speech_permuted_before_batch_first():  # expect: ARC009
    class DeepSpeechish(nn.Module):
        def __init__(self, mels=20, n=8):
            super().__init__()
            self.conv = nn.Sequential(
                nn.Conv1d(mels, 32, 5, stride=2, padding=2), nn.BatchNorm1d(32), nn.Hardtanh(0, 20)
            )
            self.rnn = nn.GRU(32, 32, num_layers=2, bidirectional=True, batch_first=True)
            self.fc = nn.Linear(64, n)

        def forward(self, x):
            x = self.conv(x)
            x = x.permute(2, 0, 1).contiguous()
            x, _ = self.rnn(x)  # <- ARC009
            return F.log_softmax(self.fc(x), -1)

    y = torch.randint(1, 8, (24, 5))
    crit = nn.CTCLoss(zero_infinity=True)
    return setup(
        DeepSpeechish(),
        torch.randn(24, 20, 48),
        y,
        lambda lp, t: crit(lp, t, torch.full((24,), lp.size(0)), torch.full((24,), 5)),
    )


# -------------------------------------------------------------------- ARC027


def build_luong_attention_over_the_decoder():  # expect: ARC027
    class Luong(nn.Module):
        def __init__(self, v=40, h=32):
            super().__init__()
            self.e1, self.e2 = nn.Embedding(v, h), nn.Embedding(v, h)
            self.enc, self.dec = nn.GRU(h, h, batch_first=True), nn.GRU(h, h, batch_first=True)
            self.Wa, self.Wc, self.out = nn.Linear(h, h, bias=False), nn.Linear(2 * h, h), nn.Linear(h, v)

        def forward(self, src, tgt):
            mem, h = self.enc(self.e1(src))
            dec, _ = self.dec(self.e2(tgt), h)
            score = dec @ self.Wa(mem).transpose(1, 2)  # (B, Tt, Ts)
            align = torch.softmax(score, dim=1)  # <- ARC027
            ctx = align @ mem
            return self.out(torch.tanh(self.Wc(torch.cat([ctx, dec], -1))))

    t = tokens(24, 8, 40)
    ce = nn.CrossEntropyLoss()
    return setup(Luong(), (tokens(24, 11, 40), t[:, :-1]), t[:, 1:], lambda o, y: ce(o.flatten(0, 1), y.flatten()))


def build_multihead_softmax_over_heads():  # expect: ARC027
    class MHSA(nn.Module):
        def __init__(self, d=32, h=4):
            super().__init__()
            self.h = h
            self.qkv, self.o = nn.Linear(d, 3 * d), nn.Linear(d, d)

        def forward(self, x):
            b, t, d = x.shape
            q, k, v = self.qkv(x).view(b, t, 3, self.h, d // self.h).permute(2, 0, 3, 1, 4)
            w = F.softmax(q @ k.transpose(-2, -1) / (d // self.h) ** 0.5, dim=1)  # <- ARC027
            return self.o((w @ v).transpose(1, 2).reshape(b, t, d))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.proj, self.pos, self.a, self.head = (
                nn.Linear(6, 32),
                nn.Parameter(torch.randn(1, 14, 32) * 0.3),
                MHSA(),
                nn.Linear(32, 5),
            )

        def forward(self, x):
            x = self.proj(x) + self.pos
            return self.head((x + self.a(x)).mean(1))

    return classifier(Net(), torch.randn(32, 14, 6))


def build_graph_attention_over_the_wrong_nodes():  # expect: ARC027
    class GAT(nn.Module):
        def __init__(self, i=8, o=16):
            super().__init__()
            self.W = nn.Linear(i, o, bias=False)
            self.a1, self.a2 = nn.Linear(o, 1, bias=False), nn.Linear(o, 1, bias=False)

        def forward(self, x, adj):
            h = self.W(x)  # (B, N, o)
            e = F.leaky_relu(self.a1(h) + self.a2(h).transpose(1, 2), 0.2)
            e = e.masked_fill(adj == 0, -9e15)
            att = F.softmax(e, dim=1)  # <- ARC027
            return F.elu(att @ h)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.g1, self.g2, self.fc = GAT(), GAT(16, 16), nn.Linear(16, 5)

        def forward(self, x, adj):
            return self.fc(self.g2(self.g1(x, adj), adj).mean(1))

    adj = ((torch.rand(32, 9, 9) < 0.4) | torch.eye(9, dtype=torch.bool)).float()
    return classifier(Net(), (torch.randn(32, 9, 8), adj))


# -------------------------------------------------------------------- ARC030, ARC031


def build_pe_slice_by_batch_after_stem():  # expect: ARC030
    class PositionalEncoding(nn.Module):
        def __init__(self, d_model, dropout=0.0, max_len=500):
            super().__init__()
            self.dropout = nn.Dropout(dropout)
            pe = torch.zeros(max_len, d_model)
            position = torch.arange(0, max_len, dtype=torch.float).unsqueeze(1)
            div = torch.exp(torch.arange(0, d_model, 2).float() * (-math.log(10000.0) / d_model))
            pe[:, 0::2] = torch.sin(position * div)
            pe[:, 1::2] = torch.cos(position * div)
            self.register_buffer("pe", pe.unsqueeze(0).transpose(0, 1))

        def forward(self, x):
            x = x + self.pe[: x.size(0), :]  # <- ARC030
            return self.dropout(x)

    class TSTransformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inp, self.pe = nn.Linear(3, 32), PositionalEncoding(32)
            self.enc = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 1)
            self.dec = nn.Linear(32, 1)

        def forward(self, x):
            return self.dec(self.enc(self.pe(self.inp(x)))[:, -1])

    x = torch.randn(32, 18, 3).cumsum(1) / 3
    return setup(TSTransformer(), x, x[:, -1, :1] + 0.1 * torch.randn(32, 1), nn.MSELoss())


def build_learned_positions_of_samples():  # expect: ARC030
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.tok, self.pos = nn.Embedding(100, 32), nn.Embedding(64, 32)
            self.att, self.fc = nn.MultiheadAttention(32, 4, batch_first=True), nn.Linear(32, 5)

        def forward(self, x):
            positions = torch.arange(x.shape[0]).unsqueeze(1)
            h = self.tok(x) + self.pos(positions)  # <- ARC030
            h = h + self.att(h, h, h)[0]
            return self.fc(h.mean(1))

    return classifier(Model(), tokens())


def build_rotary_over_heads():  # expect: ARC030
    def rotate_half(x):
        a, b = x.chunk(2, -1)
        return torch.cat([-b, a], -1)

    class Attn(nn.Module):
        def __init__(self, d=32, h=4):
            super().__init__()
            self.h, self.hd = h, d // h
            self.qkv, self.o = nn.Linear(d, 3 * d), nn.Linear(d, d)
            inv = 1.0 / 100 ** (torch.arange(0, self.hd, 2).float() / self.hd)
            f = torch.outer(torch.arange(64).float(), inv)
            f = torch.cat([f, f], -1)
            self.register_buffer("cos", f.cos())
            self.register_buffer("sin", f.sin())

        def forward(self, x):
            b, t, d = x.shape
            q, k, v = [y.view(b, t, self.h, self.hd) for y in self.qkv(x).chunk(3, -1)]
            cos, sin = self.cos[: q.size(2)], self.sin[: q.size(2)]
            q = q * cos + rotate_half(q) * sin  # <- ARC030
            k = k * cos + rotate_half(k) * sin  # <- ARC030
            q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
            o = F.scaled_dot_product_attention(q, k, v)
            return self.o(o.transpose(1, 2).reshape(b, t, d))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.a, self.n, self.h = nn.Embedding(100, 32), Attn(), nn.LayerNorm(32), nn.Linear(32, 5)

        def forward(self, x):
            x = self.e(x)
            return self.h((x + self.a(self.n(x)))[:, 0])

    return classifier(Net(), tokens())


def build_forecaster_last_of_batch():  # expect: ARC031
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(4, 24, batch_first=True)
            self.fc = nn.Linear(24, 1)

        def forward(self, x):
            out, (h, c) = self.lstm(x)
            return self.fc(out[-1]).squeeze(-1)  # <- ARC031

    x = torch.randn(20, 20, 4).cumsum(1) / 3
    return setup(Net(), x, x[:, -1, 0] + 0.1 * torch.randn(20), nn.MSELoss())


def build_first_layer_state_of_a_stack():  # expect: ARC031
    class Cls(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Embedding(100, 16)
            self.gru = nn.GRU(16, 24, num_layers=2, batch_first=True)
            self.fc = nn.Linear(24, 5)

        def forward(self, x):
            _, h = self.gru(self.e(x))
            return self.fc(h[0])  # <- ARC031

    return classifier(Cls(), tokens())


def build_transformer_cls_from_time_major():  # expect: ARC031
    class Cls(nn.Module):
        def __init__(self, d=32):
            super().__init__()
            self.e, self.p = nn.Embedding(100, d), nn.Parameter(torch.randn(1, 32, d) * 0.3)
            self.t = nn.TransformerEncoderLayer(d, 4, 64, batch_first=True)
            self.fc = nn.Linear(d, 5)

        def forward(self, x):
            h = self.t(self.e(x) + self.p)
            return self.fc(h[0])  # <- ARC031

    return classifier(Cls(), tokens(32, 32))


# -------------------------------------------------------------------- LOS008


def build_clip_normalized_over_batch():  # expect: LOS008
    class CLIP(nn.Module):
        def __init__(self):
            super().__init__()
            self.im = nn.Sequential(
                nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 24)
            )
            self.emb, self.tx = nn.EmbeddingBag(100, 32), nn.Linear(32, 24)
            self.scale = nn.Parameter(torch.tensor(2.0))

        def forward(self, image, text):
            a = F.normalize(self.im(image), dim=0)  # <- LOS008
            b = F.normalize(self.tx(self.emb(text)), dim=0)  # <- LOS008
            return self.scale.exp() * a @ b.t()

    def loss(logits, _):
        y = torch.arange(len(logits))
        return (F.cross_entropy(logits, y) + F.cross_entropy(logits.t(), y)) / 2

    return setup(CLIP(), (images(24, 3, 16), tokens(24)), torch.arange(24), loss)


def build_hand_written_softmax_over_the_batch():  # expect: LOS008
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.l1, self.l2 = nn.Linear(20, 48), nn.Linear(48, 5)

        def forward(self, x):
            z = self.l2(torch.relu(self.l1(x)))
            e = torch.exp(z - z.max(0, keepdim=True)[0])
            return e / e.sum(0, keepdim=True)  # <- LOS008

    def nll(p, y):
        return -torch.log(p[torch.arange(len(y)), y] + 1e-9).mean()

    return setup(Net(), torch.randn(40, 20), labels(40), nll)
