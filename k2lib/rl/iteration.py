"""One iteration of training: several updates on the same episodes, all against the policy that sampled them (section 3.2.3).

At the first update the log-ratio to that policy is zero; from then on the squared objective pulls it to (r − r̄)/τ and no
further, which is what τ does.
"""

import itertools
import random
from collections.abc import Iterator

import torch
from torch import Tensor

from k2lib.gym.play import Played
from k2lib.model import K2Model
from k2lib.profiles import RLSize
from k2lib.rl.policy import Seen, pieces, policy_gradients, reward
from k2lib.rl.reading import Reading
from k2lib.train import Batch
from k2lib.train.step import update


def improve(
    model: K2Model,
    optimizer: torch.optim.Optimizer,
    groups: list[list[Played]],
    size: RLSize,
    lr: float,
    pad: int,
    ptx: Iterator[Batch | None],
    seed: int,
) -> tuple[list[Seen], float]:
    """`size.epochs` passes over [problem][K] episodes, each in `size.minibatches` updates; what each saw, and the last load violation."""
    model.train()
    rng, seen, violation = random.Random(f"rl/updates/{seed}"), [], 0.0
    for _ in range(size.epochs):
        order = rng.sample(groups, len(groups))
        for part in parts(order, size.minibatches):
            seen.append(policy_gradients(model, part, size, pad, next(ptx)))
            violation = update(model, optimizer, lr).violation
    return seen, violation


def parts(groups: list, count: int) -> list[list]:
    """The groups in `count` parts of about the same size, in order; none of them empty."""
    count = min(count, len(groups))
    ends = [len(groups) * i // count for i in range(count + 1)]
    return [groups[a:b] for a, b in itertools.pairwise(ends)]


def told(groups: list[list[Played]], seen: list[Seen], size: RLSize) -> dict[str, float]:
    """What an iteration was like: its episodes as they were sampled, and how far its updates went."""
    episodes = [one for group in groups for one in group]
    rewards = [r for r in (reward(one, size.overlong) for one in episodes) if r is not None]
    target, ratio = torch.tensor(pairs(seen, size.minibatches)).T
    return {
        "reward": _mean(rewards),
        "success": _mean([float(one.solved) for one in episodes if one.outcome.status != "void"]),
        "length": _mean([float(sum(one.mask)) for one in episodes]),
        "cut": _mean([float(one.truncated) for one in episodes]),
        "void": len(episodes) - len(rewards),
        "loss": _mean([one.loss for one in seen]),
        "entropy": seen[0].entropy.mean().item(),  # nats a token
        "mismatch": seen[0].apart.mean().item(),  # between sampling and training, nats a token: no update lies between
        "drift": ratio.abs().mean().item(),  # nats an episode, from the sampling policy
        "pull": slope(target, ratio),  # the share of the way to (r − r̄)/τ that was gone
    }


def pairs(seen: list[Seen], minibatches: int) -> list[list[float]]:
    """[episode] ((r − r̄)/τ, log-ratio to the sampling policy) as the last pass found them."""
    last = seen[-minibatches:]
    target, ratio = (torch.cat([getattr(one, name) for one in last]) for name in ("target", "ratio"))
    return torch.stack((target, ratio), 1).tolist()


def slope(x: Tensor, y: Tensor) -> float:
    """Of the line through the origin that fits y best; 0 where all x are 0."""
    return (x @ y / (x @ x)).item() if x.any() else 0.0


@torch.no_grad()
def away(model: K2Model, groups: list[list[Played]], pad: int) -> float:
    """KL from `model` of the policy that sampled the groups, in nats a token, estimated on what it wrote."""
    found = [Reading.of(model, [one for group in piece for one in group], pad) for piece in pieces(groups)]
    return torch.cat([read.old - read.logp for read in found]).mean().item()


def _mean(values: list[float]) -> float:
    return sum(values) / max(1, len(values))
