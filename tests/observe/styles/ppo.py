import torch
from torch import nn
torch.manual_seed(0)
class Agent(nn.Module):
    def __init__(self):
        super().__init__(); self.critic = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1)); self.actor = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2))
    def get_value(self, x): return self.critic(x)
    def get_action_and_value(self, x, action=None):
        p = torch.distributions.Categorical(logits=self.actor(x))
        if action is None: action = p.sample()
        return action, p.log_prob(action), p.entropy(), self.critic(x)
agent = Agent(); optimizer = torch.optim.Adam(agent.parameters(), lr=2.5e-4, eps=1e-5)
for update in range(3):
    obs = torch.randn(64, 4)
    with torch.no_grad():
        action, logprob, _, value = agent.get_action_and_value(obs); returns = torch.randn(64, 1)
    for epoch in range(2):
        idx = torch.randperm(64)
        for s in range(0, 64, 16):
            mb = idx[s:s + 16]
            _, newlp, ent, newv = agent.get_action_and_value(obs[mb], action[mb])
            ratio = (newlp - logprob[mb]).exp(); adv = (returns - value)[mb].flatten()
            pg = torch.max(-adv * ratio, -adv * torch.clamp(ratio, 0.8, 1.2)).mean()
            vl = 0.5 * ((newv - returns[mb]) ** 2).mean()
            loss = pg - 0.01 * ent.mean() + vl * 0.5
            optimizer.zero_grad(); loss.backward(); nn.utils.clip_grad_norm_(agent.parameters(), 0.5); optimizer.step()
