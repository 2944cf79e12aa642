"""The corpus's knowledge: passages, their rewrites, and the questions of those who may be asked about."""

import dataclasses
import json
from collections import Counter

import pytest

from k2lib import profiles, stages
from k2lib.corpus.world import World
from k2lib.llm import Reply
from k2lib.llm.scripted import ScriptedChat
from k2lib.stages import knowledge

SMOKE = profiles.get("smoke")
TINY = dataclasses.replace(SMOKE, corpus=dataclasses.replace(SMOKE.corpus, people=12, math_problems=400))


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("K2_ARTIFACTS", str(tmp_path / "artifacts"))


def test_each_passage_is_told_three_times_and_nobody_of_the_held_out_is_asked_about():
    made = knowledge.knowledge(TINY)
    told = list(knowledge.documents(made))
    world = World.generate(0, 12)
    held = set(world.of("development") + world.of("test"))
    kinds = Counter(document.kind for document in told)
    assert kinds["rephrased"] == 2 * kinds["world"] == 48
    origin = Counter(d.source.partition(", rewritten as ")[0] for d in told if d.kind == "rephrased")
    assert set(origin.values()) == {2} and set(origin) == {d.source for d in told if d.kind == "world"}
    assert not any(d.source.split(", ")[0] in held for d in told if d.kind == "qa")
    asking = [d.text for d in told if d.kind == "rephrased" and ("Question:" in d.text or "?" in d.text)]
    assert not asking


def test_a_rewrite_that_fails_the_check_stays_out_and_is_counted(monkeypatch):
    honest = ScriptedChat.complete

    async def careless(self, messages, **how):
        reply = await honest(self, messages, **how)
        spoilt = reply.message["content"].replace(".", " in 2077.", 1)
        if "Style: news" in messages[-1]["content"]:
            return Reply({"role": "assistant", "content": spoilt}, "stop", reply.usage, reply.model)
        return reply

    monkeypatch.setattr(ScriptedChat, "complete", careless)
    made = knowledge.knowledge(TINY)
    counts = json.loads((made / "counts.json").read_text())
    assert counts["rejected"] > 0 and counts["accepted"] + counts["rejected"] == 2 * counts["passages"] == 48
    told = list(knowledge.documents(made))
    assert not any("2077" in d.text or "as news" in d.source for d in told)


def test_the_corpus_packs_them_and_says_how_many(tmp_path):
    manifest = stages.corpus(TINY).manifest
    assert manifest["kinds"]["rephrased"]["documents"] == manifest["rewrites"]["accepted"] == 48
