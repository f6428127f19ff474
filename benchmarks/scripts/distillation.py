"""Knowledge distillation: a small student learns the soft outputs of a frozen teacher."""
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
T, SOFT = 2.0, 0.5


def get_loaders():
    g = torch.Generator().manual_seed(0)
    prototypes = torch.randn(4, 3, 8, 8, generator=g)
    labels = torch.arange(256) // 64
    images = prototypes[labels] + 0.8 * torch.randn(256, 3, 8, 8, generator=g)
    test_labels = torch.arange(64) % 4
    test_images = prototypes[test_labels] + 0.8 * torch.randn(64, 3, 8, 8, generator=g)
    train_loader = DataLoader(TensorDataset(images, labels), batch_size=32, shuffle=True)
    return train_loader, DataLoader(TensorDataset(test_images, test_labels), batch_size=32, shuffle=False)


class DeepNN(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.classifier = nn.Sequential(nn.Linear(width * 16, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4))

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


def train_knowledge_distillation(teacher, student, train_loader, epochs, learning_rate):
    ce_loss = nn.CrossEntropyLoss()
    optimizer = optim.Adam(student.parameters(), lr=learning_rate)
    for epoch in range(epochs):
        teacher.eval()
        student.train()
        running_loss = 0.0
        for inputs, labels in train_loader:
            optimizer.zero_grad()
            with torch.no_grad():
                teacher_logits = teacher(inputs)
            student_logits = student(inputs)
            soft_targets = F.softmax(teacher_logits / T, dim=-1)
            soft_prob = F.log_softmax(student_logits / T, dim=-1)
            soft_loss = F.kl_div(soft_prob, soft_targets, reduction="batchmean") * T**2
            label_loss = ce_loss(student_logits, labels)
            loss = SOFT * soft_loss + (1 - SOFT) * label_loss
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        print(f"Epoch {epoch + 1}/{epochs}, Loss: {running_loss / len(train_loader):.3f}, {test(student, test_loader):.2f}")


def test(model, test_loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for inputs, labels in test_loader:
            correct += (model(inputs).max(1)[1] == labels).sum().item()
    return correct / len(test_loader.dataset)


train_loader, test_loader = get_loaders()
teacher, student = DeepNN(16), DeepNN(6)
for parameter in teacher.parameters():
    parameter.requires_grad = False
train_knowledge_distillation(teacher, student, train_loader, epochs=3, learning_rate=3e-3)
