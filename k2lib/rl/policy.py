"""Gradients of the K2 objective on played episodes, plus PTX: what one update hands to the optimizer (section 3.2.3).

π_old is the policy that sampled: its log-probabilities were recorded with the tokens, and stay fixed over the updates of an
iteration. PTX is the usual loss on a few fine-tuning rows.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from k2lib import machine
from k2lib.gym.play import Played
from k2lib.model import K2Model
from k2lib.profiles import RLSize
from k2lib.rl.objective import OBJECTIVES, Scored
from k2lib.rl.reading import Reading
from k2lib.train.batch import Batch

OVERLONG = -0.5  # reward of an episode in which a turn was cut at its budget
PIECE = 4  # problems whose episodes share a forward pass


@dataclass(frozen=True)
class Seen:
    """Of the episodes of an update, before it changes the model; E of them, N tokens that are trained."""

    loss: float
    ratio: Tensor  # [E] log π/π_old of what the sampling weights wrote in each
    target: Tensor  # [E] (r − r̄)/τ, where the objective wants it; 0 for a void one
    entropy: Tensor  # [N] of the policy at each token, nats
    apart: Tensor  # [N] |log π − log π_old| of each token


def reward(played: Played, overlong: float = OVERLONG) -> float | None:
    """The episode's score, or that of one that was cut; None leaves it out of the loss."""
    return overlong if played.truncated else played.score


def policy_gradients(model: K2Model, groups: list[list[Played]], size: RLSize, pad: int, ptx: Batch | None) -> Seen:
    """Leaves the gradients of an update on [problem][K] episodes in `model`."""
    where, parts = model.embed_tokens.weight.device, []
    for piece in pieces(groups):
        episodes = [one for group in piece for one in group]
        read, shape = Reading.of(model, episodes, pad), (len(piece), -1)
        known = [reward(one, size.overlong) for one in episodes]
        valid = torch.tensor([r is not None for r in known], device=where).view(shape)
        rewards = torch.tensor([r or 0.0 for r in known], device=where).view(shape)
        scored = Scored(read.logp, read.old, read.whose, rewards, valid)
        loss = OBJECTIVES[size.objective](scored, size.tau) * len(piece) / len(groups)
        loss.backward()
        ratio = scored.sums(read.logp.detach() - read.old)
        target, apart = scored.advantages() / size.tau, (read.logp.detach() - read.old).abs()
        parts.append(Seen(loss.item(), ratio.flatten(), target.flatten(), read.entropy, apart))
    if ptx is not None:
        with machine.precision(where):
            (size.ptx_weight * model.loss(*ptx.to(where))).backward()
    joined = (torch.cat([getattr(part, name) for part in parts]) for name in ("ratio", "target", "entropy", "apart"))
    return Seen(sum(part.loss for part in parts), *joined)


def pieces(groups: list[list[Played]]) -> list[list[list[Played]]]:
    """A few problems at a time, of similar length: padding all to the longest one would double the work."""
    ordered = sorted(groups, key=lambda group: max(len(one.ids) for one in group))
    return [ordered[i : i + PIECE] for i in range(0, len(ordered), PIECE)]
