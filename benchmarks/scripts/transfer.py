"""Transfer learning: a pretrained backbone is frozen, the head is replaced and trained, the best weights kept."""
import copy
import time

import torch
import torch.nn as nn
import torch.optim as optim
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


class Backbone(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2)
        )
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(128, classes)

    def forward(self, x):
        return self.fc(self.drop(torch.flatten(self.features(x), 1)))


def images(count, seed):
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) * 2 // count
    kind = 1.5 * torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(12))
    return TensorDataset(kind[labels] + 0.7 * torch.randn(count, 3, 8, 8, generator=g), labels)


datasets = {"train": images(192, 0), "val": images(64, 1)}
dataloaders = {
    "train": DataLoader(datasets["train"], batch_size=16, shuffle=True),
    "val": DataLoader(datasets["val"], batch_size=16, shuffle=False),
}


def train_model(model, criterion, optimizer, scheduler, num_epochs=3):
    since = time.time()
    best_model_wts = copy.deepcopy(model.state_dict())
    best_acc = 0.0
    for epoch in range(num_epochs):
        for phase in ["train", "val"]:
            if phase == "train":
                model.train()
            else:
                model.eval()
            running_loss, running_corrects = 0.0, 0
            for inputs, labels in dataloaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    _, preds = torch.max(outputs, 1)
                    loss = criterion(outputs, labels)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += torch.sum(preds == labels.data)
            if phase == "train":
                scheduler.step()
            epoch_acc = running_corrects.double() / len(datasets[phase])
            print(f"{phase} Loss: {running_loss / len(datasets[phase]):.4f} Acc: {epoch_acc:.4f}")
            if phase == "val" and epoch_acc > best_acc:
                best_acc = epoch_acc
                best_model_wts = copy.deepcopy(model.state_dict())
    print(f"Training complete in {time.time() - since:.0f}s, best {best_acc:.4f}")
    model.load_state_dict(best_model_wts)
    return model


model_conv = Backbone()
for param in model_conv.parameters():
    param.requires_grad = False
num_ftrs = model_conv.fc.in_features
model_conv.fc = nn.Linear(num_ftrs, 2)
criterion = nn.CrossEntropyLoss()
optimizer_conv = optim.SGD(model_conv.fc.parameters(), lr=0.05, momentum=0.9)
exp_lr_scheduler = lr_scheduler.StepLR(optimizer_conv, step_size=2, gamma=0.1)
model_conv = train_model(model_conv, criterion, optimizer_conv, exp_lr_scheduler)
