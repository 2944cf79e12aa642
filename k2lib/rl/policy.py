"""Gradients of the K2 objective on played episodes, plus PTX: what one RL step hands to the optimizer (section 3.2.3).

π_old is the model as it is now: its log-probabilities are those of this very forward pass, cut off from the gradient, so
sampling and training cannot disagree through precision. PTX is the usual loss on a few fine-tuning rows.
"""

import torch
from torch import Tensor

from k2lib import machine
from k2lib.gym.play import Played
from k2lib.model import K2Model
from k2lib.profiles import RLSize
from k2lib.rl.objective import k2_policy_loss
from k2lib.train.batch import Batch

OVERLONG = -0.5  # reward of an episode in which a turn was cut at its budget
PIECE = 4  # problems whose episodes share a forward pass


def reward(played: Played) -> float | None:
    """The episode's score, or the penalty for one that was cut; None leaves it out of the loss."""
    return OVERLONG if played.truncated else played.score


def policy_gradients(model: K2Model, groups: list[list[Played]], size: RLSize, pad: int, ptx: Batch | None) -> float:
    """Leaves the gradients of a step on [problem][K] episodes in `model`; the policy loss."""
    where, total = model.embed_tokens.weight.device, 0.0
    for piece in pieces(groups):
        episodes = [one for group in piece for one in group]
        logp = log_probabilities(model, episodes, pad).view(len(piece), -1)  # [problems, K]
        known = [reward(one) for one in episodes]
        valid = torch.tensor([r is not None for r in known], device=where).view_as(logp)
        rewards = torch.tensor([r or 0.0 for r in known], device=where).view_as(logp)
        loss = k2_policy_loss(logp, logp.detach(), rewards, size.tau, valid) * len(piece) / len(groups)
        (loss / (2 * size.tau)).backward()  # k1.5's scale: the gradient no longer depends on τ at the start
        total += loss.item()
    if ptx is not None:
        with machine.precision(where):
            (size.ptx_weight * model.loss(*ptx.to(where))).backward()
    return total


def log_probabilities(model: K2Model, episodes: list[Played], pad: int) -> Tensor:
    """[episodes] log-probability of all that the model wrote in each, the ends of its turns included."""
    where = model.embed_tokens.weight.device
    batch = Batch.from_ragged([(one.ids, one.mask) for one in episodes], pad).to(where)
    # by the targets, which hold a row's last token; where the row is padded, `tokens` ends one before it
    sequences = torch.cat((batch.tokens[:, :1], batch.targets), dim=1)
    with machine.precision(where):
        return model.token_logprobs(sequences, batch.weights.bool()).sum(1)


def pieces(groups: list[list[Played]]) -> list[list[list[Played]]]:
    """A few problems at a time, of similar length: padding all to the longest one would double the work."""
    ordered = sorted(groups, key=lambda group: max(len(one.ids) for one in group))
    return [ordered[i : i + PIECE] for i in range(0, len(ordered), PIECE)]
