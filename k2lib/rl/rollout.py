"""Rollouts: K answers to each problem from the model's own generator, cut at the problem's budget and scored.

An answer that does not end within its budget is truncated and penalised (section 3.2.3), so brevity is learned where it pays.
The sampled token ids are kept and never rendered again: text that is tokenized a second time need not give the same ids.
"""

from dataclasses import dataclass

import torch

from k2lib import machine
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.llm import chat
from k2lib.model import K2Model
from k2lib.model.generate import sample
from k2lib.rl.problems import Problem

OVERLONG = -0.5  # reward of an answer cut at its budget


@dataclass(frozen=True)
class Sample:
    prompt: list[int]
    answer: list[int]  # as sampled, the stop token included
    logprobs: list[float]  # of each answer token at temperature 1, from the generator
    reward: float | None  # None: the check failed, leave the sample out
    success: bool

    @property
    def ids(self) -> list[int]:
        return self.prompt + self.answer

    @property
    def mask(self) -> list[bool]:
        return [False] * len(self.prompt) + [True] * len(self.answer)


def prompts(problems: list[Problem], tokenizer: Tokenizer) -> list[list[int]]:
    return [chat.encode(tokenizer, p.messages, p.tools or None)[0] for p in problems]


def rollout(
    model: K2Model,
    tokenizer: Tokenizer,
    problems: list[Problem],
    *,
    samples: int,
    temperature: float,
    seed: int,
) -> list[list[Sample]]:
    """[problem][K] scored samples. A budget longer than the longest of the batch is never generated."""
    stop = (tokenizer.encode_control(chat.END), tokenizer.eos_id)
    encoded = prompts(problems, tokenizer)
    with machine.precision(model.embed_tokens.weight.device):
        completions = sample(
            model,
            [ids for ids in encoded for _ in range(samples)],
            temperature=temperature,
            seed=seed,
            max_new_tokens=max(p.budget for p in problems),
            stop_tokens=stop,
        )
    rows = iter(completions)
    return [
        [_score(problem, ids, next(rows), tokenizer) for _ in range(samples)]
        for problem, ids in zip(problems, encoded, strict=True)
    ]


def _score(problem: Problem, prompt: list[int], completion, tokenizer: Tokenizer) -> Sample:
    answer, logprobs = completion.tokens[: problem.budget], completion.logprobs[: problem.budget]
    finished = completion.finish == "stop" and len(completion.tokens) <= problem.budget
    reward = problem.reward(chat.parse_ids(answer, tokenizer)) if finished else OVERLONG
    return Sample(prompt, answer, logprobs, reward, reward is not None and reward >= 1.0)


def success_rates(rolled: list[list[Sample]]) -> torch.Tensor:
    """[problem] share of samples that succeeded."""
    return torch.tensor([sum(s.success for s in group) / len(group) for group in rolled])
