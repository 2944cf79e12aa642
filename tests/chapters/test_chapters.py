"""What the notebooks measure, where it costs little: forms, edges, and what must hold of the numbers."""

import asyncio

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from k2lib import profiles
from k2lib.agents import leaderboard, tasks
from k2lib.chapters import architecture, memory, muonclip, parallelism, rephrasing, rl, sft
from k2lib.progress import silent
from k2lib.report.ledger import plain

SMOKE = profiles.get("smoke")


def test_only_muon_without_its_rule_keeps_moving_what_gets_no_gradient():
    found = muonclip.idle(SMOKE, 0, silent)
    assert {name: len(steps) for name, steps in found.items()} == dict.fromkeys(found, muonclip.IDLE)
    assert set(found["MuonClip, an expert"]) == {0.0}
    assert min(found["Muon without the rule"][:200]) > 0.1  # of 0.2
    assert found["AdamW"][0] > 0.1 > found["AdamW"][20] and found["AdamW"][60] < 0.01


def test_the_clip_of_the_ten_lines_acts_on_a_model_that_is_not_ours():
    torch.manual_seed(0)
    batch = torch.randint(0, 32, (4, 16))
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    config = LlamaConfig(vocab_size=32, num_attention_heads=4, num_key_value_heads=2, **shape)

    def largest(tau: float) -> list[float]:
        torch.manual_seed(0)
        return list(muonclip.clipped(LlamaForCausalLM(config), [batch] * 8, tau))

    free, held = largest(1e9), largest(0.5)
    assert free[0] == held[0] and len(free) == len(held) == 8
    assert max(free[4:]) > 2 * max(held[4:])


def test_the_handwritten_rewrites_are_all_judged_and_a_fault_is_right_when_it_is_refused(monkeypatch):
    found = rephrasing.by_hand(SMOKE, 0, silent)
    assert len(found.pop("faithful")) == 204 and sum(map(len, found.values())) == 204
    monkeypatch.setattr(rephrasing, "verify", lambda source, rewrite: type("Refused", (), {"faithful": False}))
    found = rephrasing.by_hand(SMOKE, 0, silent)
    assert not any(found.pop("faithful")) and all(map(all, found.values()))


def test_rounding_in_e4m3_errs_by_at_most_half_a_step():
    found = memory.rounding(SMOKE, 0, silent)
    assert found["number"][0] == pytest.approx(1.001) and found["number"][-1] == pytest.approx(1.001 / 64, rel=1e-3)
    assert 0.02 < max(found["error"]) <= 1 / 16 + 1e-6


def test_an_outlier_costs_the_more_the_larger_the_tile():
    found = memory.outlier(SMOKE, 0, silent)
    assert all(len(errors) == len(memory.OUTLIERS) for errors in found.values())
    last = [found[tile][-1] for tile in ("1×32", "1×128", "whole tensor")]
    assert last == sorted(last) and last[0] < 0.05 and last[-1] > 0.99


def test_rows_of_other_sizes_need_scales_of_their_own():
    found = memory.formats(SMOKE, 0, silent)
    assert found["1×128"]["fp32"] < 0.04 < 0.3 < found["whole tensor"]["fp32"]


def test_the_frozen_router_is_balanced_by_its_bias_alone():
    found = architecture.balancing(SMOKE, 0, silent)
    assert all(len(steps) == architecture.FROZEN_STEPS for steps in found.values())
    assert found["selection bias"][-1] < 0.5 * found["no balancing"][-1]


def test_spans_and_gaps_are_taken_before_anything_is_rounded(monkeypatch, tmp_path):
    """A wall clock of ten digits, rounded to six, would put all spans in one place; losses would lose their difference."""
    losses = {"single": [2.0], "pipeline": [2.0 + 3e-7], "experts": [2.0]}

    def launched(mode, **_):
        spans = [{"rank": 0, "stage": 0, "kind": "forward", "start": 1.7e9, "end": 1.7e9 + 0.25}]
        return {"losses": losses[mode], "spans": spans if mode == "pipeline" else []}

    monkeypatch.setattr(parallelism, "launch", launched)
    monkeypatch.setattr(parallelism.stages, "corpus", lambda *_: type("Corpus", (), {"dir": tmp_path}))
    found = plain(parallelism.runs(SMOKE, 0, silent), 6)
    assert found["pipeline, 1F1B"]["gaps"] == pytest.approx([3e-7], rel=1e-3)
    (span,) = found["pipeline, 1F1B"]["spans"]
    assert (span["start"], span["end"]) == (0.0, 0.25)


def test_timelines_are_in_milliseconds_and_leave_out_what_is_no_layer():
    spans = [
        {"rank": 0, "stage": 1, "kind": "forward", "start": 0.0, "end": 0.5},
        {"rank": 1, "stage": 2, "kind": "backward", "start": 0.25, "end": 1.0},
    ]
    drawn = parallelism.lanes(spans)
    assert [(span["lane"], span["start"], span["end"]) for span in drawn] == [
        ("process 0", 0.0, 500.0),
        ("process 1", 250.0, 1000.0),
    ]
    assert drawn[1]["kind"] == "backward, stage 2"
    layers = [{"lane": "home", "layer": 2, "start": 0.0, "end": 0.5}, {"lane": "out", "layer": 1, "start": 0, "end": 1}]
    found = memory.lanes([*layers, {"lane": "forward", "layer": 0, "start": 0, "end": 1}])
    assert [(span["lane"], span["kind"]) for span in found] == [("copies out", "layer 1"), ("copies home", "layer 2")]


def test_the_problems_on_the_page_are_of_both_kinds_with_a_budget_and_plain():
    found = rl.problems(SMOKE, 0, silent)
    assert plain(found) == found and {problem["kind"] for problem in found} == {"mathematics", "tool use"}
    assert all(problem["budget"] > 0 and problem["asks"] for problem in found)
    assert [bool(problem["tools"]) for problem in found] == [problem["kind"] == "tool use" for problem in found]


def test_needless_calls_are_those_beyond_the_experts():
    call = {"role": "assistant", "tool_calls": [{"id": "a"}, {"id": "b"}]}
    assert rl.calls([{"role": "user", "content": "do"}, call, {"role": "tool", "content": "1"}, call]) == 4
    assert rl.needless({"calls": [4, 1, 2], "needed": [1, 2, 2]}) == [3, 0, 0]


def test_what_needs_a_real_model_is_left_out_without_it_and_shown_with_it(artifacts, monkeypatch):
    assert rephrasing.likeness(SMOKE, 0, silent) == {} and rephrasing.real(SMOKE, 0, silent) == []
    monkeypatch.setattr(rephrasing.get, "have", lambda name: True)
    rows = [
        {"source": "S", "text": "said", "verdict": "faithful"},
        {"source": "S", "text": "other", "verdict": "faithful"},
        {"source": "S", "rewrite": "said", "verdict": "rejected"},
    ]
    monkeypatch.setattr(rephrasing.stages, "real_rewrites", lambda wanted, seed, progress: rows[: 3 * len(wanted)])
    monkeypatch.setattr(rephrasing, "read_by_hand", lambda: {("S", "said"): "adds a fact"})
    assert [row["read"] for row in rephrasing.real(SMOKE, 0, silent)] == ["adds a fact", None, None]


def test_table_1_is_shown_arm_by_arm(artifacts):
    found = plain(rephrasing.table1(SMOKE, 0, silent))
    assert {arm: len(seeds) for arm, seeds in found["accuracy"]["small"].items()} == {
        "raw × 10": 1,
        "1 × 10": 1,
        "10 × 1": 1,
    }
    assert set(found["backwards"]) == set(found["accuracy"]["large"]) and len(found["claims"]) == 6
    assert all(0 <= caught <= wrong for seeds in found["check"].values() for wrong, caught, _ in seeds)


def test_the_judge_is_tried_on_three_hundred_of_each():
    found = sft.judged(SMOKE, 0, silent)
    made = {side: sum(count for count, _ in kinds.values()) for side, kinds in found.items()}
    assert made == {"bad": 300, "good": 300} and len(found["bad"]) == 10
    assert all(passed == count for count, passed in found["good"].values())
    passed = {kind: passed for kind, (_, passed) in found["bad"].items()}
    assert passed.pop("claimed more than was done") == 30 and sum(passed.values()) <= 3


def test_every_tool_has_its_place_on_the_map_and_real_ones_where_they_are_here(monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(sft.atlas.get, "have", lambda _: False)
    alone = sft.coverage(SMOKE, 0, silent)
    assert len(alone) == 16 and all(len(place) == 2 for places in alone.values() for place in places)
    assert sft.tools(SMOKE, 0, silent)["real"] == 0
    specs = [spec for some in sft.atlas.synthetic().values() for spec in some]
    monkeypatch.setattr(sft.atlas.get, "have", lambda _: True)
    monkeypatch.setattr(leaderboard, "tools", lambda: specs[:40])
    found = sft.coverage(SMOKE, 0, silent)
    assert {name: len(found[name]) for name in alone} == {name: len(places) for name, places in alone.items()}
    assert 20 < len(found["real"]) <= 40 and sft.tools(SMOKE, 0, silent)["real"] == len(found["real"])


def test_real_tools_are_played_where_a_sandbox_works(monkeypatch):
    monkeypatch.setattr(sft, "have", lambda _: False)
    found = sft.executed(SMOKE, 0, silent)
    if sft.unavailable() is None:
        assert found["played"] == {"python": [sft.EXECUTED, sft.EXECUTED]}
        assert found["shown"]["messages"][-1]["content"].startswith("It is ")
    monkeypatch.setattr(sft, "unavailable", lambda: "no sandbox")
    assert sft.executed(SMOKE, 0, silent) == {"played": {}, "shown": None}


def test_outcomes_are_taken_apart_by_kind_and_run():
    runs = [{"done": [1, 0, 1, 0]}, {"done": [0, 0, 1, 1]}]
    assert sft.of_kinds(["b"], ["a", "b", "b", "a"], runs, "done") == [[0, 1], [0, 1]]
    assert sft.of_kinds(["a", "c"], ["a", "b", "c", "d"], runs, "done") == [[1, 1], [0, 1]]
    with pytest.raises(ValueError):
        sft.of_kinds(["a"], ["a"], runs, "done")
    arms = {"x": runs, "y": [{"done": [1, 1, 1, 1]}, {"done": [0, 0, 0, 0]}]}
    assert sft.gained(arms, "x", "y", "done") == [[0, 1, 0, 1], [0, 0, -1, -1]]
    assert sft.flat([[1], [], [2, 3]]) == [1, 2, 3]
    assert sft.passed({"x": [3, 1], "y": [2, 2]}) == {"x": [1, 0, 0], "y": [1, 1]}
    assert list(sft.NEW) == list(tasks.NOVELTY)


def test_both_kinds_of_tools_are_set_against_the_better_of_one_kind_in_each_run():
    def run(done: float, executed: float) -> dict:
        return {"done": [done, done], "executed": [executed]}

    arms = {
        "kept": [run(0.5, 0.0), run(0.2, 0.0)],
        "executed": [run(0.0, 0.4), run(0.0, 1.0)],
        "simulated and executed": [run(0.5, 0.5), run(0.4, 0.4)],
    }
    assert sft.together(arms) == pytest.approx([0.25, -0.1])


def test_real_tools_are_executed_from_a_cell_too(monkeypatch):
    """A notebook's cell runs inside an event loop."""
    monkeypatch.setattr(sft, "have", lambda _: False)

    async def cell() -> dict:
        return sft.executed(SMOKE, 0, silent)

    found = asyncio.run(cell())
    assert sft.unavailable() or found["played"]["python"] == [sft.EXECUTED, sft.EXECUTED]


def test_the_leaderboard_is_asked_where_its_questions_are(monkeypatch):
    monkeypatch.setattr(sft.get, "have", lambda _: False)
    assert sft.leaderboard(SMOKE, 0, silent) is None
    monkeypatch.setattr(sft.get, "have", lambda _: True)
    one = type("One", (), {"model": None, "tokenizer": None})
    monkeypatch.setattr(sft.stages, "base", lambda *_: one)
    monkeypatch.setattr(sft.stages, "sft", lambda *_: one)

    def asked(model, tokenizer, category, number, enforced):
        return [category == "irrelevance" or enforced] * number

    monkeypatch.setattr(sft.berkeley, "of_checkpoint", asked)
    found = sft.leaderboard(SMOKE, 0, silent)
    count = SMOKE.agentic.heldout_tasks
    assert found["base"] == {"simple_python": [[False] * count], "irrelevance": [[True] * count]}
    assert found["fine-tuned, enforced"]["simple_python"] == [[True] * count]
