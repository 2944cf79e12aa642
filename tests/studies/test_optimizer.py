"""The optimizer's studies: arms differ in one thing, what they compute is what they say, the clip and its rivals act."""

import dataclasses
import math

import pytest
import torch

from k2lib import K2Config, K2Model, machine
from k2lib.corpus import packing
from k2lib.optim import MuonClip, QKClip
from k2lib.profiles import SMOKE
from k2lib.progress import silent
from k2lib.studies import growth, harm, heads, rates, tokens, training, updates
from k2lib.studies.training import Arm, final, fresh_loss, heads_apart, trained
from k2lib.train import Batch
from k2lib.train.step import backward

CONFIG = K2Config.preset("nano").replace(**SMOKE.model | {"vocab_size": 320, "num_hidden_layers": 2})
FIELDS = {"num_hidden_layers": 2}


@pytest.fixture
def dataset(shards):
    return packing.PackedDataset(shards)


def sized(study: str, **changes):
    """The smoke profile with a tiny size of one study."""
    size = getattr(SMOKE, study)
    small, large = (dataclasses.replace(model, fields=FIELDS) for model in (size.small, size.large))
    tiny = {"steps": 4, "batch_size": 2, "seq_len": 32, "warmup": 1, "small": small, "large": large}
    return dataclasses.replace(SMOKE, **{study: dataclasses.replace(size, **tiny | changes)})


def test_arms_of_a_seed_start_from_the_same_weights_and_see_the_same_batches(dataset):
    size, first = sized("growth").growth, {}
    assert {arm.lr for arm in growth.arms(CONFIG, size).values() if arm.rules == training.ADAMW} == {size.large.adamw}
    for arm in growth.arms(CONFIG, size).values():
        for seed in (1, 2):
            first[arm.name, seed] = trained(CONFIG, dataset, size, arm, seed)[2][0].loss
    assert len({loss for (_, seed), loss in first.items() if seed == 1}) == 1
    assert first["Muon", 1] != first["Muon", 2]


def test_fresh_batches_are_those_behind_the_trainings(dataset, monkeypatch):
    monkeypatch.setenv("K2_DTYPE", "float32")
    size = dataclasses.replace(sized("tokens").tokens, steps=8)
    model = K2Model(CONFIG).to(machine.device())
    found = fresh_loss(model, dataset, size, seed=3)
    source = dataset.batches(2, 32, seed=3)
    batches = [next(source) for _ in range(size.steps + training.FRESH)][size.steps :]
    with torch.no_grad():
        expected = [model.loss(*Batch.from_sequences(rows).to(machine.device())).item() for rows in batches]
    assert found == pytest.approx(sum(expected) / len(expected), rel=1e-6)


def test_rates_fall_at_the_end_unless_they_are_constant(dataset):
    size = sized("growth", steps=20).growth
    falling, constant = (
        [r.lr for r in trained(CONFIG, dataset, size, Arm("", 1e-3, constant=c), 1)[2]] for c in (False, True)
    )
    assert constant == [1e-3] * 20 and falling[-1] == pytest.approx(1e-4) and falling[5] == 1e-3


def test_adamw_takes_every_parameter_and_heads_apart_gives_each_its_own_matrix():
    model = K2Model(CONFIG)
    assert {g["algorithm"] for g in MuonClip.for_model(model, lr=1.0, rules=training.ADAMW).param_groups} == {"adamw"}
    blocks = {g["blocks"] for g in MuonClip.for_model(model, lr=1.0, rules=heads_apart(CONFIG)).param_groups}
    count = CONFIG.num_attention_heads
    assert {count, 2 * count} <= blocks
    with pytest.raises(ValueError, match="no equal blocks"):
        heads_apart(K2Config.preset("nano").replace(v_head_dim=64, qk_nope_head_dim=32))


def test_a_crossing_lies_between_its_neighbours_over_the_logarithm():
    assert tokens.crossing((0.25, 1.0), [3.0, 1.0], 2.0) == pytest.approx(0.5)
    assert tokens.crossing((0.25, 0.5, 1.0), [3.0, 2.0, 1.0], 2.5) == pytest.approx(0.25 * 2**0.5)
    assert tokens.crossing((0.25, 0.5), [3.0, 2.0], 1.0) == pytest.approx(1.0)  # beyond: the last line goes on
    assert tokens.crossing((0.5, 1.0), [2.0, 1.0], 3.0) == pytest.approx(0.25)
    assert math.isnan(tokens.crossing((0.5, 1.0), [2.0, 2.0], 1.0))


def test_entropy_and_effective_rank_know_their_extremes():
    flat, thin = torch.eye(8), torch.outer(torch.arange(1.0, 9), torch.ones(8))
    assert tokens.entropy(flat) == pytest.approx(1) and tokens.entropy(thin) == pytest.approx(0, abs=1e-3)
    assert updates.effective_rank(torch.ones(8)) == pytest.approx(1)
    assert updates.effective_rank(torch.tensor([5.0] + [0.0] * 7)) == pytest.approx(1 / 8)
    assert tokens.share_spread({"MuonClip": [0.9, 0.5], "AdamW": [0.8, 0.6]}) == 0.5


def test_tokens_are_compared_by_the_loss_on_fresh_text(dataset):
    profile = sized("tokens")
    run = tokens.measure(CONFIG, dataset, profile, 0, silent)
    assert [len(one["loss"]) for one in run["small"]["MuonClip"]] == [round(4 * share) for share in tokens.SHARES]
    assert set(tokens.values(profile, [run])) == {
        "muon-halves-the-compute",
        "muon-saves-time",
        "muon-spreads-singular-values",
    }
    made = {"AdamW": {"fresh": 2.0, "seconds": 1.0}, "MuonClip": [{"fresh": f, "seconds": 1.5} for f in (3, 2, 1.5, 1)]}
    made["entropy"] = {"AdamW": [0.5], "MuonClip": [0.6]}
    values = tokens.values(profile, [{"small": made, "large": made}])
    assert values["muon-halves-the-compute"] == [pytest.approx(0.4)]
    assert values["muon-saves-time"] == [pytest.approx(0.6)]


def test_an_update_is_what_the_step_did_free_of_rate_and_decay():
    torch.manual_seed(0)
    model = K2Model(CONFIG).train()
    backward(model, Batch.from_sequences(torch.randint(0, 320, (4, 33))))
    found, plain = (
        updates.look(model, MuonClip.for_model(model, lr=lr, weight_decay=decay, ns_dtype=torch.float32, tau=1.0))
        for lr, decay in ((0.01, 0.3), (0.001, 0.0))
    )
    assert found["update"]["rms"] == pytest.approx(plain["update"]["rms"], rel=1e-3)
    assert max(found["update"]["rms"]) < 0.25  # 0.2 in name; a matrix that few tokens reach has a low rank, and less
    assert len(found["gradient"]["spectrum"]) == CONFIG.hidden_size
    adamw = MuonClip.for_model(model, lr=0.01, rules=training.ADAMW, tau=None)
    assert torch.tensor(updates.look(model, adamw)["update"]["rms"]).median() == pytest.approx(1.0, abs=0.05)


def test_growth_is_judged_where_it_says(dataset):
    profile = sized("growth", tau=10.0)
    run = {
        arm: {m: {"loss": [1.0] * 10, "max_logit": [1.0, 12.0, 18.0, 20.0]} for m in growth.MULTIPLES}
        for arm in growth.arms(CONFIG, profile.growth)
    }
    run["MuonClip"][growth.HIGH] = {"loss": [1.25] * 10, "max_logit": [1.0, 12.0, 11.0, 10.5]}
    run["AdamW"][growth.SANE]["max_logit"] = [1.0, 10.0]
    run["Muon by heads"][growth.HIGH]["max_logit"] = [1.0, 15.0]
    run["Muon by heads"][growth.SANE]["loss"] = [2.0] * 10
    assert growth.values(profile, [run]) == {
        "muon-logits-explode": [2.0],
        "qk-clip-caps-logits": [1.1],
        "qk-clip-holds-up-to-one-update": [pytest.approx(1.1 / 1.5)],
        "qk-clip-costs-no-loss": [0.25],
        "muon-explodes-more-than-adamw": [2.0],
        "muon-by-heads-grows-less": [0.75],
        "muon-by-heads-needs-no-clip": [1.5],
        "muon-by-heads-learns-as-well": [1.0],
    }


def test_the_rates_of_growth_are_multiples_of_the_best_and_the_clip_clips(dataset):
    run = growth.measure(CONFIG, dataset, sized("growth", tau=1e-3), 0, silent)
    assert set(run) == set(growth.arms(CONFIG, SMOKE.growth)) and set(run["Muon"]) == set(growth.MULTIPLES)
    assert run["Muon"]["1"]["loss"][0] == run["Muon"]["10"]["loss"][0]
    assert run["Muon"]["1"]["loss"][1:] != run["Muon"]["10"]["loss"][1:]
    assert run["MuonClip"]["10"]["max_logit"][-1] < run["Muon"]["10"]["max_logit"][-1]
    assert growth.spikes([run], "1") == {"without the clip": 0, "with it": 0}  # too short to have any


def test_one_factor_a_layer_is_the_worst_heads():
    torch.manual_seed(0)
    model = K2Model(CONFIG).train()
    for layer in model.layers:
        layer.self_attn.max_logits = torch.tensor([4.0, 1.0, 2.0, 1.0])
    report = heads.LayerClip(2.0).step(model)
    assert all(one.gamma.tolist() == [0.5] * 4 for one in report.values())
    assert heads.factors([[[4.0, 1.0]]], 2.0).tolist() == [[[0.5, 1.0]]]
    assert heads.factors([[[4.0, 1.0]]], 2.0, layer=True).tolist() == [[[0.5, 0.5]]]
    assert heads.undeserved([[[4.0, 1.0]], [[4.0, 3.0]]], 2.0) == pytest.approx((1 + 0.5) / 2)
    assert heads.last_clip(torch.tensor([[[1.0]], [[0.5]], [[1.0]], [[1.0]]])) == 0.5
    assert heads.last_clip(torch.ones(4, 1, 1)) == 0


def outputs(model: K2Model) -> tuple[torch.Tensor, float]:
    ids = torch.randint(0, 320, (2, 20), generator=torch.Generator().manual_seed(1))
    logits = model(ids).detach()
    return logits, max(layer.self_attn.max_logits.max().item() for layer in model.layers)


def test_a_soft_cap_far_away_changes_nothing_and_a_near_one_shows_the_logits_beneath():
    torch.manual_seed(0)
    model = K2Model(CONFIG).train()
    plain, largest = outputs(model)
    heads.soft_cap(model, 1e4)
    capped, seen = outputs(model)
    torch.testing.assert_close(capped, plain, atol=1e-4, rtol=1e-4)
    assert seen == pytest.approx(largest, rel=1e-4)
    heads.soft_cap(model, largest / 3)
    changed, beneath = outputs(model)
    assert not torch.allclose(changed, plain, atol=1e-4) and beneath > largest / 3


def test_normalised_queries_and_keys_ignore_the_size_of_their_weights():
    torch.manual_seed(0)
    model = K2Model(CONFIG).train()
    heads.normalise(model)
    before, largest = outputs(model)
    with torch.no_grad():
        for layer in model.layers:
            layer.self_attn.q_b_proj.weight *= 10
    after, grown = outputs(model)
    torch.testing.assert_close(after, before, atol=1e-3, rtol=1e-3)
    assert grown == pytest.approx(largest, rel=0.5)  # each forward adds to the running maximum
    places = MuonClip.for_model(model, lr=1.0).param_groups
    named = {name: g["algorithm"] for g in places for name in g["param_names"]}
    assert named["layers.0.self_attn.query_gain"] == "adamw"


def test_every_arm_of_the_heads_study_trains(dataset):
    profile = sized("heads", tau=1e-2)
    run = heads.measure(CONFIG, dataset, profile, 0, silent)
    assert len({arm["loss"][0] for name, arm in run.items() if name in (heads.FREE, heads.HEADS, heads.LAYER)}) == 1
    values = heads.values(profile, [run])
    assert values["clip-deactivates-itself"] == [1.0] and values["logits-fall-by-themselves"] == [1.0]
    assert values["softcap-leaves-logits-growing"][0] > 1


def test_an_answers_log_probability_is_that_of_its_own_tokens():
    torch.manual_seed(0)
    model = K2Model(CONFIG).eval()
    pairs = [([1, 2, 3], [4, 5]), ([6], [7, 8, 9])]
    expected = 0.0
    for prompt, answer in pairs:
        log_p = model(torch.tensor([prompt + answer]))[0].log_softmax(-1)
        expected += sum(log_p[len(prompt) + i - 1, token].item() for i, token in enumerate(answer))
    assert harm.answered(model, pairs) == pytest.approx(expected / 5, abs=1e-4)


def test_what_the_clip_costs_is_counted_from_both_arms():
    free = {"fresh": 2.0, "answers": {"knowledge": -1.0, "mathematics": -2.0}}
    held = {"fresh": 2.5, "answers": {"knowledge": -1.5, "mathematics": -2.1}}
    found = harm.values(SMOKE, [{"Muon": free, "MuonClip": held}])
    assert found == {"aggressive-clip-costs-no-loss": [0.5], "qk-clip-costs-no-skill": [pytest.approx(0.3)]}


def test_the_grid_holds_both_optimizers_and_each_profiles_rates(dataset):
    run = rates.measure(CONFIG, dataset, sized("rates", steps=1), 0, silent)
    assert {len(losses) for model in run.values() for losses in model.values()} == {5}
    for size in (SMOKE.tokens.small, SMOKE.tokens.large):
        assert size.adamw in rates.GRID["AdamW"] and size.muon in rates.GRID["MuonClip"]
    assert final([9.0] * 18 + [1.0, 2.0]) == 1.5 and issubclass(heads.LayerClip, QKClip)
