import sys, torch, tempfile
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
torch.manual_seed(0)
class DS(torch.utils.data.Dataset):
    def __init__(self, n): self.x = torch.randint(5, 100, (n, 12)); self.y = torch.randint(0, 2, (n,))
    def __len__(self): return len(self.x)
    def __getitem__(self, i): return {"input_ids": self.x[i], "attention_mask": torch.ones(12, dtype=torch.long), "labels": self.y[i]}
def main():
    model = BertForSequenceClassification(BertConfig(vocab_size=100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, max_position_embeddings=32))
    ga = int(sys.argv[1])
    args = TrainingArguments(output_dir=tempfile.mkdtemp(), num_train_epochs=2, per_device_train_batch_size=8, gradient_accumulation_steps=ga, report_to=[], save_strategy="no", eval_strategy="epoch", use_cpu=True, disable_tqdm=True)
    t = Trainer(model=model, args=args, train_dataset=DS(128), eval_dataset=DS(32))
    t.train()
if __name__ == "__main__": main()
