"""What a notebook will need on this machine, from counted FLOPs and the measured rate of dense products.

    seconds = fixed + FLOPs / (SHARE · rate) + updates · layers · UPDATE + decoding steps · (layers · STEP + bytes / bandwidth)

The FLOPs are counted from the profile and the model's config, forward and backward, orthogonalisation included. SHARE,
the part of the rate that a small model's products reach, and what a layer costs beside them were measured on a few
processors (data/results/LOG.md). An estimate is good to a factor of about 1.5: enough to decide whether to wait.
"""

from dataclasses import asdict, dataclass, fields

import torch

from k2lib import machine, stages
from k2lib.bench import memory as frontier
from k2lib.config import K2Config
from k2lib.gym.tool_use import ToolUse
from k2lib.model import accounting
from k2lib.profiles import PUBLISHED, Profile
from k2lib.rl.policy import PIECE
from k2lib.rl.trainer import ATTEMPTS, DEVELOPMENT_ATTEMPTS, PROBES
from k2lib.sizes import RLSize
from k2lib.stages import rl_arms
from k2lib.stages.rl import PTX
from k2lib.stages.rl_exam import ASKED, SAMPLES
from k2lib.stages.warmup import ASIDE, LEARNED
from k2lib.studies import growth, rates, second_families, second_policy, tokens
from k2lib.studies.fp8 import ARMS

SHARE = {"float32": 0.58, "bfloat16": 0.5}  # of the rate of large products: what those of a training step reach
UPDATE = 18e-3  # seconds a layer and training step beside the products
STEP = 2.5e-3  # seconds a layer and decoding step beside reading the weights
PROMPT = 100  # tokens of an average prompt
TURNS = 3  # of an average conversation
WAYS = 12 * 1.5  # of training a model that notebook 04 times, each in turns; the peer's take longer than ours
BIOGRAPHY = 72  # tokens of a document of the generated world
REWRITTEN = 250  # tokens of a piece with its excerpt, what was written and its rewrite
TAUGHT = 135e6  # parameters of the model that is taught to rewrite long documents
READINGS = {"large": 174, "small": 30}  # of a new person's text, by all arms of the study of Table 1
SERVERS = 6  # with really executed tools, the interpreter among them
PAGE = 12.0  # seconds to draw a published page, which runs nothing
PARALLEL_START = 5.0  # seconds to launch a job on several processes


@dataclass(frozen=True)
class Episodes:
    """What RL plays, on average."""

    turns: int
    prompt: int  # tokens, which all episodes of a problem share
    own: int  # tokens behind it
    longest: int  # tokens of the longest of the turns that are sampled together


MIXED = Episodes(turns=2, prompt=180, own=70, longest=ToolUse.budget)  # every other one is a conversation
ANSWERS = Episodes(turns=1, prompt=100, own=8, longest=24)


@dataclass(frozen=True)
class Work:
    """What one notebook asks of a machine."""

    flops: float = 0.0  # of training steps and of reading prompts
    updates: float = 0.0  # training steps
    decoding: float = 0.0  # decoding steps, each of one batch
    fixed: float = 0.0  # seconds: imports, figures, files

    def __add__(self, other: "Work") -> "Work":
        return Work(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def work(profile: Profile) -> dict[str, Work]:
    """The work of each notebook; what an earlier notebook has stored is not counted again."""
    config, p = stages.config(profile), profile
    routing, parallel = p.routing, p.parallel
    return {
        "00_overview": Work(fixed=6),
        "01_data_rephrasing": Work(
            fixed=8 + p.corpus.stdlib_bytes / 4e5 + p.corpus.people * p.corpus.documents_per_person / 300
        )
        + _ingestion(config, p)
        + _lessons(config, p),
        "02_moe_architecture": training(
            config, (2 * routing.seeds + 1) * routing.steps, routing.batch_size, routing.seq_len
        )
        + Work(fixed=14),
        "03_muonclip": training(config, p.pretrain.steps, p.pretrain.batch_size, p.pretrain.seq_len)
        + training(config, p.copy.steps, p.copy.batch_size, p.copy.seq_len)
        + training(config, p.recite.steps, p.recite.batch_size, p.recite.seq_len)
        + _optimizer(config, p)
        + Work(fixed=30),
        "04_memory": _memory(config, p),
        "05_parallelism": training(config, 4 * parallel.steps, parallel.batch_size, parallel.seq_len)
        + Work(fixed=8 + 4 * PARALLEL_START),
        "06_sft": _fine_tuning(config, p),
        "07_rl": _reinforcement(config, p),
        "08_evaluation": _evaluation(config, p),
    }


def _ingestion(config: K2Config, p: Profile) -> Work:
    """The study of Table 1: a base model of either size, and the arms, in readings of the new people's texts."""
    size = p.ingestion
    once = size.new * BIOGRAPHY / (size.batch_size // 2 * size.seq_len)  # steps, half of each batch being replay
    trainings = (
        training(
            config.replace(**getattr(size, name)),
            size.seeds * (size.steps + count * once),
            size.batch_size,
            size.seq_len,
        )
        for name, count in READINGS.items()
    )
    return sum(trainings, Work())


def _lessons(config: K2Config, p: Profile) -> Work:
    """The studies of learning notes, a training for each of six arms, and of long documents."""
    notes, chunks = p.notes, p.chunks
    work = training(config.replace(**notes.model), notes.seeds * 6 * notes.steps, notes.batch_size, notes.seq_len)
    if chunks is None:
        return work
    tokens = chunks.batch_size * chunks.steps + 4 * chunks.asked  # of a document in each of four forms
    return work + Work(chunks.seeds * 6 * TAUGHT * REWRITTEN * tokens, chunks.seeds * chunks.steps)


def _optimizer(config: K2Config, p: Profile) -> Work:
    """The studies of notebook 03: how many trainings of each model, in steps of their size."""
    both = sum(map(len, rates.GRID.values())), p.tokens.seeds * (1 + sum(tokens.SHARES))
    steps = {
        "small": both[0] * p.rates.steps + both[1] * p.tokens.steps,
        "large": both[0] * p.rates.steps
        + both[1] * p.tokens.steps
        + 2 * p.updates.seeds * p.updates.steps
        + 5 * len(growth.MULTIPLES) * p.growth.seeds * p.growth.steps
        + 5 * p.heads.seeds * p.heads.steps
        + 2 * p.harm.seeds * p.harm.steps,
    }
    trainings = (
        training(config.replace(**getattr(p.tokens, name).fields), round(count), p.tokens.batch_size, p.tokens.seq_len)
        for name, count in steps.items()
    )
    return sum(trainings, Work())


def seconds(profile: Profile, record: dict | None = None) -> dict[str, float]:
    """Expected seconds of each notebook on this machine, or on the one that `machine.record` once described."""
    if profile is PUBLISHED:
        return dict.fromkeys(work(profile), PAGE)
    config, found = stages.config(profile), record or _here(profile)
    pace = SHARE[found["dtype"]] * 1e9 * found["gflops"][found["dtype"]]
    weights = accounting.count_parameters(config).total * getattr(torch, found["dtype"]).itemsize
    layers, reading = config.num_hidden_layers, weights / (1e9 * found["bandwidth"])
    return {
        name: w.fixed + w.flops / pace + w.updates * layers * UPDATE + w.decoding * (layers * STEP + reading)
        for name, w in work(profile).items()
    }


def _here(profile: Profile) -> dict:
    """This machine's dtype and rates with as many threads as the profile takes at most."""
    where = machine.device()
    return asdict(machine.rates(where, machine.threads(most=profile.threads))) | {"dtype": machine.compute_dtype(where)}


def training(config: K2Config, steps: float, batch: int, length: int) -> Work:
    """Steps of forward, backward and MuonClip."""
    flops = batch * length * accounting.training_flops(config, length) + orthogonalisation_flops(config)
    return Work(steps * flops, steps)


def decoding(config: K2Config, answers: float, length: int, batch: int = 128) -> Work:
    """So many answers to prompts of usual length, `batch` at a time."""
    return Work(answers * PROMPT * accounting.training_flops(config, PROMPT) / 3, decoding=answers / batch * length)


def orthogonalisation_flops(config: K2Config, steps: int = 5) -> float:
    """4n²m + 2n³ FLOPs a step for each hidden matrix [n, m], n ≤ m; of an attention's, n is taken as the latent width."""
    c = config
    sparse = sum(c.is_moe(layer) for layer in range(c.num_hidden_layers))
    n, m = sorted((c.hidden_size, c.moe_intermediate_size))
    experts = sparse * 3 * (c.n_routed_experts + c.n_shared_experts) * (4 * n * n * m + 2 * n**3)
    attention = c.num_hidden_layers * 6 * c.kv_lora_rank * accounting.attention_parameters(c)
    return steps * float(experts + attention)


def _memory(config: K2Config, p: Profile) -> Work:
    m, timed = p.memory, K2Config.preset("nano").replace(**frontier.CONFIG)
    steps = training(config.replace(**m.model), len(ARMS) * m.seeds * m.steps, m.batch_size, m.seq_len)
    ways = training(timed, WAYS * (m.rounds + 2), frontier.BATCH, frontier.LENGTH)
    return steps + ways + Work(fixed=20)


def _fine_tuning(config: K2Config, p: Profile) -> Work:
    played = decoding(config, (1 + 2 * p.runs) * p.agentic.heldout_tasks * TURNS, ToolUse.budget)  # enforced, too
    trained = training(config, p.runs * p.sft.steps, p.sft.batch_size, p.sft.seq_len)
    return trained + played + _arms(config, p) + Work(fixed=40 + p.agentic.tasks / 200)


def _arms(config: K2Config, p: Profile) -> Work:
    """Each arm is trained, and examined by tasks, questions of two kinds, and tasks on real servers one at a time."""
    if p.arms is None:
        return Work()
    size, count = p.arms, p.arms.seeds * len(stages.ARMS)
    asked = decoding(config, count * size.asked * (TURNS + 2), ToolUse.budget)
    real = decoding(config, count * SERVERS * size.executed * TURNS, ToolUse.budget, batch=1)
    return training(config, count * size.steps, size.batch_size, size.seq_len) + asked + real


def _reinforcement(config: K2Config, p: Profile) -> Work:
    work = sum((_trained(config, p, p.rl, MIXED, PTX) for _ in range(p.runs)), Work(fixed=8))
    if p.rl_arms is None:
        return work
    arms, warmup = p.rl_arms, p.rl_arms.warmup
    asked = len(LEARNED + ASIDE) * arms.asked * (SAMPLES + 2) + ASKED + arms.tasks * TURNS
    one = _trained(config, p, arms.rl, ANSWERS, rl_arms.PTX) + decoding(config, asked, ANSWERS.longest)
    count = arms.seeds * (len(rl_arms.RL_ARMS) + 1)  # two critics cost about an arm
    count += len(machine.DTYPES) * arms.trainings - arms.seeds
    work += training(config, warmup.steps, warmup.batch_size, warmup.seq_len)
    return sum((one for _ in range(count)), work) + _second_policy(p) + _second_families(p)


def _second_policy(p: Profile) -> Work:
    """RL of SmolLM2 by each objective. A decoding step of it takes as long as an update of the kit's own model."""
    if p.second_policy is None:
        return Work()
    size = p.second_policy
    played, heldout, trained = (
        size.steps * size.prompts,
        size.asked * len(second_policy.KINDS),
        len(second_policy.COMPARED),
    )
    asked = size.candidates + heldout + trained * (played + heldout)
    read = PROMPT * (2 * asked + 6 * trained * size.epochs * played)
    return Work(size.seeds * TAUGHT * read, size.seeds * asked * second_policy.ROOM)


def _second_families(p: Profile) -> Work:
    """Fine-tuning and RL of SmolLM2, and the examination after either."""
    if p.second_families is None:
        return Work()
    size = p.second_families
    played, shown = size.steps * size.prompts, len(second_families.SHOWN)
    asked = size.candidates + 2 * size.asked * shown + played
    read = PROMPT * (2 * asked + 6 * (size.worked * shown + size.epochs * played))
    return Work(size.seeds * TAUGHT * read, size.seeds * asked * second_families.ROOM)


def _trained(config: K2Config, p: Profile, r: RLSize, played: Episodes, ptx: int) -> Work:
    """One RL, with so many sequences of PTX in an update."""
    looked = PROBES * r.candidates + 2 * (ATTEMPTS + 1) * r.heldout  # before and after
    looked += r.development * DEVELOPMENT_ATTEMPTS * (1 + r.steps / r.check_every)
    answers = decoding(config, played.turns * (r.steps * r.prompts * r.samples + looked), played.longest)
    updates = r.steps * r.epochs * r.minibatches
    run = training(config, updates, r.prompts // r.minibatches, played.prompt + r.samples * played.own) + answers
    run += training(config, updates, ptx, p.sft.seq_len)
    return run + Work(updates=r.steps * r.epochs * r.prompts / PIECE)


def _evaluation(config: K2Config, p: Profile) -> Work:
    e, models = p.evaluate, 1 + 2 * p.runs
    read = models * e.perplexity_tokens * accounting.training_flops(config, p.pretrain.seq_len) / 3
    asked = models * (e.questions + e.problems + e.tasks * TURNS)
    return Work(read, fixed=6) + decoding(config, asked, ToolUse.budget)
