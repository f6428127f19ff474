"""Other activations; layers that are implicit, functional or generated; parts of parts."""

import math

import torch
from _parts import classifier, images, labels, setup
from torch import nn
from torch.nn import functional


def table(samples=64):
    return torch.randn(samples, 20)


# -------------------------------------------------------------------- other activations


class Sine(nn.Module):
    """SIREN: sines with the initialization that was derived for them."""

    def __init__(self, inputs, outputs, first=False, speed=30.0):
        super().__init__()
        self.linear, self.speed = nn.Linear(inputs, outputs), speed
        bound = 1 / inputs if first else math.sqrt(6 / inputs) / speed
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x):
        return torch.sin(self.speed * self.linear(x))


def grid(side=12):
    line = torch.linspace(-1, 1, side)
    return torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1).flatten(0, 1)


def picture(points):
    return torch.stack([torch.sin(3 * points[:, 0]), torch.cos(4 * points[:, 1]), points.prod(1)], dim=1)


def build_siren():
    head = nn.Linear(64, 3)
    nn.init.uniform_(head.weight, -math.sqrt(6 / 64) / 30, math.sqrt(6 / 64) / 30)
    model = nn.Sequential(Sine(2, 64, first=True), Sine(64, 64), Sine(64, 64), head)
    return setup(model, grid(), picture(grid()), nn.MSELoss(), optimizer=torch.optim.Adam(model.parameters(), lr=1e-4))


class FourierFeatures(nn.Module):
    def __init__(self, inputs, count, scale=3.0):
        super().__init__()
        self.register_buffer("frequencies", scale * torch.randn(inputs, count))

    def forward(self, x):
        angles = 2 * math.pi * x @ self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


def build_fourier_features():
    model = nn.Sequential(FourierFeatures(2, 16), nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    return setup(model, grid(), picture(grid()), nn.MSELoss())


class RadianceField(nn.Module):
    """NeRF: positions and directions encoded, a shortcut to the middle, density through softplus and color through sigmoid."""

    def __init__(self, width=64, octaves=4):
        super().__init__()
        self.octaves, size = octaves, 3 + 6 * octaves
        self.first = nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(width + size, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.density, self.features = nn.Linear(width, 1), nn.Linear(width, width)
        self.color = nn.Sequential(nn.Linear(width + size, width // 2), nn.ReLU(), nn.Linear(width // 2, 3))

    def encode(self, x):
        waves = [function(2**power * math.pi * x) for power in range(self.octaves) for function in (torch.sin, torch.cos)]
        return torch.cat([x, *waves], dim=-1)

    def forward(self, points, directions):
        encoded = self.encode(points)
        h = self.second(torch.cat([self.first(encoded), encoded], dim=-1))
        density = functional.softplus(self.density(h)).squeeze(-1)
        side = self.encode(directions)[:, None].expand(-1, points.shape[1], -1)
        color = torch.sigmoid(self.color(torch.cat([self.features(h), side], dim=-1)))
        alpha = 1 - torch.exp(-density * 0.2)
        passed = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha[:, :-1] + 1e-10], dim=1), dim=1)
        return ((alpha * passed)[..., None] * color).sum(1)


def build_radiance_field():
    directions = functional.normalize(torch.randn(48, 3), dim=-1)
    points = 0.3 * torch.randn(48, 1, 3) + directions[:, None] * torch.linspace(0, 1, 8)[:, None]
    model = RadianceField()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
    return setup(model, (points, directions), torch.rand(48, 3), nn.MSELoss(), optimizer=optimizer)


class Maxout(nn.Module):
    def __init__(self, inputs, outputs, pieces=3):
        super().__init__()
        self.pieces, self.linear = pieces, nn.Linear(inputs, outputs * pieces)

    def forward(self, x):
        return self.linear(x).unflatten(-1, (-1, self.pieces)).amax(-1)


def build_maxout():
    return classifier(nn.Sequential(Maxout(20, 32), nn.Dropout(0.2), Maxout(32, 32), nn.Linear(32, 5)), table())


class SplineLayer(nn.Module):
    """KAN: on every edge a spline (here of hat functions) and a SiLU."""

    def __init__(self, inputs, outputs, knots=8):
        super().__init__()
        self.register_buffer("knots", torch.linspace(-2, 2, knots))
        self.coefficients = nn.Parameter(0.1 * torch.randn(outputs, inputs, knots) / math.sqrt(inputs))
        self.base = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.kaiming_uniform_(self.base, a=math.sqrt(5))

    def forward(self, x):
        hats = functional.relu(1 - (x[..., None] - self.knots).abs() / (self.knots[1] - self.knots[0]))
        spline = torch.einsum("bik,oik->bo", hats, self.coefficients)
        return functional.linear(functional.silu(x), self.base) + spline


def build_splines():
    return classifier(nn.Sequential(SplineLayer(20, 16), SplineLayer(16, 5)), table())


class RadialBasis(nn.Module):
    def __init__(self, centers):
        super().__init__()
        self.centers, self.width = nn.Parameter(centers), nn.Parameter(torch.zeros(len(centers)))

    def forward(self, x):
        return torch.exp(-torch.cdist(x, self.centers).pow(2) / (2 * math.e ** (2 * self.width) * x.shape[1]))


def build_radial_basis_functions():
    x = table()
    return classifier(nn.Sequential(RadialBasis(torch.randn(24, 20)), nn.Linear(24, 5)), x)


class Highway(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.transform, self.gate = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.constant_(self.gate.bias, -2.0)

    def forward(self, x):
        gate = torch.sigmoid(self.gate(x))
        return gate * torch.relu(self.transform(x)) + (1 - gate) * x


def build_highway():
    return classifier(nn.Sequential(nn.Linear(20, 32), nn.Tanh(), *[Highway(32) for _ in range(6)], nn.Linear(32, 5)), table())


def build_gated_linear_units():
    model = nn.Sequential(nn.Linear(20, 64), nn.GLU(), nn.LayerNorm(32), nn.Linear(32, 64), nn.GLU(), nn.Linear(32, 5))
    return classifier(model, table())


def build_prelu_mish_and_hardswish():
    model = nn.Sequential(
        nn.Linear(20, 32), nn.PReLU(32), nn.Linear(32, 32), nn.Mish(), nn.Linear(32, 32), nn.Hardswish(), nn.Linear(32, 5)
    )
    return classifier(model, table())


def build_tanh_network_of_the_nineties():
    layers = [nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 5)]
    for layer in layers[::2]:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    model = nn.Sequential(*layers)
    return classifier(model, table(), optimizer=torch.optim.SGD(model.parameters(), lr=0.1))


def build_one_hidden_sigmoid_layer():
    return classifier(nn.Sequential(nn.Linear(20, 32), nn.Sigmoid(), nn.Linear(32, 5)), table())


def build_logistic_regression():
    model = nn.Linear(20, 5)
    return classifier(model, table(), optimizer=torch.optim.SGD(model.parameters(), lr=0.1))


def build_linear_regression():
    x = table()
    model = nn.Linear(20, 1)
    targets = x @ torch.randn(20, 1) / 4 + 0.1 * torch.randn(64, 1)
    return setup(model, x, targets, nn.MSELoss(), optimizer=torch.optim.SGD(model.parameters(), lr=0.05))


# -------------------------------------------------------------------- implicit, functional and parts of parts


class Equilibrium(nn.Module):
    """A deep equilibrium model: the fixed point without gradients, then one step with them."""

    def __init__(self, width=32):
        super().__init__()
        self.inputs, self.state, self.head = nn.Linear(20, width), nn.Linear(width, width, bias=False), nn.Linear(width, 5)
        nn.init.normal_(self.state.weight, std=0.5 / math.sqrt(width))

    def step(self, z, x):
        return torch.tanh(self.state(z) + x)

    def forward(self, x):
        x = self.inputs(x)
        z = torch.zeros_like(x)
        with torch.no_grad():
            for _ in range(20):
                z = self.step(z, x)
        return self.head(self.step(z, x))


def build_deep_equilibrium():
    return classifier(Equilibrium(), table())


class Ensemble(nn.Module):
    """Several members at once through functional_call and vmap."""

    def __init__(self, count=3):
        super().__init__()
        members = [nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5)) for _ in range(count)]
        stacked, _ = torch.func.stack_module_state(members)
        self.names = list(stacked)
        self.stacked = nn.ParameterList(nn.Parameter(value.detach().clone()) for value in stacked.values())
        object.__setattr__(self, "base", members[0].to("meta"))

    def forward(self, x):
        state = dict(zip(self.names, self.stacked))
        return torch.vmap(lambda member: torch.func.functional_call(self.base, member, (x,)))(state)


def build_ensemble_through_vmap():
    loss = lambda output, y: torch.stack([functional.cross_entropy(logits, y) for logits in output]).mean()
    return setup(Ensemble(), table(), labels(64), loss)


class BatchEnsemble(nn.Module):
    def __init__(self, inputs, outputs, count=4):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, inputs, outputs) / math.sqrt(inputs))
        self.bias = nn.Parameter(torch.zeros(count, 1, outputs))

    def forward(self, x):
        return torch.baddbmm(self.bias, x, self.weight)


def build_ensemble_through_bmm():
    class Members(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = BatchEnsemble(20, 32), BatchEnsemble(32, 5)

        def forward(self, x):
            return self.second(torch.relu(self.first(x.expand(4, -1, -1)))).mean(0)

    return classifier(Members(), table())


class ComplexLinear(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, dtype=torch.cfloat) / math.sqrt(inputs))

    def forward(self, x):
        return functional.linear(x, self.weight)


def build_complex_values():
    class Complex(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.head = ComplexLinear(20, 32), ComplexLinear(32, 16), nn.Linear(16, 5)

        def forward(self, x):
            h = self.first(x)
            h = torch.complex(functional.relu(h.real), functional.relu(h.imag))
            return self.head(self.second(h).abs())

    return classifier(Complex(), torch.randn(64, 20, dtype=torch.cfloat))


class SpatialTransformer(nn.Module):
    """The localization starts at the identity: zero weights, a fixed bias."""

    def __init__(self):
        super().__init__()
        self.localize = nn.Sequential(
            nn.Conv2d(1, 8, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 32), nn.ReLU(), nn.Linear(32, 6)
        )
        self.localize[-1].weight.data.zero_()
        self.localize[-1].bias.data.copy_(torch.tensor([1, 0, 0, 0, 1, 0], dtype=torch.float))
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 49, 5))

    def forward(self, x):
        theta = self.localize(x).view(-1, 2, 3)
        grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
        return self.body(functional.grid_sample(x, grid, align_corners=False))


def build_spatial_transformer():
    return classifier(SpatialTransformer(), images(32, 1, 16))


class Modulated(nn.Module):
    """A style changes the weights of each sample: grouped convolution over the batch."""

    def __init__(self, inputs, outputs, style):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, 3, 3))
        self.style = nn.Linear(style, inputs)
        nn.init.ones_(self.style.bias)

    def forward(self, x, style):
        batch, channels, height, width = x.shape
        weight = self.weight * self.style(style)[:, None, :, None, None] / math.sqrt(channels * 9)
        weight = weight * torch.rsqrt(weight.pow(2).sum((2, 3, 4), keepdim=True) + 1e-8)
        out = functional.conv2d(x.reshape(1, -1, height, width), weight.flatten(0, 1), padding=1, groups=batch)
        return out.view(batch, -1, height, width)


def build_modulated_convolution():
    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.map = nn.Sequential(nn.Linear(16, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2))
            self.constant = nn.Parameter(torch.randn(1, 16, 4, 4))
            self.first, self.second = Modulated(16, 16, 32), Modulated(16, 16, 32)
            self.to_rgb = nn.Conv2d(16, 3, 1)

        def forward(self, z):
            style = self.map(z)
            x = functional.leaky_relu(self.first(self.constant.expand(len(z), -1, -1, -1), style), 0.2)
            x = functional.interpolate(x, scale_factor=2)
            return self.to_rgb(functional.leaky_relu(self.second(x, style), 0.2))

    return setup(Decoder(), torch.randn(16, 16), images(16, 3, 8), nn.MSELoss())


def build_feature_wise_modulation():
    """FiLM and conditional batch norm."""

    class Film(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16, affine=False)
            self.condition, self.head = nn.Embedding(4, 32), nn.Linear(16, 5)
            self.condition.weight.data[:, :16] = 1.0
            self.condition.weight.data[:, 16:] = 0.0

        def forward(self, x, kind):
            gain, shift = self.condition(kind)[:, :, None, None].chunk(2, dim=1)
            return self.head(functional.relu(gain * self.norm(self.conv(x)) + shift).mean((2, 3)))

    return classifier(Film(), (images(32, 3, 16), torch.arange(32) % 4))


class SelfAttention2d(nn.Module):
    """Attention over pixels with a gain that starts at zero, as in SAGAN."""

    def __init__(self, width):
        super().__init__()
        self.query, self.key, self.value = nn.Conv2d(width, 4, 1), nn.Conv2d(width, 4, 1), nn.Conv2d(width, width, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        q, k, v = self.query(x).flatten(2), self.key(x).flatten(2), self.value(x).flatten(2)
        attention = torch.softmax(torch.bmm(q.transpose(1, 2), k), dim=-1)
        return x + self.gamma * torch.bmm(v, attention.transpose(1, 2)).view_as(x)


def build_attention_over_pixels():
    model = nn.Sequential(
        nn.Conv2d(3, 16, 4, 2, 1), nn.LeakyReLU(0.1), SelfAttention2d(16), nn.Conv2d(16, 16, 4, 2, 1), nn.LeakyReLU(0.1),
        nn.Flatten(), nn.Linear(256, 5),
    )  # fmt: skip
    return classifier(model, images(32, 3, 16))


def build_inception_with_auxiliary_logits():
    class Inception(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU())
            self.branches = nn.ModuleList([
                nn.Conv2d(16, 8, 1),
                nn.Sequential(nn.Conv2d(16, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(16, 8, 1)),
            ])
            self.aux, self.head = nn.Linear(16, 5), nn.Linear(24, 5)

        def forward(self, x):
            x = self.stem(x)
            y = functional.relu(torch.cat([branch(x) for branch in self.branches], dim=1))
            logits = self.head(y.mean((2, 3)))
            return (logits, self.aux(x.mean((2, 3)))) if self.training else logits

    loss = lambda o, y: functional.cross_entropy(o[0], y) + 0.4 * functional.cross_entropy(o[1], y)
    return setup(Inception(), images(32, 3, 16), labels(32), loss)
