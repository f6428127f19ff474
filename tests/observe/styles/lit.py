import torch, warnings, logging
warnings.filterwarnings("ignore")
from torch import nn
import torch.nn.functional as F
import lightning as L
torch.manual_seed(0)
class Lit(L.LightningModule):
    def __init__(self):
        super().__init__(); self.enc = nn.Sequential(nn.Linear(16, 32), nn.ReLU()); self.head = nn.Linear(32, 3)
    def training_step(self, batch, i):
        x, y = batch; loss = F.cross_entropy(self.head(self.enc(x)), y); self.log("l", loss); return loss
    def validation_step(self, batch, i):
        x, y = batch; self.log("v", F.cross_entropy(self.head(self.enc(x)), y))
    def configure_optimizers(self):
        opt = torch.optim.Adam(self.parameters(), lr=1e-3)
        return {"optimizer": opt, "lr_scheduler": torch.optim.lr_scheduler.StepLR(opt, 1, 0.9)}  # stepped at a whole epoch's end
def dl(n, s): return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(n, 16), torch.randint(0, 3, (n,))), batch_size=16, shuffle=s)
if __name__ == "__main__":
    trainer = L.Trainer(max_epochs=3, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu")
    trainer.fit(Lit(), dl(160, True), dl(32, False))
