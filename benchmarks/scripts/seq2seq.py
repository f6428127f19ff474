"""A GRU encoder and decoder with teacher forcing: reverse a sequence. Two optimizers share one loss."""
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
random.seed(0)
SOS, VOCAB, LENGTH, HIDDEN = 0, 12, 5, 48
teacher_forcing_ratio = 0.5


def get_dataloader(count, seed, shuffle):
    source = torch.randint(1, VOCAB, (count, LENGTH), generator=torch.Generator().manual_seed(seed))
    return DataLoader(TensorDataset(source, source.flip(1)), batch_size=32, shuffle=shuffle)


class EncoderRNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, HIDDEN)
        self.gru = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.dropout = nn.Dropout(0.1)

    def forward(self, input):
        return self.gru(self.dropout(self.embedding(input)))


class DecoderRNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, HIDDEN)
        self.gru = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, VOCAB)

    def forward(self, encoder_hidden, target=None):
        word = torch.full((encoder_hidden.size(1), 1), SOS)
        hidden, outputs = encoder_hidden, []
        for i in range(LENGTH):
            output, hidden = self.gru(F.relu(self.embedding(word)), hidden)
            logits = self.out(output)
            outputs.append(logits)
            if target is not None:
                word = target[:, i].unsqueeze(1)
            else:
                word = logits.argmax(-1).detach()
        return torch.cat(outputs, dim=1)


def train_epoch(dataloader, encoder, decoder, encoder_optimizer, decoder_optimizer, criterion):
    total_loss = 0
    for input_tensor, target_tensor in dataloader:
        encoder_optimizer.zero_grad()
        decoder_optimizer.zero_grad()
        _, encoder_hidden = encoder(input_tensor)
        forced = target_tensor if random.random() < teacher_forcing_ratio else None
        decoder_outputs = decoder(encoder_hidden, forced)
        loss = criterion(decoder_outputs.view(-1, VOCAB), target_tensor.reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        encoder_optimizer.step()
        decoder_optimizer.step()
        total_loss += loss.item()
    return total_loss / len(dataloader)


def evaluate(encoder, decoder, dataloader):
    encoder.eval()
    decoder.eval()
    right = total = 0
    with torch.no_grad():
        for input_tensor, target_tensor in dataloader:
            _, encoder_hidden = encoder(input_tensor)
            decoded = decoder(encoder_hidden).argmax(-1)
            right += (decoded == target_tensor).sum().item()
            total += target_tensor.numel()
    return right / total


def train(n_epochs=3, learning_rate=3e-3):
    train_dataloader = get_dataloader(320, 0, True)
    valid_dataloader = get_dataloader(64, 1, False)
    encoder, decoder = EncoderRNN(), DecoderRNN()
    encoder_optimizer = optim.Adam(encoder.parameters(), lr=learning_rate)
    decoder_optimizer = optim.Adam(decoder.parameters(), lr=learning_rate)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(1, n_epochs + 1):
        encoder.train()
        decoder.train()
        loss = train_epoch(train_dataloader, encoder, decoder, encoder_optimizer, decoder_optimizer, criterion)
        print(f"{epoch}: {loss:.4f} {evaluate(encoder, decoder, valid_dataloader):.2f}")


train()
