"""A framework of its own: arguments, callbacks, a training_step that subclasses override; accumulation and warm-up inside."""
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class TrainingArguments:
    def __init__(self, **kwargs):
        self.learning_rate = kwargs.get("learning_rate", 1e-3)
        self.num_train_epochs = kwargs.get("num_train_epochs", 2)
        self.per_device_train_batch_size = kwargs.get("per_device_train_batch_size", 8)
        self.gradient_accumulation_steps = kwargs.get("gradient_accumulation_steps", 2)
        self.warmup_steps = kwargs.get("warmup_steps", 3)
        self.max_grad_norm = kwargs.get("max_grad_norm", 1.0)


class Trainer:
    def __init__(self, model, args, train_dataset, eval_dataset, callbacks=()):
        self.model, self.args = model, args
        self.train_dataset, self.eval_dataset = train_dataset, eval_dataset
        self.callbacks = callbacks
        self.optimizer = self.lr_scheduler = None

    def get_train_dataloader(self):
        return DataLoader(self.train_dataset, batch_size=self.args.per_device_train_batch_size, shuffle=True)

    def get_eval_dataloader(self):
        return DataLoader(self.eval_dataset, batch_size=self.args.per_device_train_batch_size)

    def create_optimizer_and_scheduler(self, num_training_steps):
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=self.args.learning_rate)
        warm = self.args.warmup_steps

        def rate(step):
            if step < warm:
                return (step + 1) / warm
            return max(0.0, (num_training_steps - step) / max(1, num_training_steps - warm))

        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, rate)

    def compute_loss(self, inputs):
        labels = inputs.pop("labels")
        logits = self.model(**inputs)
        return nn.functional.cross_entropy(logits, labels)

    def training_step(self, inputs):
        self.model.train()
        loss = self.compute_loss(inputs)
        loss = loss / self.args.gradient_accumulation_steps
        loss.backward()
        return loss.detach()

    def train(self):
        loader = self.get_train_dataloader()
        steps = self.args.num_train_epochs * len(loader) // self.args.gradient_accumulation_steps
        self.create_optimizer_and_scheduler(steps)
        for epoch in range(self.args.num_train_epochs):
            total = torch.zeros(())
            for step, inputs in enumerate(loader):
                total += self.training_step(inputs)
                if (step + 1) % self.args.gradient_accumulation_steps == 0:
                    nn.utils.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm)
                    self.optimizer.step()
                    self.lr_scheduler.step()
                    self.model.zero_grad()
            metrics = self.evaluate()
            for callback in self.callbacks:
                callback(epoch, total.item() / len(loader), metrics)

    def evaluate(self):
        self.model.eval()
        right = count = 0
        for inputs in self.get_eval_dataloader():
            labels = inputs.pop("labels")
            with torch.no_grad():
                logits = self.model(**inputs)
            right += (logits.argmax(-1) == labels).sum().item()
            count += len(labels)
        return {"accuracy": right / count}


class Reviews(Dataset):
    def __init__(self, count, seed):
        g = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(count) * 2 // count
        self.ids = torch.randint(0, 20, (count, 10), generator=g)
        self.ids[:, ::2] += 10 * self.labels.unsqueeze(1)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return {"input_ids": self.ids[i], "labels": self.labels[i]}


class BagOfWords(nn.Module):
    def __init__(self):
        super().__init__()
        self.embeddings = nn.Embedding(40, 24)
        self.dropout = nn.Dropout(0.1)
        self.dense = nn.Linear(24, 24)
        self.classifier = nn.Linear(24, 2)

    def forward(self, input_ids):
        pooled = torch.relu(self.dense(self.embeddings(input_ids).mean(1)))
        return self.classifier(self.dropout(pooled))


def log(epoch, loss, metrics):
    print({"epoch": epoch, "loss": round(loss, 4), **metrics})


if __name__ == "__main__":
    torch.manual_seed(42)
    trainer = Trainer(BagOfWords(), TrainingArguments(learning_rate=5e-3), Reviews(160, 0), Reviews(48, 1), callbacks=[log])
    trainer.train()
