"""Notebook 08: what the base model, the fine-tuned one and the one after RL can do, on the same held-out questions."""

from k2lib import stages
from k2lib.agents import tasks
from k2lib.corpus import arithmetic
from k2lib.evaluate import suite
from k2lib.gym.knowledge import Knowledge
from k2lib.gym.mathematics import Mathematics
from k2lib.gym.play import play
from k2lib.gym.tool_use import ToolUse
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.train import Checkpoint

AGES = ("base", "SFT", "RL")
SKILLS = ("knowledge", "mathematics", "tool use", "valid calls")


def ages(profile: Profile, seed: int, progress: Progress) -> dict[str, list[dict]]:
    """{"base": [one], "SFT", "RL": [run]} of {skill: {"outcomes": [item], "cut": share}, "text": loss [window]}.

    A base model is asked in the form of its corpus, a chat model in chat form; answers are greedy.
    """
    data, size, split = stages.corpus(profile, seed, progress), profile.evaluate, profile.judged_on
    people = [qa for person in data.world.of(split) for qa in data.world.questions(person)]
    questions = list(map(Knowledge, people[: size.questions]))
    problems = list(map(Mathematics, arithmetic.problems(size.problems, seed, split, profile.corpus.largest_number)))
    wishes = list(map(ToolUse, tasks.generate(size.tasks, seed, split, **profile.agentic.pool)))
    text = data.dataset.tokens("heldout")[: size.perplexity_tokens]

    def scores_of(checkpoint: Checkpoint, plain: bool) -> dict:
        model, tokenizer = checkpoint.model, checkpoint.tokenizer
        asked = [suite.solved(model, tokenizer, found, plain) for found in (questions, problems)]
        scores = dict(zip(SKILLS, [*asked, *suite.tool_use(model, tokenizer, wishes)], strict=True))
        kept = {skill: {"outcomes": score.per_item, "cut": score.cut} for skill, score in scores.items()}
        return kept | {"text": suite.perplexity(model, text, profile.pretrain.seq_len).per_item}

    models = _models(profile, seed, progress)
    return {
        age: [scores_of(one, plain=age == "base") for one in progress(found, f"evaluate {age}", len(found))]
        for age, found in models.items()
    }


def answers(profile: Profile, seed: int, progress: Progress) -> list[dict]:
    """The first held-out question of each kind: {"asks", "base", "SFT", "RL": all that the model wrote, greedily}."""
    data, split = stages.corpus(profile, seed, progress), profile.judged_on
    problems = [
        Knowledge(data.world.questions(data.world.of(split)[0])[0]),
        Mathematics(arithmetic.problems(1, seed, split, profile.corpus.largest_number)[0]),
        ToolUse(tasks.generate(1, seed, split, **profile.agentic.pool)[0]),
    ]
    found = [{"asks": problem.messages[-1]["content"]} for problem in problems]
    for age, (one, *_) in _models(profile, seed, progress).items():
        played = play(one.model, one.tokenizer, problems, corpus_form=age == "base")
        for row, (episode,) in zip(found, played, strict=True):
            own = [token for token, wrote in zip(episode.ids, episode.mask, strict=True) if wrote]
            row[age] = one.tokenizer.decode(own)
    return found


def _models(profile: Profile, seed: int, progress: Progress) -> dict[str, list[Checkpoint]]:
    runs = range(profile.runs)
    tuned = ([stage(profile, seed, run, progress) for run in runs] for stage in (stages.sft, stages.rl))
    return dict(zip(AGES, ([stages.base(profile, seed, progress)], *tuned), strict=True))
