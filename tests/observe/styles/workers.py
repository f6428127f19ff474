import torch, sys
from torch import nn
import torch.nn.functional as F
class DS(torch.utils.data.Dataset):
    def __len__(self): return 64
    def __getitem__(self, i): return torch.full((4,), float(i)), i % 3
if __name__ == "__main__":
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)); opt = torch.optim.Adam(model.parameters())
    dl = torch.utils.data.DataLoader(DS(), batch_size=8, shuffle=True, num_workers=1, multiprocessing_context=sys.argv[1])
    for e in range(2):
        for x, y in dl:
            opt.zero_grad(); F.cross_entropy(model(x / 64), y).backward(); opt.step()
