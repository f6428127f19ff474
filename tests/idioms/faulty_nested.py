"""The faults of real projects: in nested modules, loss methods, losses inside forward, loops over layers, and wrappers."""

import torch
from _parts import classifier, images, labels, setup, table, tokens, trunk
from torch import nn
from torch.nn import functional


class Wrapped(nn.Module):
    """A model that computes its loss in forward, as in many repositories."""

    def __init__(self, outputs=5, last=lambda x: x):
        super().__init__()
        self.encoder, self.decoder, self.last = trunk(), nn.Linear(32, outputs), last

    def predict(self, x):
        return self.last(self.decoder(self.encoder(x)))

    def forward(self, x, y=None):
        output = self.predict(x)
        return output if y is None else (self.loss(output, y), output)


def with_own_loss(model, *inputs, **more):
    return setup(model, tuple(inputs), loss=lambda output: output[0], **more)


# -------------------------------------------------------------------- squashed heads


def build_softmax_in_the_classifier_of_a_classifier():  # expect: LOS001 at model.classifier.3
    class Vgg(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU())
            self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(256, 32), nn.Sequential(nn.ReLU(), nn.Linear(32, 5)), nn.Softmax(1))

        def forward(self, x):
            return self.classifier(self.features(x))

    class Task(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = Vgg()

        def forward(self, batch):
            return {"logits": self.model(batch)}

    return setup(Task(), images(32, 3, 16), labels(), lambda output, y: functional.cross_entropy(output["logits"], y))


def build_softmax_and_loss_inside_forward():  # expect: LOS001
    class Model(Wrapped):
        def loss(self, output, y):
            return functional.cross_entropy(output, y, label_smoothing=0.1)

    return with_own_loss(Model(last=lambda x: x.softmax(-1)), table(), labels(64))  # <- LOS001


def build_softmax_of_two_heads():  # expect: LOS001
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.heads = trunk(), nn.ModuleList(nn.Linear(32, 5) for _ in range(2))

        def forward(self, x):
            h = self.encoder(x)
            return [torch.softmax(head(h), dim=1) for head in self.heads]  # <- LOS001

    loss = lambda outputs, y: sum(nn.CrossEntropyLoss()(output, target) for output, target in zip(outputs, y))
    return setup(Heads(), table(), (labels(64), labels(64)), loss)


def build_softmax_averaged_over_an_ensemble():  # expect: LOS001
    class Ensemble(nn.Module):
        def __init__(self):
            super().__init__()
            self.members = nn.ModuleList(nn.Sequential(trunk(), nn.Linear(32, 5)) for _ in range(3))

        def forward(self, x):
            return torch.stack([member(x).softmax(-1) for member in self.members]).mean(0)  # <- LOS001

    return classifier(Ensemble(), table())


def build_sigmoid_block_as_head():  # expect: LOS002 at last
    class Model(Wrapped):
        def loss(self, output, y):
            return nn.CrossEntropyLoss()(output, y)

    model = Model(last=nn.Sigmoid())
    return with_own_loss(model, table(), labels(64))


def build_hard_sigmoid_per_pixel():  # expect: LOS002 at 2
    model = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.Sequential(nn.ReLU(), nn.Conv2d(16, 4, 1)), nn.Hardsigmoid())
    loss = lambda output, y: functional.cross_entropy(output.permute(0, 2, 3, 1).reshape(-1, 4), y.reshape(-1))
    return setup(model, images(16, 3, 16), torch.randint(0, 4, (16, 16, 16)), loss)


def build_logits_gathered_by_hand_as_likelihood():  # expect: LOS003 at tags
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.rnn = nn.Embedding(100, 16), nn.LSTM(16, 16, batch_first=True, bidirectional=True)
            self.tags = nn.Linear(32, 6)
            self.criterion = nn.NLLLoss(ignore_index=0)

        def forward(self, ids, tags):
            scores = self.tags(self.rnn(self.embedding(ids))[0])
            return self.criterion(scores.view(-1, 6), tags.view(-1))

    return setup(Tagger(), (tokens(), torch.randint(0, 6, (32, 16))), loss=lambda loss: loss)


def build_log_of_sigmoid_into_nll():  # expect: LOS003 at 2
    return setup(nn.Sequential(trunk(), nn.Linear(32, 5), nn.LogSigmoid()), table(), labels(64), nn.NLLLoss())


def build_discriminator_with_sigmoid():  # expect: LOS005 at discriminator.3
    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.discriminator = nn.Sequential(nn.Linear(20, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1), nn.Sigmoid())
            self.criterion = nn.BCEWithLogitsLoss()

        def forward(self, real, fake):
            yes, no = self.discriminator(real), self.discriminator(fake)
            return self.criterion(yes, torch.ones_like(yes)) + self.criterion(no, torch.zeros_like(no))

    return setup(Step(), (table() + 1, table()), loss=lambda loss: loss)


def build_sigmoid_and_weighted_logits_loss_of_many_labels():  # expect: LOS005
    class Model(Wrapped):
        def loss(self, output, y):
            weight = torch.full((5,), 3.0)
            return functional.binary_cross_entropy_with_logits(output, y, pos_weight=weight)

    return with_own_loss(Model(last=lambda x: x.sigmoid()), table(), (torch.rand(64, 5) < 0.3).float())  # <- LOS005


def build_unet_logits_into_bce():  # expect: LOS006 at 2, RUN003
    model = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 1, 1))
    loss = lambda output, mask: functional.binary_cross_entropy(output.squeeze(1), mask)  # <- RUN003
    return setup(model, images(8, 3, 16), (torch.rand(8, 16, 16) < 0.3).float(), loss)


def build_relu_into_bce():  # expect: LOS006
    class Model(Wrapped):
        def loss(self, output, y):
            return nn.BCELoss()(3 * output, y)  # <- LOS006

    return with_own_loss(Model(1, torch.relu), table(), labels(64, 2).float()[:, None])


def build_softmax_of_a_binary_head_in_a_dict():  # expect: LOS007
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.heads = trunk(), nn.ModuleDict({"kind": nn.Linear(32, 5), "real": nn.Linear(32, 1)})

        def forward(self, x):
            h = self.encoder(x)
            # <- LOS007
            return {"kind": self.heads["kind"](h), "real": functional.softmax(self.heads["real"](h), dim=-1)}

    def loss(output, y):
        return functional.cross_entropy(output["kind"], y) + functional.mse_loss(output["real"], (y > 2).float()[:, None])

    return setup(Model(), table(), labels(64), loss)


def build_log_softmax_of_one_score():  # expect: LOS007 at 2
    model = nn.Sequential(trunk(), nn.Linear(32, 1), nn.LogSoftmax(dim=1))
    return setup(model, table(), -torch.rand(64, 1), nn.MSELoss())


def build_softmax_module_over_dimension_zero():  # expect: LOS008 at 2
    model = nn.Sequential(trunk(), nn.Linear(32, 5), nn.Softmax(dim=0))
    return setup(model, table(), functional.one_hot(labels(64), 5).float() / 12, nn.MSELoss())


def build_attention_weights_over_the_batch():  # expect: LOS008
    class Pooling(nn.Module):
        """Scores of (batch, time, 1) normalized over the first dimension, which was the time in another version."""

        def __init__(self):
            super().__init__()
            self.rnn, self.score, self.head = nn.GRU(8, 32, batch_first=True), nn.Linear(32, 1), nn.Linear(32, 5)

        def forward(self, x):
            h = self.rnn(x)[0]
            weights = functional.softmax(self.score(h), dim=0)  # <- LOS008
            return self.head((weights * h).sum(1))

    return classifier(Pooling(), torch.randn(32, 10, 8))


def build_relu_before_logits_loss_in_a_resnet():  # expect: LOS017 at head.relu
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool, self.fc, self.relu = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 5), nn.ReLU(inplace=True)

        def forward(self, x):
            return self.relu(self.fc(self.pool(x).flatten(1)))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU()), Head()

        def forward(self, x):
            return self.head(self.stem(x))

    return classifier(Net(), images(32, 3, 16))


def build_rectified_output_in_a_loop():  # expect: LOS017
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in ((20, 32), (32, 32), (32, 1)))

        def forward(self, x):
            for layer in self.layers:
                x = functional.relu(layer(x))  # <- LOS017
            return x

    return setup(Loop(), table(), labels(64, 2).float()[:, None], nn.BCEWithLogitsLoss())


# -------------------------------------------------------------------- targets


def build_labels_counted_from_one():  # expect: LOS009 at decoder, RUN002 at <CrossEntropyLoss>
    class Model(Wrapped):
        def loss(self, output, y):
            return nn.CrossEntropyLoss()(output, y)

    return with_own_loss(Model(), table(), labels(64) + 1)


def build_border_label_of_a_mask():  # expect: LOS009 at 2, RUN003
    model = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 4, 1))
    mask = torch.randint(0, 4, (8, 16, 16))
    mask[:, 0] = 255
    return setup(model, images(8, 3, 16), mask, functional.cross_entropy)


def build_binary_task_with_one_output_in_forward():  # expect: LOS011 at decoder
    class Model(Wrapped):
        def loss(self, output, y):
            return functional.cross_entropy(output, y)

    return with_own_loss(Model(1), table(), torch.zeros(64, dtype=torch.long))


def build_one_logit_flattened_in_the_loss():  # expect: LOS011 at 3
    loss = lambda output, y: nn.CrossEntropyLoss()(output.reshape(-1, 1), y.reshape(-1))
    rnn = nn.Sequential(nn.Embedding(100, 16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))
    return setup(rnn, tokens(), torch.zeros(32, 16, dtype=torch.long), loss)


def build_tags_of_a_picture_through_cross_entropy():  # expect: LOS013 at <CrossEntropyLoss>
    class Model(Wrapped):
        def loss(self, output, y):
            return nn.CrossEntropyLoss()(output, y.float())

    return with_own_loss(Model(8), table(), (torch.rand(64, 8) < 0.35).long())


def build_tags_in_a_method_after_softmax():  # expect: LOS013
    class Model(Wrapped):
        def loss(self, output, y):
            return functional.mse_loss(output, y)  # <- LOS013

    return with_own_loss(Model(8, lambda x: x.softmax(-1)), table(), (torch.rand(64, 8) < 0.35).float())


def build_values_against_a_column_in_a_method():  # expect: LOS015 at decoder
    class Critic(Wrapped):
        def predict(self, x):
            return super().predict(x).squeeze(-1)

        def loss(self, output, y):
            return functional.mse_loss(output, y)

    return with_own_loss(Critic(1), table(), torch.randn(64, 1))


def build_log_probability_against_a_column():  # expect: LOS015
    class Density(Wrapped):
        def predict(self, x):
            mean = self.decoder(self.encoder(x))
            return torch.distributions.Normal(mean, 1.0)

    loss = lambda output, y: -output.log_prob(y).mean()  # <- LOS015
    return setup(Density(1), table(), torch.randn(64), loss)


def build_tanh_decoder_for_pictures_of_0_to_5():  # expect: LOS016
    class Auto(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.up = nn.Conv2d(3, 16, 4, 2, 1), nn.ConvTranspose2d(16, 3, 4, 2, 1)

        def forward(self, x):
            return torch.tanh(self.up(functional.relu(self.down(x))))  # <- LOS016

    x = images(16, 3, 16)
    x = 5 * (x - x.min()) / (x.max() - x.min())
    return setup(Auto(), x, x, nn.MSELoss())


def build_clamped_forecast():  # expect: LOS016
    class Model(Wrapped):
        def loss(self, output, y):
            return functional.huber_loss(output, y)

    return with_own_loss(Model(1, lambda x: x.clamp(0, 1)), table(), 2 * torch.randn(64, 1))  # <- LOS016


def build_loss_as_a_python_number():  # expect: ARC007
    class Model(Wrapped):
        def loss(self, output, y):
            return torch.tensor(float(functional.cross_entropy(output, y)))  # <- ARC007

    return with_own_loss(Model(), table(), labels(64))


def build_accuracy_as_loss():  # expect: LOS020
    model = nn.Sequential(trunk(), nn.Linear(32, 5))
    return setup(model, table(), labels(64), lambda output, y: 1 - (output.argmax(1) == y).float().mean())  # <- LOS020


def build_loss_per_sample_in_a_method():  # expect: LOS020
    class Model(Wrapped):
        def loss(self, output, y):
            return functional.cross_entropy(output, y, reduction="none")  # <- LOS020

    return with_own_loss(Model(), table(), labels(64))


def build_student_and_teacher_probabilities():  # expect: LOS022 at divergence
    class Distiller(nn.Module):
        def __init__(self):
            super().__init__()
            self.student, self.teacher = nn.Sequential(trunk(), nn.Linear(32, 5)), nn.Linear(20, 5).requires_grad_(False)
            self.divergence = nn.KLDivLoss(reduction="batchmean")

        def forward(self, x):
            target = self.teacher(x).softmax(-1)
            return self.divergence(self.student(x).softmax(-1), target)

    return setup(Distiller(), table(), loss=lambda loss: loss, frozen="teacher*")


def build_divergence_of_log_targets_taken_as_probabilities():  # expect: LOS022
    model = nn.Sequential(trunk(), nn.Linear(32, 5), nn.LogSoftmax(-1))
    loss = lambda output, y: functional.kl_div(output, y.log_softmax(-1), reduction="batchmean")  # <- LOS022
    return setup(model, table(), torch.randn(64, 5), loss)


def build_language_model_with_classes_last():  # expect: LOS023 at head
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.rnn, self.head = nn.Embedding(16, 32), nn.GRU(32, 32, batch_first=True), nn.Linear(32, 16)

        def forward(self, ids, following):
            return functional.cross_entropy(self.head(self.rnn(self.embedding(ids))[0]), following)

    ids = torch.randint(0, 16, (32, 17))
    return setup(Model(), (ids[:, :-1], ids[:, 1:]), loss=lambda loss: loss)


def build_padding_in_every_target():  # expect: LOS025 at <CrossEntropyLoss>
    class Model(Wrapped):
        def loss(self, output, y):
            return nn.CrossEntropyLoss(ignore_index=0)(output, y)

    return with_own_loss(Model(), table(), torch.zeros(64, dtype=torch.long))


def build_nothing_masked_in_a_masked_language_model():  # expect: LOS025
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.rnn, self.head = nn.Embedding(100, 16), nn.GRU(16, 16, batch_first=True), nn.Linear(16, 100)

        def forward(self, ids):
            return self.head(self.rnn(self.embedding(ids))[0])

    targets = torch.full((32, 16), -100)
    # <- LOS025
    return setup(Masked(), tokens(), targets, lambda output, y: functional.cross_entropy(output.flatten(0, 1), y.flatten()))


def build_class_index_repeated_per_class():  # expect: LOS026
    y = labels(64).float()[:, None].expand(-1, 5).contiguous()
    return setup(nn.Sequential(trunk(), nn.Linear(32, 5)), table(), y, functional.cross_entropy)
