"""Inputs of several that hold one value, and the same sample over and over; ends that are never labelled."""

import torch
from _packed import Writer, ended
from _parts import classifier, labels, setup, table
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset


class Late(nn.Module):
    """Two branches, one vector each, put together before the head."""

    def __init__(self, first, second, width, classes=3):
        super().__init__()
        self.first, self.second, self.head = first, second, nn.Linear(width, classes)

    def forward(self, a, b):
        return self.head(torch.cat([self.first(a), self.second(b)], 1))


def picture_branch():
    return nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


# -------------------------------------------------------------------- DAT002


def build_pictures_that_were_not_loaded():  # expect: DAT002 error at
    model = Late(nn.Sequential(nn.Linear(20, 8), nn.ReLU()), picture_branch(), 16)
    return setup(model, (table(32), torch.full((32, 1, 12, 12), 0.5)), labels(32, 3), nn.CrossEntropyLoss())


def build_dataset_that_reads_its_first_row():  # expect: DAT002 error at
    x, y = table(), labels(64, 3)

    class Rows(Dataset):
        def __len__(self):
            return 64

        def __getitem__(self, index):
            return x[0], y[index]

    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 3))
    trained = torch.optim.Adam(model.parameters())
    return {"model": model, "data": DataLoader(Rows(), 32), "loss": nn.CrossEntropyLoss(), "optimizer": trained}


def build_column_filled_with_its_mean():  # expect: DAT002 warning at
    x = table()
    x[:, 7] = 0.37
    return classifier(nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5)), x)


def build_channel_of_one_value():  # expect: DAT002 warning at
    x = torch.rand(32, 3, 16, 16)
    x[:, 2] = 0.25
    return classifier(nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(392, 5)), x)


def build_series_of_exogenous_zeros():  # expect: DAT002 warning at
    class Forecast(nn.Module):
        def __init__(self):
            super().__init__()
            self.own, self.other, self.head = nn.GRU(2, 16, batch_first=True), nn.Conv1d(3, 16, 3), nn.Linear(32, 1)

        def forward(self, series, weather):
            return self.head(torch.cat([self.own(series)[1][0], self.other(weather).relu().mean(2)], 1))

    x = torch.randn(32, 18, 2)
    return setup(Forecast(), (x, torch.zeros(32, 3, 18)), x.mean((1, 2))[:, None].tanh(), nn.MSELoss())


def build_decoder_fed_with_padding():  # expect: DAT002 error at
    class Translate(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.place, self.head = nn.Embedding(40, 16), nn.Embedding(32, 16), nn.Linear(16, 40)
            self.layers = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)

        def forward(self, source, target):
            mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
            rows = [self.embed(ids) + self.place(torch.arange(ids.shape[1])) for ids in (source, target)]
            return self.head(self.layers(*rows, tgt_mask=mask))

    ids = torch.randint(4, 40, (16, 9))
    inputs = {"source": ids, "target": torch.zeros(16, 9, dtype=torch.long)}
    return setup(Translate(), inputs, ids.flip(1), lambda made, y: functional.cross_entropy(made.transpose(1, 2), y))


class Decoder(nn.Module):
    """A series that is decoded from the state that an encoder leaves."""

    def __init__(self, ids=0):
        super().__init__()
        self.read = nn.GRU(3, 24, batch_first=True)
        self.write = nn.GRU(16 if ids else 1, 24, batch_first=True)
        self.embed, self.head = nn.Embedding(ids, 16) if ids else nn.Identity(), nn.Linear(24, ids or 1)

    def forward(self, seen, written):
        return self.head(self.write(self.embed(written), self.read(seen)[1])[0])


def build_decoder_fed_with_a_start_and_padding():  # expect: DAT002 error at
    ids = torch.randint(4, 40, (16, 9))
    given = torch.zeros_like(ids)
    given[:, 0] = 1
    return setup(
        Decoder(40), (torch.randn(16, 12, 3), given), ids, lambda made, y: functional.cross_entropy(made.flatten(0, 1), y.flatten())
    )


def build_forecast_fed_with_a_start_and_a_filler():  # expect: DAT002 error at
    seen = torch.randn(32, 12, 3)
    given = torch.full((32, 6, 1), -1.0)
    given[:, 0] = 1.0
    return setup(Decoder(), (seen, given), seen[:, :6, :1].roll(1, 1), nn.MSELoss())


# -------------------------------------------------------------------- LOS030


def next_word(made, y):
    return functional.cross_entropy(made.flatten(0, 1), y.flatten())  # <- LOS030


def build_end_masked_by_hand():  # expect: LOS030
    ids = ended()
    target = ids[:, 1:].masked_fill(ids[:, 1:] <= 2, -100)
    return setup(Writer(), ids[:, :-1], target, next_word)


def build_end_ignored_by_the_loss():  # expect: LOS030
    ids = ended()
    target = ids[:, 1:].masked_fill(ids[:, 1:] == 0, 2)
    loss = nn.CrossEntropyLoss(ignore_index=2)
    compared = lambda made, y: loss(made.transpose(1, 2), y)  # <- LOS030
    return setup(Writer(), ids[:, :-1], target, compared)


def build_special_words_without_labels():  # expect: LOS030
    class Logs(Writer):
        def forward(self, tokens):
            return super().forward(tokens).log_softmax(-1)

    ids = ended()
    kept = ids[:, 1:] >= 4
    loss = lambda made, y: functional.nll_loss(made[y >= 0], y[y >= 0])  # <- LOS030
    return setup(Logs(), ids[:, :-1], ids[:, 1:].masked_fill(~kept, -1), loss)


def build_end_masked_in_a_model_with_its_own_loss():  # expect: LOS030
    class Own(Writer):
        def forward(self, tokens, labels):
            made = super().forward(tokens)
            return functional.cross_entropy(made[:, :-1].flatten(0, 1), labels[:, 1:].flatten())  # <- LOS030

    ids = ended()
    return setup(Own(), {"tokens": ids, "labels": ids.masked_fill(ids <= 2, -100)})
