"""Every size in the kit, once. A notebook says `profile = "laptop"`; nothing else holds a number of steps or people.

A profile says what to train, never where or in which dtype: `k2lib.machine` decides that by measurement.

`smoke` runs every code path in minutes on two cores and proves nothing about the paper; `laptop` is the default and
tests the claims over a few seeds; `study` has more of them; `gpu` is the same at about a hundred times the compute.
`published` runs nothing: the notebooks draw what a run of these has left in data/results.
"""

from dataclasses import replace

from k2lib.sizes import (
    AgenticSize,
    ArmsSize,
    ChunksSize,
    CorpusSize,
    EvalSize,
    IngestionSize,
    MemorySize,
    NotesSize,
    OptimizerSize,
    ParallelSize,
    Profile,
    RLArmsSize,
    RLSize,
    RoutingSize,
    SecondFamiliesSize,
    SecondPolicySize,
    StudyModel,
    TrainSize,
)

_NARROW = dict(
    hidden_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    q_lora_rank=32,
    kv_lora_rank=32,
    qk_nope_head_dim=16,
    qk_rope_head_dim=8,
    v_head_dim=16,
    intermediate_size=128,
    moe_intermediate_size=32,
    n_routed_experts=16,
    num_experts_per_tok=2,
)
_WIDE = _NARROW | dict(hidden_size=128, intermediate_size=256, moe_intermediate_size=64)

_INGESTION = IngestionSize(
    large=_WIDE | dict(vocab_size=1024),
    small=_NARROW | dict(vocab_size=1024),
    people=400,
    new=200,
    steps=2000,
    batch_size=16,
    seq_len=128,
    warmup=20,
    lr=2e-3,
    ingest_lr=3e-3,
    seeds=5,
)
_NOTES = NotesSize(
    model=_WIDE,
    vocab_size=512,
    problems=4000,
    largest=20,
    asked=300,
    steps=1000,
    batch_size=16,
    seq_len=128,
    warmup=20,
    lr=2e-2,
    seeds=3,
)
_CHUNKS = ChunksSize(asked=40, steps=60, batch_size=8, warmup=5, lr=3e-4, seeds=3)
_OPTIMIZER = OptimizerSize(
    steps=300,
    batch_size=16,
    seq_len=128,
    warmup=20,
    tau=20.0,
    seeds=5,
    small=StudyModel(_NARROW, adamw=5e-3, muon=1e-2),
    large=StudyModel(_WIDE, adamw=5e-3, muon=1e-2),
)


def _optimizer_sizes(base: OptimizerSize) -> dict[str, OptimizerSize]:
    """Of all the optimizer's studies. The aggressive τ is half of the other, about what the median head reaches at a sane rate."""
    sizes = dict.fromkeys(("tokens", "growth", "heads"), base)
    return sizes | {
        "rates": replace(base, seeds=1),
        "updates": replace(base, steps=max(1, base.steps // 4)),
        "growth": replace(base, steps=max(1, base.steps // 2)),
        "harm": replace(base, tau=base.tau / 2, seeds=base.seeds * 8 // 5),
    }


_RL_ARMS = RLArmsSize(
    worked=1500,
    warmup=TrainSize(steps=700, batch_size=4, seq_len=1024, lr=2e-3, warmup=10),
    rl=RLSize(
        steps=14,
        prompts=24,
        samples=8,
        candidates=900,
        development=108,
        check_every=2,
        lr=3e-4,
        tau=0.1,
        temperature=(1.0, 0.7),
        ptx_weight=0.1,
        heldout=0,
        epochs=2,
        minibatches=2,
    ),
    asked=36,
    tasks=48,
    seeds=5,
    trainings=10,
)
_SECOND_POLICY = SecondPolicySize(
    steps=10, prompts=8, samples=8, epochs=2, minibatches=2, candidates=100, asked=16, lr=1e-5, tau=0.1, seeds=5
)
_SECOND_FAMILIES = SecondFamiliesSize(
    steps=10, prompts=12, samples=8, epochs=2, minibatches=2, candidates=96, asked=12, lr=1e-5, tau=0.1, seeds=5,
    worked=40, sft_batch=8, sft_lr=2e-4,
)  # fmt: skip
_ARMS = ArmsSize(
    rows=2500, steps=150, batch_size=8, seq_len=1024, warmup=10, muon=5e-3, adamw=1e-3, asked=100, executed=10, seeds=3
)

SMOKE = Profile(
    name="smoke",
    model=_NARROW | dict(vocab_size=1024),
    corpus=CorpusSize(
        stdlib_bytes=400_000,
        people=40,
        documents_per_person=2,
        math_problems=6000,
        largest_number=8,
        vocab_size=1024,
        recitals=500,
        fidelity_documents=40,
    ),
    ingestion=replace(
        _INGESTION, large=_INGESTION.small, people=20, new=12, steps=10, batch_size=32, seq_len=128, warmup=4, seeds=1
    ),
    chunks=None,
    notes=replace(_NOTES, model=_NARROW, problems=200, largest=8, asked=20, steps=8, warmup=2, seeds=1),
    pretrain=TrainSize(steps=800, batch_size=16, seq_len=128, lr=1e-2, warmup=10),
    copy=TrainSize(steps=20, batch_size=4, seq_len=64, lr=5e-3, warmup=5),
    recite=TrainSize(steps=20, batch_size=6, seq_len=128, lr=5e-3, warmup=5),
    routing=RoutingSize(steps=40, batch_size=8, seq_len=128, lr=1e-2, bias_rate=1e-2, seeds=1),
    **_optimizer_sizes(replace(_OPTIMIZER, steps=16, batch_size=8, seq_len=64, warmup=4, tau=0.2, seeds=1)),
    memory=MemorySize(batch_size=4, seq_len=128, steps=10, seeds=1, rounds=1),
    parallel=ParallelSize(steps=4, batch_size=8, seq_len=64, microbatches=4),
    agentic=AgenticSize(categories=2, children=0, per_domain=2, tasks=800, heldout_tasks=24),
    sft=TrainSize(steps=300, batch_size=4, seq_len=1024, lr=3e-3, warmup=10),
    arms=None,
    rl=RLSize(
        steps=24,
        prompts=16,
        samples=8,
        candidates=384,
        development=64,
        check_every=4,
        lr=3e-4,
        tau=0.1,
        temperature=(1.0, 0.7),
        ptx_weight=0.1,
        heldout=96,
        epochs=2,
        minibatches=2,
    ),
    rl_arms=None,
    evaluate=EvalSize(perplexity_tokens=4_096, questions=32, problems=32, tasks=16),
    judged_on="development",
    cell_timeout=1800,
    real_passages=2,
    threads=1,  # a model this small is slower on two: a step took 0.14 s instead of 0.09
)

LAPTOP = Profile(
    name="laptop",
    model={},
    corpus=CorpusSize(
        stdlib_bytes=5_200_000,
        people=200,
        documents_per_person=7,
        math_problems=20_000,
        largest_number=20,
        vocab_size=4096,
        recitals=6000,
    ),
    ingestion=replace(_INGESTION, people=200, new=100, steps=1000, seeds=1),
    notes=replace(_NOTES, steps=150, seeds=1),
    chunks=None,
    pretrain=TrainSize(steps=600, batch_size=16, seq_len=256, lr=8e-3, warmup=40),
    copy=TrainSize(steps=700, batch_size=32, seq_len=64, lr=5e-3, warmup=20),
    recite=TrainSize(steps=400, batch_size=24, seq_len=128, lr=3e-3, warmup=20),
    routing=RoutingSize(steps=80, batch_size=16, seq_len=128, lr=6e-3, bias_rate=1e-2, seeds=3),
    **_optimizer_sizes(replace(_OPTIMIZER, steps=60, seeds=1)),
    memory=MemorySize(batch_size=4, seq_len=128, steps=200, seeds=8, rounds=5, model=_WIDE | dict(vocab_size=4096)),
    parallel=ParallelSize(steps=10, batch_size=8, seq_len=128, microbatches=4),
    agentic=AgenticSize(categories=12, children=80, per_domain=1, tasks=12_000, heldout_tasks=100),
    sft=TrainSize(steps=180, batch_size=8, seq_len=1024, lr=2e-3, warmup=20),
    arms=None,
    rl=replace(SMOKE.rl, steps=32, candidates=576, development=48, heldout=160),
    rl_arms=None,
    evaluate=EvalSize(perplexity_tokens=32_768, questions=200, problems=200, tasks=100),
    judged_on="test",
    cell_timeout=6 * 3600,
)

STUDY = replace(  # the laptop's sizes, with the seeds that a verdict needs and longer training, however long they take
    LAPTOP,
    name="study",
    corpus=replace(LAPTOP.corpus, recitals=9000),
    copy=replace(LAPTOP.copy, steps=1500, batch_size=64),
    recite=replace(LAPTOP.recite, steps=450, batch_size=32),
    sft=replace(LAPTOP.sft, steps=250),
    ingestion=_INGESTION,
    notes=_NOTES,
    chunks=_CHUNKS,
    routing=replace(LAPTOP.routing, seeds=5),
    **_optimizer_sizes(_OPTIMIZER),
    memory=replace(LAPTOP.memory, steps=300, seeds=16),
    arms=_ARMS,
    rl=replace(LAPTOP.rl, steps=8, candidates=96, development=24, check_every=2, heldout=40),
    rl_arms=_RL_ARMS,
    second_policy=_SECOND_POLICY,
    second_families=_SECOND_FAMILIES,
    runs=3,
)

GPU = replace(
    LAPTOP,
    name="gpu",
    model=dict(
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        q_lora_rank=384,
        kv_lora_rank=128,
        intermediate_size=2048,
        moe_intermediate_size=256,
        n_routed_experts=64,
        num_experts_per_tok=8,
        vocab_size=8192,
    ),
    corpus=replace(
        LAPTOP.corpus,
        stdlib_bytes=40_000_000,
        people=20_000,
        math_problems=400_000,
        recitals=100_000,
        largest_number=60,
        vocab_size=8192,
    ),
    ingestion=replace(_INGESTION, people=4000, new=2000, steps=20_000, batch_size=32),
    pretrain=replace(LAPTOP.pretrain, steps=6000, batch_size=64, seq_len=1024, lr=2e-3, warmup=200),
    copy=replace(LAPTOP.copy, steps=3000, batch_size=64, lr=2e-3),
    recite=replace(LAPTOP.recite, steps=2000, batch_size=64, lr=2e-3),
    routing=replace(LAPTOP.routing, steps=500, batch_size=32, seq_len=512, lr=2e-3),
    **_optimizer_sizes(replace(_OPTIMIZER, steps=4000, batch_size=32, seq_len=512, warmup=100)),
    sft=replace(LAPTOP.sft, steps=1500, batch_size=64, lr=1e-3),
    arms=replace(_ARMS, rows=8000, steps=500, batch_size=32, muon=2e-3),
    rl=replace(LAPTOP.rl, steps=200, prompts=64, candidates=2000),
    rl_arms=replace(_RL_ARMS, worked=2000, rl=replace(_RL_ARMS.rl, steps=100, prompts=64, candidates=2000), asked=32),
)

# Pages drawn from committed results; nothing is trained, and a page's sizes are those of the run that it is drawn from.
PUBLISHED = replace(LAPTOP, name="published")

PROFILES = {p.name: p for p in (SMOKE, LAPTOP, STUDY, GPU, PUBLISHED)}


def get(name: str) -> Profile:
    """The profile of that name; ValueError listing the known ones otherwise."""
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]
