"""The arms of fine-tuning: what each is made of, at equal size, and the examination's agent that cannot be broken."""

import asyncio
import dataclasses
from pathlib import Path

import pytest

from k2lib import profiles, stages
from k2lib.agents import forms
from k2lib.llm.protocol import ChatError
from k2lib.stages import arms
from k2lib.stages.sft_data import SFTData


def row(number: int, kind: str = "tool use") -> dict:
    return {"kind": kind, "messages": [{"role": "user", "content": f"{kind} {number}"}], "tools": []}


def data(kept: int = 40, rejected: int = 40, others: int = 30) -> SFTData:
    rows = [row(i) for i in range(kept)] + [row(i, "mathematics") for i in range(others)]
    return SFTData(rows, [row(i) | {"bad": True} for i in range(rejected)], [], {}, Path())


def test_every_arm_has_as_many_conversations_and_the_same_others(monkeypatch):
    async def on_server(server, wishes, agent):
        return [row(wish.seed, f"on {server}") for wish in wishes]

    monkeypatch.setattr(arms.production, "on_server", on_server)
    servers = ["git", "time", forms.PYTHON]
    drawn = {kind: arms.drawn(data(), kind, 20, servers, seed=3) for kind in ("kept", "unfiltered", "executed", "both")}
    assert {len(rows) for rows in drawn.values()} == {30}
    others = {kind: sum(r["kind"] == "mathematics" for r in rows) for kind, rows in drawn.items()}
    assert set(others.values()) == {10}
    assert not any(r.get("bad") for r in drawn["kept"] + drawn["both"])
    assert 3 < sum(r.get("bad", False) for r in drawn["unfiltered"]) < 17
    real = {kind: [r["kind"] for r in rows if r["kind"].startswith("on ")] for kind, rows in drawn.items()}
    assert (len(real["kept"]), len(real["unfiltered"]), len(real["executed"]), len(real["both"])) == (0, 0, 20, 10)
    assert [real["executed"].count(f"on {server}") for server in servers] == [7, 7, 6]


def test_rows_are_drawn_by_seed_and_refused_when_there_are_too_few():
    one, again, other = (arms.drawn(data(), "kept", 20, [], seed) for seed in (0, 0, 1))
    assert one == again != other
    with pytest.raises(ValueError, match="50 conversations are wanted and 40 are there"):
        arms.drawn(data(), "kept", 50, [], 0)
    assert len(arms.drawn(data(), "unfiltered", 50, [], 0)) == 75
    with pytest.raises(ValueError, match="20 really executed conversations are wanted and no sandbox works"):
        arms.drawn(data(), "executed", 20, [], 0)


def test_a_conversation_that_outgrows_the_model_ends_undone(monkeypatch):
    async def refuses(self, messages, **settings):
        assert settings["max_tokens"] == 96
        raise ChatError("too long")

    monkeypatch.setattr(arms.LocalChat, "complete", refuses)
    reply = asyncio.run(arms._Agent(None, None).complete([{"role": "user", "content": "?"}], tools=[]))
    assert reply.message == {"role": "assistant", "content": ""} and not reply.message.get("tool_calls")


def test_each_arm_differs_from_the_kept_one_in_one_thing():
    usual = vars(arms.ARMS["kept"])
    differ = {name: [key for key, value in vars(arm).items() if value != usual[key]] for name, arm in arms.ARMS.items()}
    assert differ.pop("kept") == [] and all(len(keys) == 1 for keys in differ.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["with 30% text", "AdamW", "executed"])
def test_an_arm_is_fine_tuned_and_examined_from_corpus_to_result(monkeypatch, tmp_path, name):
    monkeypatch.setenv("K2_ARTIFACTS", str(tmp_path))
    monkeypatch.setattr(arms, "PACKAGES", {})
    if name == "executed" and not arms.servers():
        pytest.skip("no sandbox works here")
    fine_tuned, real = [], arms.fine_tune
    monkeypatch.setattr(arms, "fine_tune", lambda *given, **how: fine_tuned.append(given) or real(*given, **how))
    size = dataclasses.replace(
        profiles.GPU.arms, rows=20, steps=2, batch_size=2, seq_len=1024, warmup=1, asked=4, executed=2
    )
    model = profiles.SMOKE.model | dict(vocab_size=512, hidden_size=32, num_hidden_layers=2, n_routed_experts=4)
    tiny = dataclasses.replace(
        profiles.SMOKE,
        model=model,
        corpus=profiles.CorpusSize(250_000, 6, 2, 60, 8, 512, 20, shard_tokens=1 << 14),
        pretrain=profiles.TrainSize(2, 4, 32, 1e-2, 1),
        copy=profiles.TrainSize(2, 3, 32, 1e-2, 1),
        recite=profiles.TrainSize(2, 3, 32, 1e-2, 1),
        agentic=profiles.AgenticSize(categories=2, children=0, per_domain=2, tasks=60, heldout_tasks=4),
        arms=size,
    )
    found = stages.arm(tiny, name, 0, 0)
    (source, rows, _, settings), untouched = fine_tuned[0], stages.untouched(tiny, 0)
    assert source == stages.base(tiny).dir and (settings.optimizer == "adamw") == (name == "AdamW")
    assert settings.mix == (0.3 if name == "with 30% text" else 0.0)
    assert sum(len(row["tools"]) > 0 for row in rows) == 20
    for result in (found, untouched):
        assert len(result["done"]) == len(result["valid"]) == len(result["mathematics"]) == 4
        assert 1 < result["perplexity"] < 2000
    assert found["perplexity"] != untouched["perplexity"]
    assert len(found["executed"]) == 2 * len(arms.servers()) and untouched["executed"] == []
    assert stages.arm(tiny, name, 0, 0) == found and len(fine_tuned) == 1  # the second time from the store
