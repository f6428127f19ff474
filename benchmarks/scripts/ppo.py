"""PPO in one file: rollouts of parallel environments, several epochs of minibatches over each buffer."""
import torch
import torch.nn as nn
import torch.optim as optim
from torch.distributions.categorical import Categorical

torch.manual_seed(1)
NUM_ENVS, NUM_STEPS, UPDATES, EPOCHS, MINIBATCH = 4, 16, 4, 3, 16
GAMMA, LAMBDA, CLIP, LR = 0.97, 0.95, 0.2, 1e-3


def layer_init(layer, std=2.0**0.5):
    nn.init.orthogonal_(layer.weight, std)
    nn.init.zeros_(layer.bias)
    return layer


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.critic = nn.Sequential(layer_init(nn.Linear(3, 32)), nn.Tanh(), layer_init(nn.Linear(32, 1), std=1.0))
        self.actor = nn.Sequential(layer_init(nn.Linear(3, 32)), nn.Tanh(), layer_init(nn.Linear(32, 2), std=0.01))

    def get_value(self, x):
        return self.critic(x)

    def get_action_and_value(self, x, action=None):
        probs = Categorical(logits=self.actor(x))
        if action is None:
            action = probs.sample()
        return action, probs.log_prob(action), probs.entropy(), self.critic(x)


def env_step(state, action):
    state = state + 0.2 * torch.randn_like(state)
    reward = ((state[:, 0] > 0).long() == action).float()
    return state.clamp(-2, 2), reward


agent = Agent()
optimizer = optim.Adam(agent.parameters(), lr=LR, eps=1e-5)
state = torch.randn(NUM_ENVS, 3)
for update in range(1, UPDATES + 1):
    frac = 1.0 - (update - 1.0) / UPDATES
    optimizer.param_groups[0]["lr"] = frac * LR
    obs, actions, logprobs, rewards, values = [], [], [], [], []
    for step in range(NUM_STEPS):
        obs.append(state)
        with torch.no_grad():
            action, logprob, _, value = agent.get_action_and_value(state)
        state, reward = env_step(state, action)
        actions.append(action)
        logprobs.append(logprob)
        rewards.append(reward)
        values.append(value.flatten())
    with torch.no_grad():
        next_value = agent.get_value(state).flatten()
    advantages, last = [], torch.zeros(NUM_ENVS)
    for t in reversed(range(NUM_STEPS)):
        following = next_value if t == NUM_STEPS - 1 else values[t + 1]
        last = rewards[t] + GAMMA * following - values[t] + GAMMA * LAMBDA * last
        advantages.insert(0, last)
    b_obs, b_actions, b_logprobs = torch.cat(obs), torch.cat(actions), torch.cat(logprobs)
    b_advantages, b_values = torch.cat(advantages), torch.cat(values)
    b_returns = b_advantages + b_values
    for epoch in range(EPOCHS):
        order = torch.randperm(len(b_obs))
        for start in range(0, len(b_obs), MINIBATCH):
            mb = order[start : start + MINIBATCH]
            _, newlogprob, entropy, newvalue = agent.get_action_and_value(b_obs[mb], b_actions[mb])
            ratio = (newlogprob - b_logprobs[mb]).exp()
            adv = b_advantages[mb]
            adv = (adv - adv.mean()) / (adv.std() + 1e-8)
            pg_loss = torch.max(-adv * ratio, -adv * ratio.clamp(1 - CLIP, 1 + CLIP)).mean()
            v_loss = 0.5 * ((newvalue.view(-1) - b_returns[mb]) ** 2).mean()
            loss = pg_loss - 0.01 * entropy.mean() + 0.5 * v_loss
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()
    print(f"update {update}: reward {torch.cat(rewards).mean():.3f}, loss {loss.item():.3f}")
