"""Terms, targets and weights of losses as agents, critics, speech and autoencoders have them."""

import torch
from _nets import AC, Acoustic, TinyUNet, net, seg
from _parts import images, labels, setup, tokens
from torch import nn
from torch.nn import functional as F

# -------------------------------------------------------------------- LOS032


def build_advantage_of_a_categorical_policy():  # expect: LOS032
    def loss(out, batch):
        dist, value = out
        act, ret = batch
        adv = ret - value.squeeze(-1)  # <- LOS032
        return (-dist.log_prob(act) * adv).mean() + 0.5 * adv.pow(2).mean() - 0.001 * dist.entropy().mean()

    return setup(AC(), torch.randn(48, 20), (torch.randint(0, 3, (48,)), torch.randn(48)), loss)


def build_advantage_of_a_gaussian_policy():  # expect: LOS032
    def loss(out, batch):
        dist, value = out
        act, ret = batch
        adv = ret - value.squeeze(-1)
        adv = (adv - adv.mean()) / (adv.std() + 1e-8)  # <- LOS032
        return -(dist.log_prob(act).sum(-1) * adv).mean() + 0.5 * F.mse_loss(value.squeeze(-1), ret)

    return setup(AC(True), torch.randn(48, 20), (torch.randn(48, 3), torch.randn(48)), loss)


def build_advantage_of_clipped_ratios():  # expect: LOS032
    def loss(out, batch):
        dist, value = out
        act, old, ret = batch
        adv = ret - value.squeeze(-1)  # <- LOS032
        r = (dist.log_prob(act) - old).exp()
        return -torch.min(r * adv, r.clamp(0.8, 1.2) * adv).mean() + 0.5 * adv.pow(2).mean()

    net, s, a = AC(), torch.randn(48, 20), torch.randint(0, 3, (48,))
    with torch.no_grad():
        old = net(s)[0].log_prob(a)
    return setup(net, s, (a, old, torch.randn(48)), loss)


def build_td3_target_from_live_critic():  # expect: LOS032
    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.q1, self.q2 = net(24, 1), net(24, 1)

        def forward(self, s, a):
            sa = torch.cat([s, a], 1)
            return self.q1(sa), self.q2(sa)

    critic, actor_t = Critic(), net(20, 4, last=nn.Tanh()).requires_grad_(False)

    def loss(out, batch):
        r, s2, done = batch
        q1n, q2n = critic(s2, actor_t(s2))
        y = r + 0.99 * (1 - done) * torch.min(q1n, q2n)  # <- LOS032
        return F.mse_loss(out[0], y) + F.mse_loss(out[1], y)

    return setup(
        critic,
        (torch.randn(48, 20), torch.randn(48, 4)),
        (torch.randn(48, 1), torch.randn(48, 20), torch.zeros(48, 1)),
        loss,
    )


def build_distillation_teacher_in_optimizer():  # expect: LOS032
    class KD(nn.Module):
        def __init__(self):
            super().__init__()
            self.teacher, self.student = net(h=64), net(h=24)

        def forward(self, x):
            return self.student(x), self.teacher(x)

    def kd(out, y, T=4.0):
        s, t = out
        soft = F.kl_div(F.log_softmax(s / T, 1), F.softmax(t / T, 1), reduction="batchmean") * T * T  # <- LOS032
        return 0.7 * soft + 0.3 * F.cross_entropy(s, y)

    return setup(KD(), torch.randn(64, 20), labels(64), kd)


# -------------------------------------------------------------------- LOS033


def build_blank_default_alphabet_from_zero():  # expect: LOS033
    ctc = nn.CTCLoss()
    y, ylen = torch.randint(0, 8, (16, 6)), torch.randint(3, 7, (16,))
    return setup(
        Acoustic(),
        torch.randn(16, 12, 40),
        (y, ylen),
        lambda lp, t: ctc(lp, t[0], torch.full((16,), lp.size(0)), t[1]),  # <- LOS033
    )


def build_ctc_blank_last_but_default():  # expect: LOS033
    """The blank was meant to be the last class; the loss takes class 0."""
    y = torch.randint(0, 7, (16, 5))
    crit = nn.CTCLoss(zero_infinity=True)
    flat = y.reshape(-1)
    return setup(
        Acoustic(),
        torch.randn(16, 12, 40),
        flat,
        lambda lp, t: crit(lp, t, torch.full((16,), 40), torch.full((16,), 5)),  # <- LOS033
    )


def build_ocr_alphabet_index_zero():  # expect: LOS033
    class CRNN(nn.Module):
        def __init__(self):
            super().__init__()
            self.cnn = nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(16, 24, 3, padding=1),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d((1, None)),
            )
            self.rnn, self.out = nn.LSTM(24, 24, bidirectional=True), nn.Linear(48, 11)

        def forward(self, x):
            f = self.cnn(x).squeeze(2).permute(2, 0, 1)
            return self.out(self.rnn(f)[0])

    digits = torch.randint(0, 10, (20, 4))

    def loss(o, y):
        return F.ctc_loss(  # <- LOS033
            o.log_softmax(2), y, torch.full((20,), o.size(0)), torch.full((20,), 4), blank=0, zero_infinity=True
        )

    return setup(CRNN(), images(20, 1, 32), digits, loss)


# -------------------------------------------------------------------- LOS034


def build_wgan_with_sigmoid_critic():  # expect: LOS034
    D = nn.Sequential(
        nn.Conv2d(3, 16, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(16, 32, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(32 * 16, 1),
        nn.Sigmoid(),
    )

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.D = D

        def forward(self, real, fake):
            return self.D(real), self.D(fake)  # <- LOS034

    return setup(
        Wrapped(),
        (images(16, 3, 16), images(16, 3, 16)),
        None,
        lambda o, _=None: -(torch.mean(o[0]) - torch.mean(o[1])),
    )


def build_wgan_gp_with_tanh():  # expect: LOS034
    critic = nn.Sequential(nn.Linear(20, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), nn.Tanh())
    real = torch.randn(32, 20) + 1

    def loss(out, fake):
        eps = torch.rand(len(fake), 1)
        mid = (eps * real + (1 - eps) * fake).requires_grad_(True)
        g = torch.autograd.grad(critic(mid).sum(), mid, create_graph=True)[0]
        return critic(fake).mean() - out.mean() + 10 * ((g.norm(2, dim=1) - 1) ** 2).mean()  # <- LOS034

    return setup(critic, real, torch.randn(32, 20), loss)


def build_generator_against_squashed_scores():  # expect: LOS034
    class GAN(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(20, 32), nn.Linear(32, 1)

        def forward(self, x):
            return torch.sigmoid(self.fc2(F.leaky_relu(self.fc1(x), 0.2)))  # <- LOS034

    sign = torch.cat([torch.ones(32), -torch.ones(32)])[:, None]
    return setup(GAN(), torch.cat([torch.randn(32, 20) + 1, torch.randn(32, 20)]), sign, lambda s, y: -(s * y).mean())


def build_critic_with_softsign_head():  # expect: LOS034
    class C(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(20, 32), nn.Linear(32, 1)

        def forward(self, x):
            return F.softsign(self.b(F.leaky_relu(self.a(x), 0.2))).view(-1)  # <- LOS034

    real = torch.randn(32, 20) + 1
    c = C()
    return setup(c, torch.randn(32, 20), real, lambda fake, r: torch.mean(fake) - torch.mean(c(r)))


def build_conditional_critic():  # expect: LOS034
    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Embedding(5, 8)
            self.main = nn.Sequential(nn.Linear(28, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), nn.Sigmoid())

        def forward(self, x, y):
            return self.main(torch.cat([x, self.e(y)], 1))  # <- LOS034

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.critic = Critic()

        def forward(self, real, fake, y):
            return {"real": self.critic(real, y), "fake": self.critic(fake, y)}

    return setup(
        Both(),
        (torch.randn(40, 20) + 1, torch.randn(40, 20), labels(40)),
        None,
        lambda o, _=None: o["fake"].mean() - o["real"].mean(),
    )


def build_wasserstein_by_concatenated_batch():  # expect: LOS034
    D = nn.Sequential(nn.Linear(20, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), nn.Sigmoid(), nn.Flatten(0))  # <- LOS034
    x = torch.cat([torch.randn(24, 20) + 1, torch.randn(24, 20)])
    return setup(D, x, None, lambda s, _=None: s[24:].mean() - s[:24].mean())


# -------------------------------------------------------------------- LOS035


def build_perceptual_term_no_grad():  # expect: LOS035
    vgg = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU()).eval().requires_grad_(False)

    def loss(out, y):
        with torch.no_grad():
            per = F.mse_loss(vgg(out), vgg(y))  # <- LOS035
        return F.l1_loss(out, y) + 0.1 * per

    x = images(8, 3, 16)
    return setup(TinyUNet(3), x + 0.1 * torch.randn_like(x), x, loss)


def build_divergence_that_is_detached():  # expect: LOS035
    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.mu, self.lv, self.d = (
                nn.Sequential(nn.Linear(20, 32), nn.ReLU()),
                nn.Linear(32, 4),
                nn.Linear(32, 4),
                nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 20)),
            )

        def forward(self, x):
            h = self.e(x)
            mu, lv = self.mu(h), self.lv(h)
            return self.d(mu + torch.randn_like(mu) * (0.5 * lv).exp()), mu, lv

    def loss(out, x):
        r, mu, lv = out
        kld = -0.5 * torch.mean(1 + lv - mu.pow(2) - lv.exp())
        return F.mse_loss(r, x) + 0.1 * kld.detach()  # <- LOS035

    x = torch.randn(64, 20)
    return setup(VAE(), x, x, loss)


def build_errors_that_are_counted():  # expect: LOS035
    """A term made from argmax has no gradient."""

    def loss(logits, y):
        wrong = (logits.argmax(1) != y).float().mean()  # <- LOS035
        return F.cross_entropy(logits, y) + 2.0 * wrong

    return setup(net(), torch.randn(64, 20), labels(64), loss)


def build_moe_balance_of_hard_counts():  # expect: LOS035
    class MoE(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.experts, self.head = (
                nn.Linear(20, 4),
                nn.ModuleList(nn.Sequential(nn.Linear(20, 32), nn.ReLU()) for _ in range(4)),
                nn.Linear(32, 5),
            )

        def forward(self, x):
            p = self.gate(x).softmax(-1)
            top, idx = p.topk(2, -1)  # <- LOS035
            top = top / top.sum(-1, keepdim=True)
            h = sum(
                top[:, k : k + 1] * torch.stack([e(x) for e in self.experts], 1)[torch.arange(len(x)), idx[:, k]]
                for k in range(2)
            )
            load = F.one_hot(idx, 4).float().mean((0, 1))
            return self.head(h), (load * load).sum() * 4

    def loss(out, y):
        return F.cross_entropy(out[0], y) + 0.5 * out[1]

    return setup(MoE(), torch.randn(64, 20), labels(64), loss)


def build_generator_judged_by_its_data():  # expect: LOS035
    """Generator step: the adversarial term is computed from a detached copy."""
    D = net(20, 1).requires_grad_(False)

    class G(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = net(20, 20)

        def forward(self, z):
            return self.f(z)

    def loss(fake, real):
        pred = D(fake.data)  # <- LOS035
        adv = F.mse_loss(pred, torch.ones_like(pred))
        return 10 * F.l1_loss(fake, real) + adv

    z = torch.randn(64, 20)
    return setup(G(), z, z * 0.5, loss)


def build_units_that_are_counted():  # expect: LOS035
    """Sparsity: how many units are on is counted."""

    class AE(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.d = nn.Linear(20, 48), nn.Linear(48, 20)

        def forward(self, x):
            h = torch.relu(self.e(x))
            return self.d(h), h

    x = torch.randn(64, 20)

    def loss(o, t):
        return F.mse_loss(o[0], t) + 0.1 * torch.count_nonzero(o[1], dim=1).float().mean()  # <- LOS035

    return setup(AE(), x, x, loss)


def build_physics_term_without_graph():  # expect: LOS035
    class P(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

        def forward(self, t):
            return self.f(t)

    m = P()

    def loss(u, y):
        t = torch.linspace(0, 1, 32)[:, None].requires_grad_(True)
        uu = m(t)
        du = torch.autograd.grad(uu.sum(), t)[0]
        return F.mse_loss(u, y) + ((du + uu.detach()) ** 2).mean()  # <- LOS035

    t = torch.rand(32, 1)
    return setup(m, t, torch.exp(-t), loss)


# -------------------------------------------------------------------- LOS036


def build_summed_divergence_beside_mean_pixels():  # expect: LOS036
    class ConvVAE(nn.Module):
        def __init__(self, z=16):
            super().__init__()
            self.enc = nn.Sequential(
                nn.Conv2d(3, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten()
            )
            self.mu, self.lv = nn.Linear(32 * 16, z), nn.Linear(32 * 16, z)
            self.dec = nn.Sequential(
                nn.Linear(z, 32 * 16),
                nn.ReLU(),
                nn.Unflatten(1, (32, 4, 4)),
                nn.ConvTranspose2d(32, 3, 4, 4),
                nn.Sigmoid(),
            )

        def forward(self, x):
            h = self.enc(x)
            mu, lv = self.mu(h), self.lv(h)
            return self.dec(mu + torch.randn_like(mu) * torch.exp(0.5 * lv)), mu, lv

    def loss(out, x):
        r, mu, lv = out
        kl = -0.5 * torch.sum(1 + lv - mu.pow(2) - lv.exp())
        return F.binary_cross_entropy(r, x, reduction="mean") + kl  # <- LOS036

    x = torch.sigmoid(images(64, 3, 16))
    return setup(ConvVAE(), x, x, loss)


def build_multitask_unscaled_regression():  # expect: LOS036
    class House(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.price, self.kind = (
                nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU()),
                nn.Linear(48, 1),
                nn.Linear(48, 5),
            )

        def forward(self, x):
            h = self.body(x)
            return {"price": self.price(h), "kind": self.kind(h)}

    def loss(o, t):
        price, kind = t
        return F.mse_loss(o["price"].squeeze(1), price) + F.cross_entropy(o["kind"], kind)  # <- LOS036

    return setup(House(), torch.randn(64, 20), (3e5 + 8e4 * torch.randn(64), labels(64)), loss)


def build_summed_boxes_beside_mean_classes():  # expect: LOS036
    """Detection-like: box error summed over all anchors and coordinates, times 100, class error averaged."""

    class Det(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.box, self.cls = (
                nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU()),
                nn.Conv2d(24, 4, 1),
                nn.Conv2d(24, 3, 1),
            )

        def forward(self, x):
            f = self.body(x)
            return self.box(f), self.cls(f)

    def loss(out, t):
        b, c = t
        return ((out[0] - b) ** 2).sum() + F.cross_entropy(out[1], c)  # <- LOS036

    return setup(Det(), images(32, 3, 32), (torch.rand(32, 4, 8, 8) * 32, torch.randint(0, 3, (32, 8, 8))), loss)


def build_summed_divergence_of_distributions():  # expect: LOS036
    class V(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.m, self.s = (
                nn.Sequential(nn.Flatten(), nn.Linear(256, 64), nn.ReLU()),
                nn.Linear(64, 16),
                nn.Linear(64, 16),
            )
            self.d = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 256), nn.Sigmoid())

        def forward(self, x):
            h = self.e(x)
            q = torch.distributions.Normal(self.m(h), F.softplus(self.s(h)) + 1e-4)
            return self.d(q.rsample()).view_as(x), q

    def loss(o, x):
        kl = torch.distributions.kl_divergence(o[1], torch.distributions.Normal(0.0, 1.0))
        return F.mse_loss(o[0], x) + 4.0 * kl.sum()  # <- LOS036

    x = torch.sigmoid(images(64, 1, 16))
    return setup(V(), x, x, loss)


def build_landmarks_in_pixels_and_visibility():  # expect: LOS036
    class L(nn.Module):
        def __init__(self):
            super().__init__()
            self.b = nn.Sequential(
                nn.Conv2d(3, 16, 3, 2, 1),
                nn.ReLU(),
                nn.Conv2d(16, 16, 3, 2, 1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(16 * 64, 32),
                nn.ReLU(),
            )
            self.p, self.v = nn.Linear(32, 10), nn.Linear(32, 5)

        def forward(self, x):
            h = self.b(x)
            return self.p(h), self.v(h)

    def loss(o, t):
        return torch.mean((o[0] - t[0]) ** 2) + F.binary_cross_entropy_with_logits(o[1], t[1])  # <- LOS036

    return setup(L(), images(32), (torch.rand(32, 10) * 640, (torch.rand(32, 5) < 0.5).float()), loss)


def build_policy_beside_unnormalized_returns():  # expect: LOS036
    class Agent(nn.Module):
        def __init__(self):
            super().__init__()
            self.b, self.p, self.v = nn.Sequential(nn.Linear(20, 48), nn.Tanh()), nn.Linear(48, 3), nn.Linear(48, 1)

        def forward(self, s):
            h = self.b(s)
            return self.p(h), self.v(h).squeeze(-1)

    def loss(o, b):
        a, adv, ret = b
        lp = torch.distributions.Categorical(logits=o[0]).log_prob(a)
        return -(lp * adv).mean() + 0.5 * (o[1] - ret).pow(2).mean()  # <- LOS036

    return setup(
        Agent(), torch.randn(64, 20), (torch.randint(0, 3, (64,)), torch.randn(64), 3000 + 800 * torch.randn(64)), loss
    )


def build_heatmap_sum_beside_class_mean():  # expect: LOS036
    class H(nn.Module):
        def __init__(self):
            super().__init__()
            self.b = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU())
            self.h, self.c = nn.Conv2d(16, 4, 1), nn.Linear(16, 3)

        def forward(self, x):
            f = self.b(x)
            return self.h(f), self.c(f.mean((2, 3)))

    def loss(o, t):
        return F.mse_loss(o[0], t[0], reduction="sum") + F.cross_entropy(o[1], t[1])  # <- LOS036

    x = images(32)
    return setup(H(), x, (x.mean(1, keepdim=True).repeat(1, 4, 1, 1) * 2, labels(32, 3)), loss)


# -------------------------------------------------------------------- LOS037


def build_focal_module_of_mean():  # expect: LOS037
    class FocalLoss(nn.Module):
        def __init__(self, gamma=2, alpha=0.25):
            super().__init__()
            self.gamma, self.alpha = gamma, alpha
            self.ce = nn.CrossEntropyLoss()

        def forward(self, logits, target):
            logp = self.ce(logits, target)
            p = torch.exp(-logp)
            loss = (1 - p) ** self.gamma * logp  # <- LOS037
            return loss.mean()

    return setup(net(), torch.randn(64, 20), labels(64), FocalLoss())


def build_focal_bce_segmentation_mean():  # expect: LOS037
    def focal(o, t, alpha=0.8, gamma=2):
        o = torch.sigmoid(o).view(-1)
        t = t.view(-1)
        bce = F.binary_cross_entropy(o, t, reduction="mean")
        return alpha * (1 - torch.exp(-bce)) ** gamma * bce  # <- LOS037

    x, y = seg()
    return setup(TinyUNet(), x, y, focal)


def build_sample_weights_on_mean():  # expect: LOS037
    ce = nn.CrossEntropyLoss()
    loss = lambda o, t: (ce(o, t[0]) * t[1]).mean()  # <- LOS037
    return setup(net(), torch.randn(64, 20), (labels(64), torch.rand(64) * 2), loss)


def build_masked_mean_of_mean():  # expect: LOS037
    mse = nn.MSELoss()

    class S(nn.Module):
        def __init__(self):
            super().__init__()
            self.g, self.o = nn.GRU(3, 24, batch_first=True), nn.Linear(24, 3)

        def forward(self, x):
            return self.o(self.g(x)[0])

    x = torch.randn(16, 12, 3).cumsum(1) / 3
    m = torch.rand(16, 12, 1)
    return setup(S(), x[:, :-1], (x[:, 1:], m[:, 1:]), lambda p, t: (mse(p, t[0]) * t[1]).mean())  # <- LOS037


def build_focal_weight_of_a_written_out_mean():  # expect: LOS037
    def poly_focal(logits, y, gamma=1.5):
        nll = -logits.log_softmax(1).gather(1, y.view(-1, 1)).mean()
        pt = (-nll).exp()
        return torch.pow(1 - pt, gamma) * nll  # <- LOS037

    return setup(net(), torch.randn(64, 20), labels(64), poly_focal)


def build_focal_loss_of_a_mean_over_masks():  # expect: LOS037
    class FL(nn.Module):
        def __init__(self, gamma=2.0):
            super().__init__()
            self.gamma = gamma

        def forward(self, logits, y):
            bce = F.binary_cross_entropy_with_logits(logits, y)
            pt = torch.exp(-bce)
            return self.gamma * 0 + torch.pow(1.0 - pt, self.gamma).mul(bce)  # <- LOS037

    x, y = seg()
    return setup(TinyUNet(), x, y, FL())


def build_importance_weights_on_mean_td():  # expect: LOS037
    """Prioritized replay: the weights multiply the mean error."""

    class Q(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = net(20, 4)

        def forward(self, s):
            return self.f(s)

    tgt = net(20, 4).requires_grad_(False)

    def loss(q, b):
        a, r, s2, w = b
        qa = q.gather(1, a[:, None]).squeeze(1)
        with torch.no_grad():
            y = r + 0.99 * tgt(s2).max(1)[0]
        return (w * F.smooth_l1_loss(qa, y)).mean()  # <- LOS037

    return setup(
        Q(),
        torch.randn(48, 20),
        (torch.randint(0, 4, (48,)), torch.randn(48), torch.randn(48, 20), torch.rand(48)),
        loss,
    )


def build_mask_on_mean_cross_entropy():  # expect: LOS037
    class T(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.r, self.f = (
                nn.Embedding(50, 16),
                nn.GRU(16, 24, batch_first=True, bidirectional=True),
                nn.Linear(48, 6),
            )

        def forward(self, x):
            return self.f(self.r(self.e(x))[0])

    ids = tokens(24, 12, 50)
    m = (torch.rand(24, 12) < 0.3).float()

    def loss(o, t):
        y, m = t
        return (F.cross_entropy(o.transpose(1, 2), y) * m).sum() / m.sum()  # <- LOS037

    return setup(T(), ids, (ids % 6, m), loss)


# -------------------------------------------------------------------- DAT014


def build_frequencies_as_ce_weight():  # expect: DAT014
    y = torch.cat([torch.zeros(80), torch.ones(30), torch.full((10,), 2)]).long()[torch.randperm(120)]
    w = torch.bincount(y).float()
    return setup(net(o=3), torch.randn(120, 20), y, nn.CrossEntropyLoss(weight=w / w.sum()))


def build_pos_weight_pos_over_neg():  # expect: DAT014
    y = (torch.rand(200, 1) < 0.1).float()
    pw = y.sum() / (1 - y).sum()
    return setup(net(o=1), torch.randn(200, 20), y, nn.BCEWithLogitsLoss(pos_weight=pw))


def build_hand_weighted_bce_swapped():  # expect: DAT014
    y = (torch.rand(200, 1) < 0.1).float()
    beta = float(y.mean())

    def wbce(o, t):
        p = torch.sigmoid(o).clamp(1e-6, 1 - 1e-6)
        return -(beta * t * p.log() + (1 - beta) * (1 - t) * (1 - p).log()).mean()  # <- DAT014

    return setup(net(o=1), torch.randn(200, 20), y, wbce)


def build_segmentation_class_weights_by_frequency():  # expect: DAT014
    y = torch.zeros(12, 16, 16, dtype=torch.long)
    y[:, 4:9, 4:9] = 1
    y[:, 12:14, 12:14] = 2
    w = torch.bincount(y.flatten()).float() / y.numel()
    crit = nn.CrossEntropyLoss(weight=w)
    return setup(TinyUNet(3), images(12, 3, 16), y, lambda o, t: crit(o, t))  # <- DAT014


def build_weighted_focal_alpha_by_frequency():  # expect: DAT014
    y = torch.cat([torch.zeros(80), torch.ones(30), torch.full((10,), 2)]).long()[torch.randperm(120)]
    alpha = torch.bincount(y).float() / len(y)

    def focal(logits, y):
        lp = F.log_softmax(logits, 1)[torch.arange(len(y)), y]
        return (-alpha[y] * (1 - lp.exp()) ** 2 * lp).mean()  # <- DAT014

    return setup(net(o=3), torch.randn(120, 20), y, focal)
