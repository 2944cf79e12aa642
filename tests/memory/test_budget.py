"""Bytes predicted from the config are bytes measured, within one in a hundred."""

import pytest
import torch

from k2lib import K2Config, K2Model
from k2lib.bench.model import CONFIG as TWENTY_MILLION
from k2lib.memory import Policy, budget, full_recompute, k2_policy
from k2lib.profiles import SMOKE
from k2lib.studies.kept import kept_bytes

POLICIES = {
    "keep everything": Policy(),
    "recompute": Policy(k2_policy().recompute),
    "routing too": Policy(k2_policy().recompute | {"routing"}),
    "FP8": Policy(fp8=k2_policy().fp8),
    "the paper's": k2_policy(offload=False),
    "the paper's, offload": k2_policy(),
    "layers": full_recompute(),
    "offload": Policy(offload=True),
}
SIZES = {"smoke": (SMOKE.model, 4, 128), "one query projection": (SMOKE.model | {"q_lora_rank": None}, 2, 96)}
SIZES |= {"20 million": (TWENTY_MILLION, 8, 256)}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype, compute", [("float32", 4), ("bfloat16", 2)])
def test_the_model_predicts_what_is_kept(size, dtype, compute):
    settings, batch, length = SIZES[size]
    torch.manual_seed(0)
    model = K2Model(K2Config.preset("nano").replace(**settings))
    sequences = torch.randint(0, model.config.vocab_size, (batch, length + 1))
    align = 64 if compute == 2 and batch * length >= 512 else 1
    for name, policy in POLICIES.items():
        kept = kept_bytes(model, sequences, policy, dtype)
        saved = budget.model_saves(model.config, batch, length, policy, compute, align)
        device, host = budget.kept_bytes(saved, batch * length, policy)
        assert sum(device.values()) == pytest.approx(kept.total, rel=0.01), name
        assert host == pytest.approx(kept.host, rel=0.01), name
        if align == 1:
            by_name = {part: size for part, size in kept.by_name.items() if part not in ("other", "rows")}
            assert by_name == {part: pytest.approx(device[part], rel=1e-9) for part in by_name}, name
