"""Heads and losses that do not belong together."""

import torch
from _parts import classifier, images, labels, setup, tokens
from torch import nn
from torch.nn import functional


def body():
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())


def table(samples=64):
    return torch.randn(samples, 20)


class Net(nn.Module):
    """A body, a head and what comes last."""

    def __init__(self, outputs=5, last=lambda x: x):
        super().__init__()
        self.body, self.head, self.last = body(), nn.Linear(32, outputs), last

    def forward(self, x):
        return self.last(self.head(self.body(x)))  # <- LOS005 LOS006 LOS014 LOS016


# -------------------------------------------------------------------- squashed heads


def build_softmax_module():  # expect: LOS001 at 2
    return classifier(nn.Sequential(body(), nn.Linear(32, 5), nn.Softmax(dim=-1)), table())


def build_functional_softmax():  # expect: LOS001
    return classifier(Net(last=lambda x: functional.softmax(x, dim=1)), table())  # <- LOS001


def build_softmax_method_per_pixel():  # expect: LOS001
    class Segmenter(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 4, 1))

        def forward(self, x):
            return self.net(x).softmax(1)  # <- LOS001

    return setup(Segmenter(), images(16, 3, 16), torch.randint(0, 4, (16, 16, 16)), nn.CrossEntropyLoss())


def build_softmax_then_flatten_in_the_loss():  # expect: LOS001
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.rnn, self.head = nn.Embedding(100, 32), nn.GRU(32, 32, batch_first=True), nn.Linear(32, 100)

        def forward(self, ids):
            return torch.softmax(self.head(self.rnn(self.embedding(ids))[0]), dim=-1)  # <- LOS001

    ids = tokens()
    loss = lambda output, y: functional.cross_entropy(output[:, :-1].reshape(-1, 100), y[:, 1:].reshape(-1))
    return setup(Model(), ids, ids, loss)


def build_sigmoid_module():  # expect: LOS002 at 2
    return classifier(nn.Sequential(body(), nn.Linear(32, 5), nn.Sigmoid()), table())


def build_sigmoid_method_and_focal_loss():  # expect: LOS002
    def focal(output, y):
        plain = functional.cross_entropy(output, y, reduction="none")
        return ((1 - torch.exp(-plain)) ** 2 * plain).mean()

    return setup(Net(last=lambda x: x.sigmoid()), table(), labels(64), focal)  # <- LOS002


def build_logits_into_nll():  # expect: LOS003 at head
    return setup(Net(), table(), labels(64), nn.NLLLoss())


def build_probabilities_into_nll():  # expect: LOS003
    return setup(Net(last=lambda x: x.softmax(-1)), table(), labels(64), functional.nll_loss)  # <- LOS003


def build_sigmoid_and_bce_with_logits():  # expect: LOS005
    return setup(Net(1, torch.sigmoid), table(), labels(64, 2).float()[:, None], nn.BCEWithLogitsLoss())


def build_sigmoid_mask_with_logits_loss():  # expect: LOS005 at 2
    model = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.Sequential(nn.ReLU(), nn.Conv2d(16, 1, 1)), nn.Sigmoid())
    loss = lambda output, mask: functional.binary_cross_entropy_with_logits(output.squeeze(1), mask)
    return setup(model, images(16, 3, 16), torch.randint(0, 2, (16, 16, 16)).float(), loss)


def build_logits_into_bce():  # expect: LOS006 at head, RUN003
    return setup(Net(1), table(), labels(64, 2).float()[:, None], nn.BCELoss())


def build_tanh_into_bce():  # expect: LOS006, RUN003
    return setup(Net(1, torch.tanh), table(), labels(64, 2).float()[:, None], functional.binary_cross_entropy)


def build_softmax_over_one_logit():  # expect: LOS007
    return setup(Net(1, lambda x: x.softmax(-1)), table(), labels(64, 2).float()[:, None], nn.BCELoss())  # <- LOS007


def build_attention_over_a_kept_dimension():  # expect: LOS007
    class Pooling(nn.Module):
        def __init__(self):
            super().__init__()
            self.inputs, self.score, self.head = nn.Linear(20, 32), nn.Linear(32, 1), nn.Linear(32, 5)

        def forward(self, x):
            h = torch.tanh(self.inputs(x))
            weights = functional.softmax(self.score(h), dim=2)  # <- LOS007
            return self.head((weights * h).sum(1))

    return classifier(Pooling(), torch.randn(32, 6, 20))


def build_log_softmax_over_the_batch():  # expect: LOS008
    return setup(Net(last=lambda x: x.log_softmax(0)), table(), labels(64), nn.NLLLoss())  # <- LOS008


def build_attention_over_the_batch():  # expect: LOS008
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.value, self.head = nn.Linear(20, 32), nn.Linear(20, 32), nn.Linear(32, 5)

        def forward(self, x):
            return self.head(torch.softmax(self.gate(x), dim=0) * self.value(x) * 32)  # <- LOS008

    return classifier(Gate(), table())


def build_relu_on_logits():  # expect: LOS017 at 2
    return classifier(nn.Sequential(body(), nn.Linear(32, 5), nn.ReLU()), table())


def build_relu_in_the_last_block():  # expect: LOS017 at 2
    class Block(nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.linear = nn.Linear(inputs, outputs)

        def forward(self, x):
            return functional.relu(self.linear(x))

    return classifier(nn.Sequential(Block(20, 32), Block(32, 32), Block(32, 5)), table())


# -------------------------------------------------------------------- classes and shapes


def build_one_class_too_few():  # expect: LOS009 at head, RUN003
    return setup(Net(4), table(), labels(64), nn.CrossEntropyLoss())


def build_background_as_minus_one():  # expect: LOS009 at head, RUN003
    y = labels(64).clone()
    y[::7] = -1
    return setup(Net(), table(), y, nn.CrossEntropyLoss())


def build_one_logit_for_two_classes():  # expect: LOS011 at head
    return setup(Net(1), table(), torch.zeros(64, dtype=torch.long), nn.CrossEntropyLoss())


def build_one_channel_of_mask_logits():  # expect: LOS011 at 2
    model = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 1, 1))
    return setup(model, images(16, 3, 16), torch.zeros(16, 16, 16, dtype=torch.long), nn.CrossEntropyLoss())


def build_several_labels_through_softmax():  # expect: LOS013
    return setup(Net(), table(), torch.randint(0, 2, (64, 5)).float(), nn.CrossEntropyLoss())


def build_several_labels_with_softmax_and_bce():  # expect: LOS013
    targets = (torch.rand(64, 5) < 0.5).float()
    return setup(Net(last=lambda x: x.softmax(1)), table(), targets, nn.BCELoss())


def build_several_labels_times_log_softmax():  # expect: LOS013 warning
    def loss(logits, y):
        return -(functional.log_softmax(logits, dim=-1) * y).sum(dim=-1).mean()  # <- LOS013

    return setup(Net(), table(), torch.randint(0, 2, (64, 5)).float(), loss)


def build_column_against_vector():  # expect: LOS015 at head
    return setup(Net(1), table(), torch.randn(64), lambda output, y: ((output - y) ** 2).mean())


def build_column_against_vector_in_torch():  # expect: LOS015 at head
    return setup(Net(1), table(), torch.randn(64), nn.SmoothL1Loss())


def build_relu_for_signed_targets():  # expect: LOS016
    return setup(Net(1, torch.relu), table(), torch.randn(64, 1), nn.MSELoss())


def build_sigmoid_for_ratings():  # expect: LOS016 at 2
    model = nn.Sequential(body(), nn.Linear(32, 1), nn.Sigmoid())
    return setup(model, table(), 1.0 + 4.0 * torch.rand(64, 1), nn.L1Loss())


def build_classes_last_in_a_sequence():  # expect: LOS023 at head
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.rnn, self.head = nn.Embedding(100, 16), nn.GRU(16, 16, batch_first=True), nn.Linear(16, 16)

        def forward(self, ids):
            return self.head(self.rnn(self.embedding(ids))[0])

    return setup(Tagger(), tokens(), torch.randint(0, 16, (32, 16)), nn.CrossEntropyLoss())


def build_classes_last_in_a_square_image():  # expect: LOS023 at net.2
    class ChannelsLast(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 16, 1))

        def forward(self, x):
            return self.net(x).permute(0, 2, 3, 1)

    return setup(ChannelsLast(), images(16, 3, 16), torch.randint(0, 16, (16, 16, 16)), nn.CrossEntropyLoss())


def build_padding_everywhere():  # expect: LOS025
    y = torch.full((64,), -100)
    return setup(Net(), table(), y, nn.CrossEntropyLoss())


def build_weight_zero_for_the_classes_seen():  # expect: LOS025
    weights = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0])
    return setup(Net(), table(), labels(64, 2), nn.CrossEntropyLoss(weight=weights))


def build_indices_as_floats():  # expect: LOS026
    y = functional.one_hot(labels(64), 5).float() * torch.arange(5)
    return setup(Net(), table(), y, nn.CrossEntropyLoss())


def build_squeezed_logit_with_float_labels():  # expect: LOS026
    class Squeezed(Net):
        def forward(self, x):
            return super().forward(x).squeeze(-1)

    return setup(Squeezed(1), table(), labels(64, 2).float(), functional.cross_entropy)


# -------------------------------------------------------------------- the loss itself


def build_loss_from_numbers():  # expect: LOS020
    loss = lambda output, y: torch.tensor(functional.cross_entropy(output, y).item(), requires_grad=True)  # <- LOS020
    return setup(Net(), table(), labels(64), loss)


def build_loss_of_detached_outputs():  # expect: LOS020
    # <- LOS020
    return setup(Net(), table(), labels(64), lambda output, y: functional.cross_entropy(output.detach(), y))


def build_loss_without_reduction():  # expect: LOS020
    return setup(Net(), table(), labels(64), nn.CrossEntropyLoss(reduction="none"))


def build_probabilities_into_kl_div():  # expect: LOS022
    targets = torch.rand(64, 5).softmax(-1)
    return setup(Net(last=lambda x: x.softmax(-1)), table(), targets, nn.KLDivLoss(reduction="batchmean"))


def build_logits_into_kl_div():  # expect: LOS022
    class Distilled(nn.Module):
        def __init__(self):
            super().__init__()
            self.student, self.teacher = Net(), Net().requires_grad_(False)

        def forward(self, x):
            with torch.no_grad():
                answer = self.teacher(x)
            return self.student(x), answer

    loss = lambda o: functional.kl_div(o[0], o[1].softmax(-1), reduction="batchmean")  # <- LOS022
    return setup(Distilled(), table(), loss=loss, frozen="teacher*")


# -------------------------------------------------------------------- warnings


def build_one_hot_with_bce():  # expect: LOS012
    return setup(Net(), table(), functional.one_hot(labels(64), 5).float(), nn.BCEWithLogitsLoss())


def build_squared_error_on_classes():  # expect: LOS014
    return setup(Net(), table(), functional.one_hot(labels(64), 5).float(), nn.MSELoss())


def build_confident_head():  # expect: LOS018
    model = nn.Sequential(body(), nn.LayerNorm(32), nn.Linear(32, 5))  # <- LOS018
    nn.init.normal_(model[2].weight, std=0.4)
    return classifier(model, table())


def build_sum_over_the_batch():  # expect: LOS021
    return setup(Net(), table(), labels(64), nn.CrossEntropyLoss(reduction="sum"))


def build_negative_positive_weights():  # expect: LOS031
    weights = torch.log(torch.full((5,), 0.05))  # the log of the frequencies where their ratio is meant
    loss = nn.BCEWithLogitsLoss(pos_weight=weights)
    return setup(Net(), table(), torch.randint(0, 2, (64, 5)).float(), lambda o, y: loss(o, y))  # <- LOS031


def build_weights_of_samples_below_zero():  # expect: LOS024
    def loss(output, batch):
        return functional.binary_cross_entropy_with_logits(output, batch["y"], weight=batch["weight"])  # <- LOS024

    y, weight = torch.randint(0, 2, (64, 5)).float(), torch.linspace(0.1, 0.9, 64).log()[:, None]
    return setup(Net(), table(), {"y": y, "weight": weight}, loss)


def build_log_of_softmax():  # expect: LOS027
    return setup(Net(last=lambda x: torch.log(torch.softmax(x, -1))), table(), labels(64), nn.NLLLoss())  # <- LOS027
