"""Metrics, local tasks and the published tables."""

import itertools
import json
import math

import pytest
import torch

from k2lib import K2Config, K2Model
from k2lib.agents import tasks
from k2lib.corpus.world import QA, Fact
from k2lib.evaluate import pass_at_k, published, suite
from k2lib.gym.knowledge import Knowledge
from k2lib.gym.tool_use import ToolUse
from k2lib.llm import chat
from k2lib.llm.local import Turn
from k2lib.profiles import SMOKE


@pytest.mark.parametrize("n, c, k", list(itertools.product((1, 5, 9), (0, 1, 3, 5), (1, 2, 5))))
def test_pass_at_k_is_the_share_of_draws_with_a_right_one(n, c, k):
    if c > n or k > n:
        with pytest.raises(ValueError, match="pass@k needs"):
            pass_at_k(n, c, k)
        return
    draws = list(itertools.combinations(range(n), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(min(d) < c for d in draws) / len(draws))


def test_pass_at_k_is_stable_for_large_numbers():
    assert pass_at_k(100_000, 1, 50_000) == pytest.approx(0.5, rel=1e-4)
    assert pass_at_k(10**6, 10, 10**5) == pytest.approx(1 - 0.9**10, rel=1e-3)


@pytest.fixture(scope="module")
def model(tiny_tokenizer):
    torch.manual_seed(0)
    return K2Model(K2Config.preset("nano").replace(**SMOKE.model | {"vocab_size": tiny_tokenizer.vocab_size})).eval()


def test_perplexity_is_exp_of_the_mean_loss(model):
    tokens = torch.randint(0, 320, (33,))
    score = suite.perplexity(model, tokens, 16)
    with torch.no_grad():
        expected = [model.loss(tokens[i : i + 16][None], tokens[i + 1 : i + 17][None]).item() for i in (0, 16)]
    assert score.value == pytest.approx(math.exp(sum(expected) / 2), rel=1e-4)
    assert score.n == 2 and score.low <= score.value <= score.high
    with pytest.raises(ValueError, match="fewer than one window"):
        suite.perplexity(model, tokens, 64)


def test_a_model_that_knows_nothing_solves_nothing_and_plays_whole_conversations_to_the_end(model, tiny_tokenizer):
    questions = [Knowledge(QA("Where?", value, Fact("x", "r", value))) for value in ("Oslo", "Rome", "Riga")]
    for corpus_form in (True, False):
        score = suite.solved(model, tiny_tokenizer, questions, corpus_form)
        assert (score.name, score.value, score.per_item) == ("knowledge", 0.0, (0.0, 0.0, 0.0))
    done, valid = suite.tool_use(model, tiny_tokenizer, list(map(ToolUse, tasks.generate(3, 0, "test"))))
    assert done.value == 0.0 and valid.value == 0.0 and done.n == 3


def test_a_call_that_a_cut_turn_broke_off_is_invalid_and_the_cut_is_reported(model, tiny_tokenizer, monkeypatch):
    """One valid call, then a turn that ends in the middle of the next; beside it an episode that was not cut."""
    task = next(ToolUse(t) for t in tasks.generate(30, 0, "test") if t.rubric.must_ask is None)
    (name, given), turns = task.task.reference[0], []
    call = {"id": f"functions.{name}:0", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
    for parsed, finished in (
        (chat.Parsed({"role": "assistant", "content": "", "tool_calls": [call]}), True),
        (
            chat.Parsed({"role": "assistant", "content": ""}, ["unclosed: the turn ended while reading arguments"]),
            False,
        ),
    ):
        turns.append(Turn([1], [0.0], finished, parsed))
    script = iter(turns)
    monkeypatch.setattr("k2lib.gym.play.sample_turns", lambda *_, **__: [next(script)])
    done, valid = suite.tool_use(model, tiny_tokenizer, [task])
    assert (done.value, done.cut, valid.value, valid.cut) == (0.0, 1.0, 0.5, 1.0)


def test_published_tables_are_the_papers():
    assert published.load("table1").rows[-1]["values"] == [28.94]
    table = published.load("table3")
    assert len(table.rows) == 44 and len(table.models) == 7
    assert table.row("SWE-b Verified agentic 1 attempt")["Kimi K2 Instruct"] == 65.8
    assert table.row("PaperBench Code-Dev")["Qwen3-235B-A22B"] == 13.2
    english = [r for r in published.load("table4").rows if r["english"]]
    assert len(english) == 12
    assert {r["benchmark"].split(" (")[0] for r in english if r["values"][0] < max(r["values"])} == {
        "GPQA-D avg@8",
        "HellaSwag",
    }
    assert len(published.load("table6").rows) == 25
    with pytest.raises(ValueError, match="'table9'"):
        published.load("table9")
    with pytest.raises(ValueError, match="has no 'Chess'"):
        table.row("Chess")


def test_a_lead_is_over_the_best_of_the_named_others_and_none_where_none_is_reported():
    table = published.load("table3")
    closed = [name for name in table.models[1:] if name not in table.open]
    assert table.open == ["DeepSeek-V3-0324", "Qwen3-235B-A22B"] and len(closed) == 4
    over_open, over_closed = published.leads(table, table.open), published.leads(table, closed)
    assert over_open["OJBench"] == pytest.approx(27.1 - 24.0) and over_closed["OJBench"] == pytest.approx(27.1 - 19.6)
    assert over_open["SWE-b Verified agentic multi"] is None
    assert over_closed["SWE-b Verified agentic multi"] == pytest.approx(71.6 - 80.2)


def test_gains_are_item_by_item_and_bars_take_every_run():
    before, after = [0.0, 1.0, 0.0, 0.5], [1.0, 1.0, 0.0, 0.0]
    assert suite.gains(before, after) == [1.0, 0.0, 0.0, -0.5]
    with pytest.raises(ValueError):
        suite.gains(before, [1.0])
    one, both = suite.over_runs([[after]]), suite.over_runs([[before, after]])
    wilson = suite.share("any", after, 0.0)
    assert (one["value"], one["low"], one["high"]) == ([wilson.value], [wilson.low], [wilson.high])
    assert both["value"] == [(0.375 + 0.5) / 2] and both["low"] < both["value"] < both["high"]
