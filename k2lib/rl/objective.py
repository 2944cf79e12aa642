"""The K2 policy objective (section 3.2.3, from Kimi k1.5), a regression of the sequence log-ratio on the reward; and three others.

L = E_x [ 1/K Σ_i ( r_i − r̄ − τ·log(π(y_i|x)/π_old(y_i|x)) )² ], with r̄ the mean reward of the K samples. No clipping, no division by
a standard deviation, no value network, no third reference model. What surprises: at π = π_old the gradient is
−2τ·(1/K)Σ (r_i − r̄)∇log π, so τ scales the step as well as the pull towards π_old; k1.5 writes its gradient without the 2τ.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

CLIP = 0.2  # of GRPO's ratio
TINY = 1e-4  # beside a standard deviation, as in TRL


def k2_policy_loss(logp: Tensor, logp_old: Tensor, rewards: Tensor, tau: float, valid: Tensor | None = None) -> Tensor:
    """The scalar loss of log-probabilities of whole sequences logp, logp_old [B, K] and rewards [B, K].

    Gradients reach `logp` alone. `valid` [B, K] leaves out samples whose reward is unknown (an environment failed): they
    enter neither the mean reward nor the loss. ValueError for shapes that differ, τ ≤ 0, or values that are not finite.
    """
    if not logp.shape == logp_old.shape == rewards.shape or logp.ndim != 2:
        raise ValueError(
            f"logp {tuple(logp.shape)}, logp_old {tuple(logp_old.shape)} and rewards {tuple(rewards.shape)} must "
            "all be [B, K]: B problems with K samples each"
        )
    if not tau > 0:
        raise ValueError(f"tau is {tau}; the strength of the pull towards the sampling policy must be positive")
    keep = torch.ones_like(rewards, dtype=torch.bool) if valid is None else valid.bool()
    for name, value in (("logp", logp), ("logp_old", logp_old), ("rewards", rewards)):
        if not value.detach()[keep].isfinite().all():
            raise ValueError(
                f"{name} holds a value that is not finite; mark that sample as not valid, or find its cause"
            )
    weight = keep.to(logp.dtype)
    count = weight.sum(1, keepdim=True).clamp_min(1)
    rewards = rewards.to(logp.dtype).masked_fill(~keep, 0)
    baseline = (rewards * weight).sum(1, keepdim=True) / count
    ratio = (logp - logp_old.detach().to(logp.dtype)).masked_fill(~keep, 0)
    residual = (rewards - baseline - tau * ratio) * weight
    return (residual.square() / count).sum(1).mean()


@dataclass(frozen=True)
class Scored:
    """Episodes as an objective sees them: N tokens of B·K episodes, K of each problem; B, K: see `rewards`."""

    logp: Tensor  # [N], differentiable
    old: Tensor  # [N]
    whose: Tensor  # [N] the number of the episode
    rewards: Tensor  # [B, K]; 0 where it is void
    valid: Tensor  # [B, K] bool

    def sums(self, values: Tensor) -> Tensor:
        """[B, K] sums over each episode's tokens of values [N]."""
        return per_episode(values, self.whose, self.rewards.numel()).view_as(self.rewards)

    def advantages(self) -> Tensor:
        """[B, K] r − r̄ over the valid ones; 0 for a void one."""
        count = self.valid.sum(1, keepdim=True).clamp_min(1)
        return (self.rewards - (self.rewards * self.valid).sum(1, keepdim=True) / count) * self.valid


def per_episode(values: Tensor, whose: Tensor, episodes: int) -> Tensor:
    """[episodes] sums of values [N] of tokens, `whose` [N] says of which episode."""
    return torch.zeros(episodes, dtype=values.dtype, device=values.device).index_add(0, whose, values)


def k2(one: Scored, tau: float) -> Tensor:
    """The K2 objective on k1.5's scale: its gradient at the start does not depend on τ."""
    return k2_policy_loss(one.sums(one.logp), one.sums(one.old), one.rewards, tau, one.valid) / (2 * tau)


def reinforce(one: Scored, _tau: float) -> Tensor:
    """The plain policy gradient with the same baseline: K2's first gradient, at every update."""
    return -(one.advantages() * one.sums(one.logp) * one.valid).mean()


def grpo(one: Scored, _tau: float) -> Tensor:
    """Group-relative policy optimisation (arXiv 2402.03300), without a KL term: ratios by tokens, clipped, a mean for each episode."""
    known = one.valid.sum(1, keepdim=True)
    variance = one.advantages().square().sum(1, keepdim=True) / (known - 1).clamp_min(1)
    advantage = (one.advantages() / (variance.sqrt() + TINY)).flatten()[one.whose]
    ratio = (one.logp - one.old).exp()
    surrogate = torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage)
    lengths = one.sums(torch.ones_like(one.logp)).clamp_min(1)
    return -(one.sums(surrogate) / lengths * one.valid).mean()


def rejection(one: Scored, _tau: float) -> Tensor:
    """Fine-tuning on the samples that were solved, and nothing from the others (ReST; k1.5 calls it worse)."""
    lengths = one.sums(torch.ones_like(one.logp)).clamp_min(1)
    return -(one.sums(one.logp) / lengths * ((one.rewards >= 1) & one.valid)).mean()


OBJECTIVES = {"k2": k2, "reinforce": reinforce, "grpo": grpo, "rejection": rejection}
