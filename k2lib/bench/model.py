"""One training step, forward and backward, of a 20M-parameter model: ours against transformers' DeepSeek-V3.

The peer runs as it comes and as it is fastest, and compiled where asked for; all share weights and tokens. Beside the
times stands the share of the machine's measured rate for dense products that a step's counted FLOPs amount to.
"""

import torch

from k2lib import machine
from k2lib.bench.rounds import in_turns, report
from k2lib.config import K2Config
from k2lib.model import K2Model, accounting, parity

BATCH, LENGTH = 8, 256
CONFIG = dict(
    vocab_size=4096,
    hidden_size=256,
    num_hidden_layers=6,
    num_attention_heads=4,
    q_lora_rank=128,
    kv_lora_rank=64,
    qk_nope_head_dim=32,
    qk_rope_head_dim=32,
    v_head_dim=32,
    intermediate_size=512,
    moe_intermediate_size=128,
    n_routed_experts=32,
    num_experts_per_tok=4,
)


def run(dtype: str = "auto", rounds: int = 7, compiled: bool = False) -> dict:
    """Times ours, transformers with its default and its eager attention, and, with `compiled`, its compiled step."""
    torch.manual_seed(0)
    where = machine.device()
    model = K2Model(K2Config.preset("nano").replace(**CONFIG)).to(where).train()
    tokens = torch.randint(0, model.config.vocab_size, (BATCH, LENGTH + 1), device=where)

    def ours() -> None:
        with machine.precision(where, dtype):
            loss = model.loss(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        model.zero_grad(set_to_none=True)

    ways = {"k2lib": ours}
    for name, attention in (("transformers", "sdpa"), ("transformers, eager attention", "eager")):
        ways[name] = _peer(model, tokens, attention, dtype)
    if compiled:
        ways["transformers, compiled"] = _peer(model, tokens, "eager", dtype, compiled=True)
    timings = in_turns(ways, rounds)
    used = machine.compute_dtype(where) if dtype == "auto" else dtype
    flops = accounting.training_flops(model.config, LENGTH) * BATCH * LENGTH
    rate = machine.rates(where).gflops[used]
    extra = {name: {"share of the GEMM rate": round(1e-9 * flops / t.median / rate, 3)} for name, t in timings.items()}
    title = f"one step of {BATCH} × {LENGTH} tokens, {flops / 1e9:.0f} GFLOP, {used}, {torch.get_num_threads()} threads"
    return report(title, timings, extra)


def _peer(model: K2Model, tokens: torch.Tensor, attention: str, dtype: str, compiled: bool = False):
    peer = parity.reference(model).to(tokens.device).train()
    peer.set_attn_implementation(attention)
    forward = torch.compile(peer) if compiled else peer

    def step() -> None:
        with machine.precision(tokens.device, dtype):
            logits = forward(tokens[:, :-1]).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())
        loss.backward()
        peer.zero_grad(set_to_none=True)

    return step
