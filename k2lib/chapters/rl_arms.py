"""Notebook 07, second half: nine kinds of problems, trainings that differ in one thing, and the critic (section 3.2)."""

import itertools
from dataclasses import replace

from k2lib import machine, stages
from k2lib.evaluate import suite
from k2lib.evaluate.attempts import pass_at
from k2lib.evaluate.blind import blind
from k2lib.gym.mixture import several
from k2lib.gym.play import play
from k2lib.optim import MuonClip
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.rl.iteration import improve, pairs
from k2lib.stages.rl_arms import RL_ARMS
from k2lib.stages.rl_exam import SAMPLES
from k2lib.stages.warmup import ASIDE

FAMILIES = {"following": "instruction following"}  # by the names under which they are drawn; the others keep theirs
ASKED = ("kinds", "solved", "greedy", "roomy", "tokens")  # of every held-out problem
EXAMINED = ("knowledge", "tasks", "perplexity")
TRAINED = ("development", "away", "kept", "candidates", "moderate")
PASSES, TAU = (2, 16), 1.0  # over one iteration's episodes, and a pull that they feel
SHOWN = 4000  # the seed of their problems
STEPS = ("success", "entropy", "mismatch", "drift", "pull", "length", "cut")
LEARNED = [FAMILIES.get(name, name) for name in stages.LEARNED]  # kinds of problems that RL trains


def arms(profile: Profile, seed: int, progress: Progress) -> dict[str, list[dict]] | None:
    """{"start": [one], arm: [run]} of what `k2lib.stages.rl_exam` finds; None where the profile has no size for them.

    A run of an arm also has, of each iteration, what STEPS names.
    """
    if profile.rl_arms is None:
        return None
    found = {"start": [_told(stages.rl_exam(profile, None, seed, 0, progress))]}
    for name in progress(RL_ARMS, "arms of RL", len(RL_ARMS)):
        found[name] = []
        for run in range(profile.rl_arms.seeds):
            examined = _told(stages.rl_exam(profile, name, seed, run, progress))
            history = _history(stages.rl_arm(profile, name, seed, run, progress).training)
            found[name].append(examined | history)
    return found


def _told(examined: dict) -> dict:
    """Each question once: where a kind has few of them, the examination asks some again, which would count as new ones."""
    once = sorted({asks: at for at, asks in reversed([*enumerate(examined["asks"])])}.values())
    told = {name: [examined[name][at] for at in once] for name in ASKED}
    return told | {name: examined[name] for name in EXAMINED}


def _history(training: dict) -> dict:
    steps = {name: [step.get(name, 0.0) for step in training["history"]] for name in STEPS}
    return {name: training[name] for name in TRAINED} | steps


def steady(profile: Profile, seed: int, progress: Progress) -> dict[str, list[dict]] | None:
    """{dtype: [training]} of K2's arm: TRAINED and STEPS; None where the profile has no size for them."""
    if profile.rl_arms is None:
        return None
    return {
        dtype: [
            _history(stages.rl_arm(profile, "K2", seed, run, progress, dtype).training)
            for run in range(profile.rl_arms.trainings)
        ]
        for dtype in progress(machine.DTYPES, "trainings of K2's arm", len(machine.DTYPES))
    }


def pull(profile: Profile, seed: int, progress: Progress) -> dict[str, list[list[float]]] | None:
    """{passes: [episode] ((r − r̄)/τ, log-ratio)} of one iteration from the model that RL's arms start from, τ being TAU.

    None where the profile has no size for RL's arms.
    """
    if profile.rl_arms is None:
        return None
    found, size = {}, replace(profile.rl_arms.rl, tau=TAU)
    for passes in progress(PASSES, "follow the objective", len(PASSES)):
        one = stages.warmed_up(profile, seed, progress)
        problems = several(stages.LEARNED, size.prompts, SHOWN)
        groups = play(one.model, one.tokenizer, problems, samples=size.samples, temperature=1.0, seed=seed)
        optimizer, nothing = MuonClip.for_model(one.model, lr=size.lr), itertools.repeat(None)
        how = replace(size, epochs=passes)
        seen, _ = improve(one.model, optimizer, groups, how, size.lr, one.tokenizer.pad_id, nothing, seed)
        found[f"{passes} passes"] = pairs(seen, size.minibatches)
    return found


def one_learned(profile: Profile, seed: int, progress: Progress) -> dict | None:
    """The held-out problem that the first run of K2's arm gained most on: {"asks", "kind", "before", "after": [(answer, right)]}."""
    if profile.rl_arms is None:
        return None
    start, after = (stages.rl_exam(profile, name, seed, 0, progress) for name in (None, "K2"))
    gained = [b - a for a, b in zip(start["solved"], after["solved"], strict=True)]
    most = max(range(len(gained)), key=gained.__getitem__)
    said = {
        age: list(zip(one["said"][most], one["right"][most], strict=True))
        for age, one in (("before", start), ("after", after))
    }
    return {"asks": start["asks"][most], "kind": start["kinds"][most]} | said


def critics(profile: Profile, seed: int, progress: Progress) -> dict[str, list[dict]] | None:
    """{"closed loop", "frozen critic": [run] of `rl.critique.CriticRun`}; None where the profile has no size for them."""
    if profile.rl_arms is None:
        return None
    runs = range(profile.rl_arms.seeds)
    return {
        name: [stages.rl_critic(profile, closed, seed, run, progress) for run in runs]
        for name, closed in (("closed loop", True), ("frozen critic", False))
    }


def blindly(profile: Profile, seed: int, _progress: Progress) -> dict[str, float] | None:
    """{kind: share of the problems of `k2lib.stages.rl_exam` that one answer to all of them solves}; None without a size."""
    if profile.rl_arms is None:
        return None
    names = stages.LEARNED + ASIDE
    heldout = several(names, profile.rl_arms.asked * len(names), seed, profile.judged_on)
    once = {one.asks: one for one in heldout}.values()
    return {kind: blind([one for one in once if one.kind == kind]) for kind in dict.fromkeys(one.kind for one in once)}


def rates(run: dict, kinds: list[str] | None = None, which: str = "solved") -> list[float]:
    """[held-out problem] share of its answers that are right; those of some kinds, or of all that RL trains."""
    wanted, of = kinds or LEARNED, SAMPLES if which == "solved" else 1
    return [value / of for value, kind in zip(run[which], run["kinds"], strict=True) if kind in wanted]


def gained(arms: dict[str, list[dict]], before: str, after: str, **which) -> list[list[float]]:
    """[run][problem] by how much one arm's rates exceed another's; the start has one run, which is every run's."""
    runs = arms[after]
    firsts = arms[before] * len(runs) if len(arms[before]) == 1 else arms[before]
    return [suite.gains(rates(a, **which), rates(b, **which)) for a, b in zip(firsts, runs, strict=True)]


def chances(runs: list[dict], ks: list[int]) -> list[list[float]]:
    """[run][k] the mean of pass@k over the problems of the kinds that RL trains."""
    found = []
    for run in runs:
        solved = [count for count, kind in zip(run["solved"], run["kinds"], strict=True) if kind in LEARNED]
        found.append([sum(pass_at(k, solved, SAMPLES)) / len(solved) for k in ks])
    return found


def remembered(run: dict) -> float:
    """The mean of three shares that RL does not train: other puzzles, tasks with tools, questions about people."""
    others = rates(run, [kind for kind in set(run["kinds"]) if kind not in LEARNED])
    return sum(sum(values) / len(values) for values in (others, run["tasks"], run["knowledge"])) / 3


def fallen(run: dict) -> float:
    """By how much success on the problems that were set aside ends below its best."""
    looks = [rate for _, rate in run["development"]]
    return max(looks) - looks[-1]


def spared(wordy: dict, brief: dict) -> float:
    """The share of a run's tokens that another one does not need."""
    return 1 - sum(brief["tokens"]) / sum(wordy["tokens"])


def told_apart(run: dict, which: int) -> float:
    """Of the critic's pairs, verifiable (0) or judged (1), the share told apart in the second half of training; no pair: a coin's."""
    later = [both[which] for both in run["agreement"][len(run["agreement"]) // 2 :] if both[which] is not None]
    return sum(later) / len(later) if later else 0.5
