"""Notebook 07: problems, training on them, and success on others before and after (section 3.2)."""

import torch

from k2lib import stages
from k2lib.gym.mixture import verifiable
from k2lib.gym.play import play
from k2lib.optim import MuonClip
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.rl import k2_policy_loss
from k2lib.rl.objective import per_episode
from k2lib.rl.policy import reward
from k2lib.rl.reading import Reading

SHOWN, SHOWN_SEED = 4, 1000  # problems on the page: the first ones of the training itself
TRIED, SAMPLES, UPDATES = 48, 8, 40  # problems among which one is chosen, its samples, steps on them alone
OF_A_RUN = ("kept", "candidates", "moderate", "development", "kinds", "before", "after")


def problems(profile: Profile, _seed: int, _progress: Progress) -> list[dict]:
    """A few problems: {"kind", "budget": tokens of one turn, "asks", "tools": names}."""
    kinds = {"pool": profile.agentic.pool, "largest": profile.corpus.largest_number}
    return [
        {
            "kind": problem.kind,
            "budget": problem.budget,
            "asks": problem.messages[-1]["content"],
            "tools": [spec["function"]["name"] for spec in problem.tools],
        }
        for problem in verifiable(SHOWN, SHOWN_SEED, **kinds)
    ]


def one_problem(profile: Profile, seed: int, progress: Progress) -> dict:
    """A mathematics problem that the fine-tuned model half solves: samples, rewards, and the objective followed on them alone.

    {"asks", "answers": [sample], "rewards", "likely": log-probability of each at the start, "target": (r − r̄)/τ,
    "ratios": [update][sample] log-ratio to the start}. The updates are thrown away.
    """
    checkpoint, size = stages.sft(profile, seed, 0, progress), profile.rl
    model, tokenizer = checkpoint.model, checkpoint.tokenizer
    # every other one is mathematics
    tried = verifiable(2 * TRIED, SHOWN_SEED, largest=profile.corpus.largest_number)[::2]
    groups = play(model, tokenizer, tried, samples=SAMPLES, temperature=1.0, seed=seed)
    group = min(groups, key=lambda played: abs(sum(one.solved for one in played) - SAMPLES / 2))
    where = model.embed_tokens.weight.device
    rewards = torch.tensor([reward(one) or 0.0 for one in group], device=where)
    optimizer, ratios = MuonClip.for_model(model.train(), lr=size.lr), []
    start = torch.zeros(SAMPLES)
    for update in progress(range(UPDATES + 1), "follow the objective", UPDATES + 1):
        read = Reading.of(model, group, tokenizer.pad_id)
        logp = per_episode(read.logp, read.whose, SAMPLES)
        if update == 0:
            start = logp.detach()
        ratios.append((logp.detach() - start).tolist())
        (k2_policy_loss(logp[None], start[None], rewards[None], size.tau) / (2 * size.tau)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    wrote = [tokenizer.decode([id for id, own in zip(one.ids, one.mask, strict=True) if own]) for one in group]
    target = (rewards - rewards.mean()) / size.tau
    return {
        "asks": group[0].problem.messages[-1]["content"],
        "answers": wrote,
        "rewards": rewards.tolist(),
        "likely": start.tolist(),
        "target": target.tolist(),
        "ratios": ratios,
    }


def runs(profile: Profile, seed: int, progress: Progress) -> list[dict]:
    """Of each run {"success", "length": [step], "development": [(step, success)], "kept": the step that is judged,
    "candidates", "moderate": problems before and after the filter, "kinds": [held-out problem],
    "before", "after": {"sampled", "greedy": success on each held-out problem}}.
    """
    trainings = [stages.rl(profile, seed, run, progress).training for run in range(profile.runs)]
    return [
        {name: training[name] for name in OF_A_RUN}
        | {name: [step[name] for step in training["history"]] for name in ("success", "length")}
        for training in trainings
    ]


def manners(profile: Profile, seed: int, progress: Progress) -> dict[str, list[dict]]:
    """{"fine-tuned", "after RL": [run] {"tokens", "calls", "needed": [task]}} of held-out tasks with tools, played greedily.

    What the model said and how often it called; `needed` is how often the scripted expert calls.
    """
    kinds = {"pool": profile.agentic.pool, "largest": profile.corpus.largest_number}
    asked = [one for one in verifiable(profile.rl.heldout, seed, profile.judged_on, **kinds) if one.tools]
    needed = [calls(one.demonstration()["messages"]) for one in asked]
    found: dict[str, list[dict]] = {}
    for age, stage in (("fine-tuned", stages.sft), ("after RL", stages.rl)):
        for run in progress(range(profile.runs), f"play tasks, {age}", profile.runs):
            one = stage(profile, seed, run, progress)
            talks = [group[0] for group in play(one.model, one.tokenizer, asked)]
            said = {
                "tokens": [sum(talk.mask) for talk in talks],
                "calls": [calls(talk.episode.messages) for talk in talks],
            }
            found.setdefault(age, []).append(said | {"needed": needed})
    return found


def calls(messages: list[dict]) -> int:
    """How many calls the assistant made in a conversation."""
    return sum(len(message.get("tool_calls") or []) for message in messages)


def needless(run: dict) -> list[float]:
    """[task] calls beyond those that the scripted expert needs."""
    return [float(max(0, made - need)) for made, need in zip(run["calls"], run["needed"], strict=True)]
