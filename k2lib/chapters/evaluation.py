"""Notebook 08: what the base model, the fine-tuned one and the one after RL can do, on the same held-out questions."""

from k2lib import stages
from k2lib.agents import tasks
from k2lib.corpus import arithmetic
from k2lib.evaluate import suite
from k2lib.gym.knowledge import Knowledge
from k2lib.gym.mathematics import Mathematics
from k2lib.gym.tool_use import ToolUse
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.train import Checkpoint

SKILLS = ("knowledge", "mathematics", "tool use", "valid calls")


def ages(profile: Profile, seed: int, progress: Progress) -> dict[str, list[dict]]:
    """{"base": [one], "SFT", "RL": [run]} of {skill: {"outcomes": [item], "cut": share}, "text": loss [window]}.

    A base model is asked in the form of its corpus, a chat model in chat form; answers are greedy.
    """
    data, size, split = stages.corpus(profile, seed, progress), profile.evaluate, profile.judged_on
    people = [qa for person in data.world.of(split) for qa in data.world.questions(person)]
    questions = list(map(Knowledge, people[: size.questions]))
    problems = list(map(Mathematics, arithmetic.problems(size.problems, seed, split, profile.corpus.largest_number)))
    wishes = list(map(ToolUse, tasks.generate(size.tasks, seed, split, profile.agentic.per_domain)))
    text, runs = data.dataset.tokens("heldout")[: size.perplexity_tokens], range(profile.runs)

    def answers(checkpoint: Checkpoint, plain: bool) -> dict:
        model, tokenizer = checkpoint.model, checkpoint.tokenizer
        asked = [suite.solved(model, tokenizer, found, plain) for found in (questions, problems)]
        scores = dict(zip(SKILLS, [*asked, *suite.tool_use(model, tokenizer, wishes)], strict=True))
        kept = {skill: {"outcomes": score.per_item, "cut": score.cut} for skill, score in scores.items()}
        return kept | {"text": suite.perplexity(model, text, profile.pretrain.seq_len).per_item}

    models = {
        "base": [stages.base(profile, seed, progress)],
        "SFT": [stages.sft(profile, seed, run, progress) for run in runs],
        "RL": [stages.rl(profile, seed, run, progress) for run in runs],
    }
    return {
        age: [answers(one, plain=age == "base") for one in progress(found, f"evaluate {age}", len(found))]
        for age, found in models.items()
    }
