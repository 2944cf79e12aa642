"""Fine-tuning and RL of a policy that transformers reads (section 3.2).

By AdamW, as whoever pre-trained it did: Muon gains little on what AdamW has pre-trained (Moonlight).
"""

import random

import torch

from k2lib.gym.problem import Question
from k2lib.optim import schedule
from k2lib.progress import Progress, silent
from k2lib.rl.curriculum import choose, moderate
from k2lib.rl.iteration import parts
from k2lib.rl.objective import OBJECTIVES
from k2lib.sizes import SecondPolicySize
from k2lib.studies.foreign import Policy

PROBES = 4  # answers that estimate the difficulty of a candidate


def moderately_hard(policy: Policy, problems: list[Question], seed: int, enough: int) -> list[Question]:
    """Those to train on: of moderate difficulty to the policy as it is, filled up with others where those are not `enough`."""
    rates = [sum(one.right for one in group) / PROBES for group in policy.answers(problems, PROBES, seed)]
    return [problems[i] for i in moderate(rates, enough)[0]]


def fine_tuned(
    policy: Policy, worked: list[Question], lr: float, batch: int, seed: int, progress: Progress = silent
) -> list[float]:
    """[update] mean loss of a token of its `batch` worked answers, each read once, in nats; a rate that falls to a tenth at the end."""
    optimizer, losses = _adamw(policy, lr), []
    order = random.Random(f"fine-tuning/{seed}").sample(worked, len(worked))
    steps = len(worked) // batch
    policy.model.train()
    for step in progress(range(steps), f"fine-tuning of a second policy, seed {seed}", steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.wsd(step, lr=lr, warmup=steps // 10, total=steps)
        losses.append(0.0)
        for problem in order[step * batch :][:batch]:
            loss = -policy.scored([policy.worked(problem)]).logp.mean() / batch
            loss.backward()
            losses[-1] += loss.item()
        _step(policy, optimizer)
    return losses


def trained(
    policy: Policy, pool: list[Question], objective: str, size: SecondPolicySize, seed: int, progress: Progress = silent
) -> list[float]:
    """[iteration] share of its answers that were right, while the policy follows an objective, a name of OBJECTIVES."""
    optimizer = _adamw(policy, size.lr)
    rng, success = random.Random(f"second/{seed}"), []
    for step in progress(range(size.steps), f"RL of a second policy by {objective}, seed {seed}", size.steps):
        chosen = choose("uniform", list(range(len(pool))), [], [], size.prompts, step * size.prompts, 0.0, seed)
        groups = policy.answers([pool[i] for i in chosen], size.samples, seed * 100_003 + step)
        success.append(sum(one.right for group in groups for one in group) / (len(groups) * size.samples))
        for group in optimizer.param_groups:
            group["lr"] = schedule.wsd(step, lr=size.lr, warmup=0, total=size.steps)
        policy.model.train()
        for _ in range(size.epochs):
            for part in parts(rng.sample(groups, len(groups)), size.minibatches):
                for answers in part:
                    (OBJECTIVES[objective](policy.scored(answers), size.tau) / len(part)).backward()
                _step(policy, optimizer)
    return success


def _adamw(policy: Policy, lr: float) -> torch.optim.AdamW:
    return torch.optim.AdamW(policy.model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.0)


def _step(policy: Policy, optimizer: torch.optim.Optimizer) -> None:
    torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
