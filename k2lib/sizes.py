"""What has a size in the kit, and what each number means; `k2lib.profiles` has the numbers."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class CorpusSize:
    stdlib_bytes: int  # real text and code of the running interpreter
    people: int  # the generated knowledge world
    documents_per_person: int  # passages, each in another style; the corpus holds two rewrites of each beside it
    math_problems: int
    largest_number: int  # in a problem; small numbers are what a small model can learn
    vocab_size: int
    recitals: int  # documents that say again what they have said, from which a model learns to look back
    shard_tokens: int = 1 << 20
    fidelity_documents: int = 200  # documents whose corrupted rewrites measure the verifier


@dataclass(frozen=True)
class IngestionSize:
    """A base model that knows people, and new people whom it reads about (notebook 01); rates chosen on seed 0."""

    large: dict = field(hash=False)  # K2Config fields that differ from the profile's
    small: dict = field(hash=False)
    people: int  # in the base corpus
    new: int
    steps: int  # of the base model
    batch_size: int
    seq_len: int
    warmup: int
    lr: float  # of the base model
    ingest_lr: float
    seeds: int


@dataclass(frozen=True)
class NotesSize:
    """Models that learn mathematics from pages, or from notes made of them (notebook 01); the rate chosen on seed 0."""

    model: dict = field(hash=False)  # K2Config fields that differ from the profile's
    vocab_size: int
    problems: int  # stories: pages, and as many German notes
    largest: int  # number of a problem
    asked: int  # stories of the examination
    steps: int
    batch_size: int
    seq_len: int
    warmup: int
    lr: float
    seeds: int


@dataclass(frozen=True)
class ChunksSize:
    """A language model of 135M parameters that is taught to rewrite pieces of long documents (notebook 01); chosen on seed 0."""

    asked: int  # documents of the examination
    steps: int
    batch_size: int
    warmup: int
    lr: float
    seeds: int


@dataclass(frozen=True)
class TrainSize:
    steps: int
    batch_size: int  # sequences a step, in fine-tuning packed ones
    seq_len: int
    lr: float
    warmup: int
    qk_clip_tau: float = (
        100.0  # the paper's; a small model stays far below it, so the demonstrations lower it and say so
    )


@dataclass(frozen=True)
class RoutingSize:
    """Short trainings in notebook 02, with and without the routers' selection bias."""

    steps: int
    batch_size: int
    seq_len: int
    lr: float
    bias_rate: float  # ten times the usual 1e-3, for a run of so few steps
    seeds: int


@dataclass(frozen=True)
class StudyModel:
    """A model of the optimizer's studies, and the learning rates that were best for it on seed 0 (`k2lib.studies.rates`)."""

    fields: dict  # K2Config fields that differ from the profile's
    adamw: float
    muon: float


@dataclass(frozen=True)
class OptimizerSize:
    """Short trainings of notebook 03 that differ in one thing: the optimizer, its rate, or what is done about logits."""

    steps: int
    batch_size: int
    seq_len: int
    warmup: int
    tau: float
    seeds: int
    small: StudyModel = field(hash=False)
    large: StudyModel = field(hash=False)


@dataclass(frozen=True)
class MemorySize:
    batch_size: int
    seq_len: int
    steps: int  # for the losses with and without FP8
    seeds: int
    rounds: int  # of timing a step in turns with a peer's
    model: dict = field(default_factory=dict, hash=False)  # fields in which the FP8 study's model differs


@dataclass(frozen=True)
class ParallelSize:
    steps: int
    batch_size: int
    seq_len: int
    microbatches: int


@dataclass(frozen=True)
class AgenticSize:
    categories: int  # of tools that are trained on, at least two
    children: int  # domains that have evolved in each of them
    per_domain: int  # applications of every domain
    tasks: int  # before the filter
    heldout_tasks: int

    @property
    def pool(self) -> dict[str, int]:
        """Which tools there are, as `k2lib.agents.tasks` takes it."""
        return {"categories": self.categories, "children": self.children, "per_domain": self.per_domain}


@dataclass(frozen=True)
class ArmsSize:
    """Short fine-tunings of the base model that differ in one thing (notebook 06); both rates chosen on seed 0."""

    rows: int  # conversations of each
    steps: int
    batch_size: int
    seq_len: int
    warmup: int
    muon: float
    adamw: float
    asked: int  # simulated tasks of the examination; questions of each other kind, too
    executed: int  # tasks of the examination on each real server
    seeds: int


@dataclass(frozen=True)
class RLSize:
    steps: int  # iterations
    prompts: int  # of an iteration
    samples: int  # K, per prompt
    candidates: int  # problems from which those of moderate difficulty are taken, the development split included
    development: int  # problems of the development split, which chooses the model that is returned
    check_every: int  # iterations between two looks at it
    lr: float
    tau: float
    temperature: tuple[float, float]  # decays from, to
    ptx_weight: float
    heldout: int
    objective: str = "k2"  # or "reinforce", "grpo", "rejection", to compare
    epochs: int = 1  # passes over the episodes of an iteration …
    minibatches: int = 1  # … each in so many updates
    overlong: float = -0.5  # reward of an episode that was cut at its budget
    moderate: bool = True  # leave out what the starting model always or never solves
    sampling: str = "uniform"  # of problems; or "curriculum", "prioritised"
    reset: bool = False  # a new optimizer in every iteration, as in k1.5
    patience: int = 0  # looks without a better model after which training stops; 0: never
    allowance: int | None = None  # tokens of an episode in one iteration, after which it pauses; None: it never does


@dataclass(frozen=True)
class RLArmsSize:
    """RL trainings of one model that differ in one thing (notebook 07); the rate chosen on a run that is not among them."""

    worked: int  # answers of each family for the warm-up
    warmup: TrainSize
    rl: RLSize
    asked: int  # held-out problems of each family
    tasks: int  # held-out tasks with tools, which these trainings do not train
    seeds: int
    trainings: int  # of K2's arm in each dtype, to see that none collapses


@dataclass(frozen=True)
class SecondPolicySize:
    """RL of a language model of 135M parameters that nobody of the kit trained (notebook 07); chosen on a seed of its own."""

    steps: int  # iterations
    prompts: int  # problems of an iteration
    samples: int
    epochs: int
    minibatches: int
    candidates: int  # problems from which those of moderate difficulty are taken
    asked: int  # held-out problems of each kind
    lr: float
    tau: float
    seeds: int


@dataclass(frozen=True)
class SecondFamiliesSize(SecondPolicySize):
    """The same after fine-tuning, on families of problems."""

    worked: int  # answers of each family that fine-tuning shows
    sft_batch: int
    sft_lr: float


@dataclass(frozen=True)
class EvalSize:
    perplexity_tokens: int
    questions: int
    problems: int
    tasks: int


@dataclass(frozen=True)
class Profile:
    name: str
    model: dict = field(hash=False)  # K2Config fields that differ from the preset "nano"
    corpus: CorpusSize
    ingestion: IngestionSize
    notes: NotesSize
    chunks: ChunksSize | None  # None: not at this size
    pretrain: TrainSize
    copy: TrainSize  # the end of pre-training: half text, half cycles of random tokens …
    recite: TrainSize  # … then a third text, the rest look-ups
    routing: RoutingSize
    rates: OptimizerSize  # the grid of learning rates
    tokens: OptimizerSize  # AdamW's tokens and MuonClip's
    updates: OptimizerSize  # singular values of real updates
    growth: OptimizerSize  # logits over rates
    heads: OptimizerSize  # head by head, and other remedies
    harm: OptimizerSize  # an aggressive threshold at a sane rate
    memory: MemorySize
    parallel: ParallelSize
    agentic: AgenticSize
    sft: TrainSize
    arms: ArmsSize | None  # None: not at this size
    rl: RLSize
    rl_arms: RLArmsSize | None  # None: not at this size
    evaluate: EvalSize
    judged_on: str  # the split: "development" while choices are made, "test" where the result counts
    cell_timeout: int  # seconds; far more than a slow and busy machine needs, the runner ends what hangs
    runs: int = 1  # fine-tunings of the one base model, each with its rows in another order and an RL of its own
    threads: int | None = None  # at most; None leaves it to the machine
    real_passages: int = 34  # that a real language model rewrites, where it is at hand
    second_policy: SecondPolicySize | None = None  # None: not at this size
    second_families: SecondFamiliesSize | None = None
