"""Does RL teach a language model that nobody of the kit trained, SmolLM2-135M-Instruct, and which objective does? (section 3.2)

K2's objective and two others, K samples a problem and several updates a rollout, on a model of another family (Llama's), which
learned from trillions of tokens what ours did not. It is asked with a few worked answers before the question; an answer is one
line. Trained by AdamW, as whoever made it did: Muon gains little on what AdamW has pre-trained (Moonlight). Needs `k2 get smollm2`.
"""

import random
import statistics
from dataclasses import dataclass
from pathlib import Path

import torch

from k2lib import machine
from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.evaluate.attempts import pass_at
from k2lib.evaluate.blind import blind
from k2lib.gym.fair import fair
from k2lib.gym.problem import Question
from k2lib.llm import get
from k2lib.optim import schedule
from k2lib.profiles import Profile
from k2lib.progress import Progress, silent
from k2lib.rl.curriculum import choose, moderate
from k2lib.rl.iteration import parts
from k2lib.rl.objective import OBJECTIVES, Scored
from k2lib.sizes import SecondPolicySize
from k2lib.studies.study import Study

LEVELS = {"divisors": 1, "products": 1, "sums": 0, "letters": 0, "equations": 0}
KINDS = tuple(LEVELS)  # which it solves now and then, before any training
SHOTS, ROOM = 2, 12  # worked answers before a question; tokens of an answer
SHOWN = 1 << 16  # the seed of those that are shown
SAMPLES, PROBES = 16, 4  # answers of a held-out problem; answers that estimate the difficulty of a candidate
SHOWN_ANSWERS = 4  # of one problem, for a reader
KS = (1, 2, 4, 8, 16)
COMPARED = {"K2": "k2", "GRPO": "grpo", "rejection sampling": "rejection"}  # to names of OBJECTIVES
WITHIN = 0.8  # the share of GRPO's gain that K2's objective must surely reach


@dataclass(frozen=True)
class Answer:
    prompt: list[int]
    said: list[int]  # as sampled, the end of the line included
    logprobs: list[float]  # of each token when it was sampled
    right: bool


class Policy:
    """A checkpoint that transformers reads, asked in plain text: question and answer on a line each."""

    def __init__(self, directory: Path):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        self.model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).to(machine.device())
        self.stop = [self._encode("\n")[-1], self.tokenizer.eos_token_id]
        self._shown = {kind: fair(kind, SHOTS, SHOWN, level=level, most=1.0) for kind, level in LEVELS.items()}

    def prompt(self, problem: Question) -> list[int]:
        """Worked answers of the same kind, then the question."""
        worked = [f"Question: {one.asks}\nAnswer: {one.answer}\n\n" for one in self._shown[problem.kind]]
        return self._encode("".join(worked) + f"Question: {problem.asks}\nAnswer:")

    @torch.no_grad()
    def answers(self, problems: list[Question], samples: int, seed: int) -> list[list[Answer]]:
        """[problem][sample] at temperature 1."""
        stream = torch.Generator(machine.device()).manual_seed(seed)
        self.model.eval()
        return [self._sampled(problem, samples, stream) for problem in problems]

    def _sampled(self, problem: Question, samples: int, stream: torch.Generator) -> list[Answer]:
        prompt, said, logprobs = self.prompt(problem), [], []
        logits, cache = self._read(prompt, samples)
        ended = torch.zeros(samples, dtype=torch.bool, device=logits.device)
        while len(said) < ROOM and not ended.all():
            log_p = logits.float().log_softmax(-1)
            tokens = torch.multinomial(log_p.exp(), 1, generator=stream)
            said.append(tokens)
            logprobs.append(log_p.gather(-1, tokens))
            ended |= torch.isin(tokens[:, 0], torch.tensor(self.stop, device=tokens.device))
            with machine.precision(tokens.device):
                logits = self.model(input_ids=tokens, past_key_values=cache).logits[:, -1]
        rows = zip(torch.cat(said, 1).tolist(), torch.cat(logprobs, 1).tolist(), strict=True)
        return [self._answer(problem, prompt, *row) for row in rows]

    def _answer(self, problem: Question, prompt: list[int], said: list[int], logprobs: list[float]) -> Answer:
        """What was said up to the end of its line; a line that does not end is wrong."""
        end = next((at for at, token in enumerate(said) if token in self.stop), None)
        if end is None:
            return Answer(prompt, said, logprobs, right=False)
        return Answer(prompt, said[: end + 1], logprobs[: end + 1], problem.right(self.text(said[:end])))

    def text(self, said: list[int]) -> str:
        """What was said, without the end of its line."""
        return self.tokenizer.decode(said, skip_special_tokens=True).strip()

    def scored(self, group: list[Answer]) -> Scored:
        """What the present weights think, with gradients, of every token that was said to one problem."""
        longest = max(len(one.said) for one in group)
        tokens = torch.tensor([one.said + [0] * (longest - len(one.said)) for one in group], device=machine.device())
        wanted = torch.tensor([[at < len(one.said) for at in range(longest)] for one in group], device=tokens.device)
        first, cache = self._read(group[0].prompt, len(group))
        with machine.precision(tokens.device):
            later = (
                self.model(input_ids=tokens[:, :-1], past_key_values=cache).logits
                if longest > 1
                else first[:, None, :0]
            )
        log_p = torch.cat((first[:, None], later), 1)[wanted].float().log_softmax(-1)
        old = [value for one in group for value in one.logprobs]
        rewards = torch.tensor([[float(one.right) for one in group]], device=tokens.device)
        return Scored(
            log_p.gather(-1, tokens[wanted][:, None])[:, 0],
            torch.tensor(old, device=tokens.device),
            wanted.nonzero()[:, 0],
            rewards,
            torch.ones_like(rewards, dtype=torch.bool),
        )

    def _read(self, prompt: list[int], times: int):
        """(the logits [times, V] of what comes next, the keys and values) of a prompt that is read once."""
        asked = torch.tensor([prompt], device=machine.device())
        with machine.precision(asked.device):
            out = self.model(input_ids=asked, use_cache=True, logits_to_keep=1)
        out.past_key_values.batch_repeat_interleave(times)
        return out.logits[:, -1].expand(times, -1), out.past_key_values

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)


def measure(_config: K2Config, _dataset: PackedDataset | None, profile: Profile, run: int, progress: Progress) -> dict:
    """What one run finds, every objective having trained the same model on the same problems, in iterations of its own samples.

    {"kinds": [problem], "before": [problem] right answers of SAMPLES, "after": {objective: [problem]}, "success": {objective:
    [iteration]}, "blind": [kind] what one answer to all of a kind solves, "shown": `_most_gained` by K2's}. Every run draws its
    held-out problems anew. RuntimeError without the model.
    """
    if not get.have("smollm2"):
        raise RuntimeError("the study of a second policy trains SmolLM2, which is not here; run `k2 get smollm2`")
    size, policy = profile.second_policy, Policy(get.path("smollm2"))
    start = {name: value.clone() for name, value in policy.model.state_dict().items()}
    asked = drawn(size.asked, run, profile.judged_on)
    before, pool = policy.answers(asked, SAMPLES, run), moderately_hard(policy, size, run)
    after, success = {}, {}
    for name, objective in COMPARED.items():
        policy.model.load_state_dict(start)
        success[name] = trained(policy, pool, objective, size, run, progress)
        after[name] = policy.answers(asked, SAMPLES, run)
    return {
        "kinds": [one.kind for one in asked],
        "before": _right(before),
        "after": {name: _right(groups) for name, groups in after.items()},
        "success": success,
        "blind": [blind([one for one in asked if one.kind == kind]) for kind in KINDS],
        "shown": _most_gained(policy, asked, before, after["K2"]),
    }


def drawn(each: int, seed: int, split: str) -> list[Question]:
    """So many problems of each kind, none twice and none with the answer of most others."""
    return [one for kind, level in LEVELS.items() for one in fair(kind, each, seed, split, level)]


def moderately_hard(policy: Policy, size: SecondPolicySize, seed: int) -> list[Question]:
    """Problems to train on: those of moderate difficulty to the policy as it is, as everywhere."""
    problems = drawn(size.candidates // len(KINDS), seed, "train")
    rates = [sum(one.right for one in group) / PROBES for group in policy.answers(problems, PROBES, seed)]
    return [problems[i] for i in moderate(rates, size.prompts)[0]]


def trained(
    policy: Policy, pool: list[Question], objective: str, size: SecondPolicySize, seed: int, progress: Progress = silent
) -> list[float]:
    """[iteration] share of its answers that were right, while the policy follows an objective, a name of OBJECTIVES."""
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=size.lr, betas=(0.9, 0.95), weight_decay=0.0)
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
                torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
    return success


def _right(groups: list[list[Answer]]) -> list[int]:
    return [sum(one.right for one in group) for group in groups]


def _most_gained(
    policy: Policy, problems: list[Question], before: list[list[Answer]], after: list[list[Answer]]
) -> dict:
    """The problem with most right answers more: {"asks", "before", "after": [(what was said, right?)] of SHOWN_ANSWERS}."""
    gained = [b - a for a, b in zip(_right(before), _right(after), strict=True)]
    most = max(range(len(problems)), key=gained.__getitem__)
    said = {
        age: [(policy.text(one.said), one.right) for one in groups[most][:SHOWN_ANSWERS]]
        for age, groups in (("before", before), ("after", after))
    }
    return {"asks": problems[most].asks} | said


def chances(found: dict) -> dict[str, list[float]]:
    """{"before" | objective: [k of KS] mean pass@k}."""
    counts = {"before": found["before"]} | found["after"]
    return {name: [statistics.mean(pass_at(k, rights, SAMPLES)) for k in KS] for name, rights in counts.items()}


def by_kind(found: dict) -> dict[str, list[float]]:
    """{"before" | objective: [kind of KINDS] share of the sampled answers that are right, "blind": of one answer for all}."""
    counts = {"before": found["before"]} | found["after"]
    return {name: _shares(rights, found["kinds"]) for name, rights in counts.items()} | {"blind": found["blind"]}


def _shares(rights: list[int], kinds: list[str]) -> list[float]:
    of = {kind: [right / SAMPLES for right, one in zip(rights, kinds, strict=True) if one == kind] for kind in KINDS}
    return [statistics.mean(of[kind]) for kind in KINDS]


def gained(results: list[dict]) -> dict[str, list[float]]:
    """{objective: [run] by how many points more of the sampled answers to held-out problems are right}."""
    return {
        name: [100 * (sum(one["after"][name]) - sum(one["before"])) / (SAMPLES * len(one["kinds"])) for one in results]
        for name in COMPARED
    }


def values(_profile: Profile, results: list[dict]) -> dict[str, list[float]]:
    """One number a run for each claim, in points."""
    k2, grpo, rejection = gained(results).values()
    return {
        "rl-raises-a-second-policy": k2,
        "k2-keeps-up-with-grpo": [ours - WITHIN * theirs for ours, theirs in zip(k2, grpo, strict=True)],
        "wrong-answers-teach": [ours - theirs for ours, theirs in zip(k2, rejection, strict=True)],
    }


STUDY = Study("07_rl", "second_policy", measure, values, reads_corpus=False)
