"""The K2 policy objective (section 3.2.3, from Kimi k1.5): a regression of the sequence log-ratio on the reward.

L = E_x [ 1/K Σ_i ( r_i − r̄ − τ·log(π(y_i|x)/π_old(y_i|x)) )² ], with r̄ the mean reward of the K samples. No clipping, no division by
a standard deviation, no value network, no third reference model. What surprises: at π = π_old the gradient is
−2τ·(1/K)Σ (r_i − r̄)∇log π, so τ scales the step as well as the pull towards π_old; k1.5 writes its gradient without the 2τ.
"""

import torch
from torch import Tensor


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
