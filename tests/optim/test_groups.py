"""Where the parameters of any model go, why, and that nothing unusual is optimised in silence."""

import copy
import math
import pickle
import re

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM

from k2lib import K2Model
from k2lib.model import parity
from k2lib.optim import MuonClip
from k2lib.optim.groups import places

TINY = parity.cases()["K2"]
SHAPE = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


class Odd(nn.Module):
    """A vision model's parts under names that say nothing."""

    def __init__(self):
        super().__init__()
        self.tokens, self.unembed = nn.Embedding(50, 32), nn.Linear(32, 50, bias=False)
        self.patches = nn.Conv1d(3, 32, 4)
        self.pos_embed, self.cls_token = nn.Parameter(torch.zeros(9, 32)), nn.Parameter(torch.zeros(1, 1, 32))
        self.layer = nn.TransformerEncoderLayer(32, 4, 50)
        self.qkv_proj = nn.Linear(32, 96)
        self.grouped = nn.ModuleDict({"qkv": nn.Linear(32, 64)})
        self.frozen = nn.Linear(32, 32).requires_grad_(False)
        self.raw = nn.Parameter(torch.zeros(5, 16, 32))


def where(model: nn.Module, rules=None) -> dict[str, tuple[str, int]]:
    return {place.name: (place.algorithm, place.blocks) for place in places(model, rules)}


def test_tables_stencils_and_vectors_go_to_adamw_and_fused_projections_by_blocks():
    found = where(Odd())
    muon = {name: blocks for name, (algorithm, blocks) in found.items() if algorithm == "muon"}
    assert muon == {
        "raw": 1,
        "layer.self_attn.in_proj_weight": 3,
        "layer.self_attn.out_proj.weight": 1,
        "layer.linear1.weight": 1,
        "layer.linear2.weight": 1,
        "qkv_proj.weight": 3,
    }
    assert "frozen.weight" not in found and found["unembed.weight"] == found["grouped.qkv.weight"] == ("adamw", 1)


def test_a_hidden_layer_as_wide_as_the_vocabulary_is_no_head():
    model = nn.ModuleDict({"tokens": nn.Embedding(48, 32), "up": nn.Linear(32, 48), "out": nn.Linear(32, 48)})
    found = where(model)
    assert found["up.weight"] == ("muon", 1) and found["out.weight"] == ("adamw", 1)


def test_the_head_of_a_stage_without_an_embedding_is_one():
    model = K2Model(TINY)
    model.embed_tokens = None
    assert where(model)["lm_head.weight"] == ("adamw", 1)
    assert where(nn.ModuleDict({"lm_head": nn.Sequential(nn.Linear(8, 99))}))["lm_head.0.weight"] == ("adamw", 1)


@pytest.mark.parametrize(
    ("model", "adamw"),
    [
        (LlamaForCausalLM(LlamaConfig(**SHAPE, num_key_value_heads=2)), {"model.embed_tokens", "lm_head"}),
        (Phi3ForCausalLM(Phi3Config(**SHAPE, pad_token_id=0)), {"model.embed_tokens", "lm_head"}),
        (
            GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=4)),
            {"transformer.wte", "transformer.wpe", "transformer.h.0.attn.c_attn"},
        ),
    ],
)
def test_models_of_others(model, adamw):
    matrices = {name for name, p in model.named_parameters() if p.ndim == 2}
    found = where(model)
    assert {name.removesuffix(".weight") for name in matrices if found[name][0] == "adamw"} == adamw
    fused = {name for name, (_, blocks) in found.items() if blocks > 1}
    assert all("qkv_proj" in name or "gate_up_proj" in name for name in fused)


def test_rules_overrule_and_one_that_matches_nothing_is_named():
    rules = {"layer.linear*.weight": "adamw", "grouped.qkv.weight": ("muon", 2)}
    found = where(Odd(), rules)
    assert found["layer.linear1.weight"] == ("adamw", 1) and found["grouped.qkv.weight"] == ("muon", 2)
    with pytest.raises(ValueError, match=r"no parameter is named like 'layers\.\*'; the first ones are"):
        where(Odd(), {"layers.*": "adamw"})
    with pytest.raises(ValueError, match="no stack of matrices"):
        MuonClip.for_model(Odd(), lr=0.1, tau=None, rules={"grouped.qkv.weight": ("muon", 3)})
    text = MuonClip.for_model(Odd(), lr=0.1, tau=None, rules=rules).summary()
    assert re.search(r"^raw +5×16×32  muon +a stack of 5 matrices$", text, re.MULTILINE)
    assert "your rule 'grouped.qkv.weight'" in text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lr": math.nan}, "lr is nan"),
        ({"lr": math.inf}, "lr is inf"),
        ({"lr": -1.0}, "lr is -1.0"),
        ({"lr": 1.0, "weight_decay": math.nan}, "weight_decay is nan"),
        ({"lr": 1.0, "eps": -1.0}, "eps is -1.0"),
        ({"lr": 1.0, "betas": (0.9, 1.0)}, "betas are"),
    ],
)
def test_rates_that_are_none_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        MuonClip([nn.Parameter(torch.ones(3, 4))], **settings)


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ({"learning_rate": 0.1}, "unknown key 'learning_rate'; known are params and algorithm"),
        ({"params": [nn.Parameter(torch.ones(0, 4))]}, r"\(0, 4\) is empty"),
        ({"params": [nn.Parameter(torch.ones(3, 4, dtype=torch.complex64))]}, "complex64; only dense real"),
        ({"params": [nn.Parameter(torch.eye(3).to_sparse())]}, "sparse_coo"),
    ],
)
def test_what_cannot_be_optimised_is_refused_at_the_start(group, words):
    with pytest.raises(ValueError, match=words):
        MuonClip([{"params": [nn.Parameter(torch.ones(3, 4))]} | group], lr=0.1)
    with pytest.raises(ValueError, match="nothing to optimise"):
        MuonClip.for_model(nn.Linear(3, 3).requires_grad_(False), lr=0.1, tau=None)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_of_model_and_optimizer_goes_on_alike(copied):
    torch.manual_seed(0)
    model = K2Model(TINY).train()
    optimizer = MuonClip.for_model(model, lr=0.05, tau=0.01)
    pairs = torch.randint(0, TINY.vocab_size, (2, 2, 16))
    model.loss(*pairs).backward()
    optimizer.step()
    others = copied((model, optimizer))
    for one, step in ((model, optimizer), others):
        step.zero_grad()
        one.loss(*pairs).backward()
        step.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), others[0].parameters(), strict=True))
    assert others[1].qk_clip.heads_ever_clipped == optimizer.qk_clip.heads_ever_clipped > 0
