"""A language model that transformers reads, as a policy: asked in plain text, sampled, and scored with gradients (section 3.2)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from k2lib import machine
from k2lib.gym.problem import Question
from k2lib.rl.objective import Scored


@dataclass(frozen=True)
class Answer:
    prompt: list[int]
    said: list[int]  # as sampled, its end included
    logprobs: list[float]  # of each token when it was sampled
    right: bool


class Policy:
    """A checkpoint, the text that a problem becomes, and what ends an answer beside the token that ends a text."""

    def __init__(self, directory: Path, asks: Callable[[Question], str], ends: tuple[str, ...], room: int):
        """An answer has `room` tokens."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        self.model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).to(machine.device())
        self.stop = [*(self.encode(end)[-1] for end in ends), self.tokenizer.eos_token_id]
        self.asks, self.room = asks, room

    @torch.no_grad()
    def answers(self, problems: list[Question], samples: int, seed: int) -> list[list[Answer]]:
        """[problem][sample] at temperature 1."""
        stream = torch.Generator(machine.device()).manual_seed(seed)
        self.model.eval()
        with machine.precision(stream.device):  # around all tokens, so that the weights are cast once
            return [self._sampled(problem, samples, stream) for problem in problems]

    def _sampled(self, problem: Question, samples: int, stream: torch.Generator) -> list[Answer]:
        prompt, said, logprobs = self.encode(self.asks(problem)), [], []
        logits, cache = self._read(prompt, samples)
        ended = torch.zeros(samples, dtype=torch.bool, device=logits.device)
        while len(said) < self.room and not ended.all():
            log_p = logits.float().log_softmax(-1)
            tokens = torch.multinomial(log_p.exp(), 1, generator=stream)
            said.append(tokens)
            logprobs.append(log_p.gather(-1, tokens))
            ended |= torch.isin(tokens[:, 0], torch.tensor(self.stop, device=tokens.device))
            logits = self.model(input_ids=tokens, past_key_values=cache).logits[:, -1]
        rows = zip(torch.cat(said, 1).tolist(), torch.cat(logprobs, 1).tolist(), strict=True)
        return [self._answer(problem, prompt, *row) for row in rows]

    def _answer(self, problem: Question, prompt: list[int], said: list[int], logprobs: list[float]) -> Answer:
        """What was said up to its end; an answer that does not end is wrong."""
        end = next((at for at, token in enumerate(said) if token in self.stop), None)
        if end is None:
            return Answer(prompt, said, logprobs, right=False)
        return Answer(prompt, said[: end + 1], logprobs[: end + 1], problem.right(self.text(said[:end])))

    def worked(self, problem: Question) -> Answer:
        """A right answer, as fine-tuning shall learn it; its probabilities are not known."""
        said = [*self.encode(f" {problem.answer}"), self.stop[-1]]
        return Answer(self.encode(self.asks(problem)), said, [0.0] * len(said), right=True)

    def text(self, said: list[int]) -> str:
        """What was said, without its end."""
        return self.tokenizer.decode(said, skip_special_tokens=True).strip()

    def scored(self, group: list[Answer]) -> Scored:
        """What the present weights think, with gradients, of every token that was said to one problem."""
        longest = max(len(one.said) for one in group)
        tokens = torch.tensor([one.said + [0] * (longest - len(one.said)) for one in group], device=machine.device())
        wanted = torch.tensor([[at < len(one.said) for at in range(longest)] for one in group], device=tokens.device)
        with machine.precision(tokens.device):
            first, cache = self._read(group[0].prompt, len(group))
            later = first[:, None][:, :0]
            if longest > 1:
                later = self.model(input_ids=tokens[:, :-1], past_key_values=cache).logits
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
        out = self.model(input_ids=asked, use_cache=True, logits_to_keep=1)
        out.past_key_values.batch_repeat_interleave(times)
        return out.logits[:, -1].expand(times, -1), out.past_key_values

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)
