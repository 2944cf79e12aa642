"""Notebook 00: the machine that everything was measured on, and what the model says at three ages."""

from k2lib import machine, stages
from k2lib.agents import tasks
from k2lib.corpus import arithmetic
from k2lib.gym.knowledge import Knowledge
from k2lib.gym.mathematics import Mathematics
from k2lib.gym.play import play
from k2lib.gym.tool_use import ToolUse
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.report.provenance import versions


def measured_on(profile: Profile, _seed: int, _progress: Progress) -> dict[str, str]:
    """What the machine is, what it does in a second, where and how the kit computes on it, and the versions."""
    found = machine.record()
    pace = ", ".join(f"{found['gflops'][dtype]:.0f} in {dtype}" for dtype in machine.DTYPES)
    return {
        "processor": f"{found['processor']}, {found['cores']} cores, {found['threads']} threads used",
        "device": found["device"],
        "dense products": f"{pace} (GFLOP/s, measured)",
        "memory": f"{found['bandwidth']:.0f} GB/s (a copy, measured)",
        "so products run in": found["dtype"],
        "profile": profile.name,
    } | versions()


def answers(profile: Profile, seed: int, progress: Progress) -> list[dict]:
    """The first held-out question of each kind: {"asks", "base", "SFT", "RL": all that the model wrote, greedily}.

    The base model is asked in the form of its corpus where a problem can be, as in notebook 08.
    """
    data, split = stages.corpus(profile, seed, progress), profile.judged_on
    person = data.world.of(split)[0]
    problems = [
        Knowledge(data.world.questions(person)[0]),
        Mathematics(arithmetic.problems(1, seed, split, profile.corpus.largest_number)[0]),
        ToolUse(tasks.generate(1, seed, split, profile.agentic.per_domain)[0]),
    ]
    models = {
        "base": stages.base(profile, seed, progress),
        "SFT": stages.sft(profile, seed, 0, progress),
        "RL": stages.rl(profile, seed, 0, progress),
    }
    found = [{"asks": problem.messages[-1]["content"]} for problem in problems]
    for age, one in models.items():
        played = play(one.model, one.tokenizer, problems, corpus_form=age == "base")
        for row, (episode,) in zip(found, played, strict=True):
            own = [token for token, wrote in zip(episode.ids, episode.mask, strict=True) if wrote]
            row[age] = one.tokenizer.decode(own)
    return found
