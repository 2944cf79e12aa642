"""Reinforcement learning: the K2 objective on verifiable problems, sampled by the model's own generator (section 3.2)."""

from k2lib.rl.objective import k2_policy_loss

__all__ = ["k2_policy_loss"]
