"""Fine-tuning as people do it: what is frozen on purpose, what is fixed by design."""

import torch
from _parts import classifier, images, labels, setup, table, trunk
from faulty_state import Headed, Lora, as_trained
from torch import nn
from torch.nn import functional

# -------------------------------------------------------------------- frozen on purpose


def build_frozen_backbone_under_a_new_head():
    return classifier(Headed(trunk().requires_grad_(False), nn.Linear(32, 5)), table())


def build_adapters_and_a_trained_head():
    body = nn.Sequential(Lora(nn.Linear(20, 32)), nn.ReLU(), Lora(nn.Linear(32, 32)), nn.ReLU())
    return classifier(Headed(body, nn.Linear(32, 5)), table())


def build_adapters_in_a_frozen_language_model():
    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(50, 32).requires_grad_(False)
            nn.init.normal_(self.embed.weight, std=0.1)
            self.body = nn.Sequential(Lora(nn.Linear(32, 64)), nn.GELU(), Lora(nn.Linear(64, 32)))
            self.lm_head = nn.Linear(32, 50, bias=False).requires_grad_(False)

        def forward(self, x):
            return self.lm_head(self.body(self.embed(x))).transpose(1, 2)

    words = torch.randint(0, 50, (32, 12))
    return setup(Language(), words, words.roll(-1, 1), nn.CrossEntropyLoss())


def build_new_projection_behind_a_trained_encoder():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = as_trained(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())).requires_grad_(False)
            self.projection, self.head = nn.Linear(64, 32), nn.Linear(32, 5)

        def forward(self, x):
            return self.head(functional.relu(self.projection(self.encoder(x))))

    return classifier(Net(), table())


def build_generator_through_a_frozen_critic():
    class Game(nn.Module):
        def __init__(self):
            super().__init__()
            self.generator = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 20))
            self.critic = nn.Sequential(nn.Linear(20, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1)).requires_grad_(False)

        def forward(self, z):
            return self.critic(self.generator(z))

    return setup(Game(), torch.randn(32, 8), (labels(32, 2).float())[:, None], nn.BCEWithLogitsLoss())


def build_random_features_with_a_trained_readout():
    class Features(nn.Module):
        def __init__(self):
            super().__init__()
            self.project, self.out = nn.Linear(20, 128).requires_grad_(False), nn.Linear(128, 5)

        def forward(self, x):
            return self.out(torch.cos(self.project(x)))

    return classifier(Features(), table())


def build_fixed_head_that_is_declared():
    return classifier(Headed(trunk(), nn.Linear(32, 5).requires_grad_(False)), table(), frozen=("head",))


def build_fixed_blur_at_the_output():
    blur = nn.Conv2d(3, 3, 5, padding=2, groups=3, bias=False).requires_grad_(False)
    blur.weight.data.fill_(1 / 25)
    pictures = images(8, size=16)
    return setup(nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1), blur), pictures, pictures, nn.MSELoss())


def build_frozen_word_vectors():
    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding.from_pretrained(torch.randn(60, 32), freeze=True)
            self.rnn, self.head = nn.LSTM(32, 32, batch_first=True), nn.Linear(32, 5)

        def forward(self, x):
            return self.head(self.rnn(self.embed(x))[0][:, -1])

    return classifier(Text(), torch.randint(0, 60, (32, 12)))


def build_distillation_from_a_frozen_teacher():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.student = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 5))
            self.teacher = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5)).requires_grad_(False)

        def forward(self, x):
            return self.student(x), self.teacher(x)

    def loss(output, y):
        made, wanted = output
        return functional.cross_entropy(made, y) + functional.kl_div(made.log_softmax(1), wanted.softmax(1), reduction="batchmean")

    return setup(Pair(), table(), labels(64), loss)
