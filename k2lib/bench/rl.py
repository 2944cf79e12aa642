"""A whole iteration of RL: episodes, rewards, one update; ours against TRL's GRPOTrainer.

The same weights in both (the peer as transformers' DeepSeek-V3), the same prompts, samples, length of answers, objective and
threads. The peer trains as it comes; between two of its steps ours runs one, so that whatever else the machine does slows
both. The weights are random and hardly ever end an answer: all are of full length.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from k2lib import machine
from k2lib.bench.model import CONFIG
from k2lib.bench.rounds import Timing, report
from k2lib.config import K2Config
from k2lib.corpus import arithmetic
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.gym.budgeted import Budgeted
from k2lib.gym.mathematics import Mathematics
from k2lib.gym.play import Played, play
from k2lib.llm import chat
from k2lib.model import K2Model, parity
from k2lib.optim import MuonClip
from k2lib.profiles import SMOKE
from k2lib.rl.policy import policy_gradients
from k2lib.train.step import update

PROMPTS, SAMPLES, ANSWER = 8, 8, 48  # problems, episodes of each, tokens of an answer
WARMUP = 1  # iterations that are not counted


def run(dtype: str = "auto", rounds: int = 5) -> dict:
    """Times whole iterations of both. ModuleNotFoundError where TRL is not installed; it is no part of the kit."""
    try:
        from transformers import TrainerCallback
    except ModuleNotFoundError:
        raise ModuleNotFoundError("the peer needs transformers and trl; pip install trl") from None
    torch.manual_seed(0)
    where = machine.device()
    drawn = arithmetic.problems(PROMPTS, 0, "train", 20)
    tokenizer = Tokenizer.train(
        [f"{problem.question} {problem.answer}" for problem in arithmetic.problems(2000, 0)], CONFIG["vocab_size"]
    )
    model = K2Model(K2Config.preset("nano").replace(**CONFIG | {"vocab_size": tokenizer.vocab_size})).to(where)
    problems = [Budgeted(Mathematics(problem), ANSWER) for problem in drawn]
    seconds: dict[str, list[float]] = {"k2lib": [], "TRL GRPOTrainer": []}
    split = dict.fromkeys(("rollout", "reward", "train"), 0.0)
    peer = parity.reference(model)

    class Between(TrainerCallback):
        """Takes the time of the peer's steps, and runs ours after each."""

        def on_step_begin(self, *_args, **_more) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_args, **_more) -> None:
            seconds["TRL GRPOTrainer"].append(time.perf_counter() - self.began)
            began = time.perf_counter()
            for part, spent in iteration(model, tokenizer, problems, optimizer, len(seconds["k2lib"])).items():
                split[part] += spent * (len(seconds["k2lib"]) >= WARMUP)
            seconds["k2lib"].append(time.perf_counter() - began)

    optimizer = MuonClip.for_model(model, lr=1e-4)
    with tempfile.TemporaryDirectory() as folder, machine.precision(where, dtype):
        trainer(peer, tokenizer, problems, rounds + WARMUP, Path(folder), Between()).train()
    timings = {name: _timing(times[WARMUP:]) for name, times in seconds.items()}
    whole = sum(split.values())
    extra = {name: {"samples/s": round(PROMPTS * SAMPLES / timing.median, 1)} for name, timing in timings.items()}
    extra["k2lib"] |= {f"{part}, share": round(spent / whole, 2) for part, spent in split.items()}
    used = machine.compute_dtype(where) if dtype == "auto" else dtype
    title = f"{PROMPTS} problems, {SAMPLES} answers of {ANSWER} tokens each, one update, {used}, {torch.get_num_threads()} threads"
    return report(title, timings, extra)


def iteration(model: K2Model, tokenizer: Tokenizer, problems: list[Budgeted], optimizer, seed: int) -> dict[str, float]:
    """One iteration of ours; the seconds of its parts. The weights that sample are those that train: nothing is sent."""
    marks = [time.perf_counter()]
    groups: list[list[Played]] = play(model, tokenizer, problems, samples=SAMPLES, temperature=1.0, seed=seed)
    marks.append(time.perf_counter())
    for group in groups:
        for one in group:
            _ = one.outcome
    marks.append(time.perf_counter())
    model.train()
    policy_gradients(model, groups, replace(SMOKE.rl, objective="grpo"), tokenizer.pad_id, None)
    update(model, optimizer, 1e-4)
    marks.append(time.perf_counter())
    return {part: b - a for part, a, b in zip(("rollout", "reward", "train"), marks, marks[1:], strict=False)}


def trainer(peer, tokenizer: Tokenizer, problems: list[Budgeted], steps: int, folder: Path, callback):
    """TRL's trainer over the same problems, as it comes but for what makes both equal."""
    try:
        from datasets import Dataset
        from transformers import PreTrainedTokenizerFast
        from trl import GRPOConfig, GRPOTrainer
    except ModuleNotFoundError:
        raise ModuleNotFoundError("the peer needs TRL, which is no part of the kit; pip install trl") from None
    tokenizer.save(folder)
    words = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), padding_side="left")
    words.pad_token, words.eos_token = words.convert_ids_to_tokens([tokenizer.pad_id, tokenizer.eos_id])
    rows = Dataset.from_list([{"prompt": chat.render(one.messages), "number": n} for n, one in enumerate(problems)])

    def right(completions, number, **_columns) -> list[float]:
        return [float(problems[n].problem.right(said)) for said, n in zip(completions, number, strict=True)]

    settings = GRPOConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=PROMPTS * SAMPLES,
        num_generations=SAMPLES,
        max_completion_length=ANSWER,
        max_steps=steps,
        learning_rate=1e-4,
        loss_type="grpo",
        beta=0.0,
        logging_steps=10_000,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=machine.device() == machine.HOST,
        bf16=False,
        gradient_checkpointing=False,
    )
    return GRPOTrainer(peer, right, args=settings, train_dataset=rows, processing_class=words, callbacks=[callback])


def _timing(seconds: list[float]) -> Timing:
    ordered = sorted(seconds)
    return Timing(ordered[len(ordered) // 2], ordered[0], ordered[-1], len(ordered))
