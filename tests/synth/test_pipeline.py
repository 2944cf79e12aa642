"""`k2 rephrase`: a corpus in, checked rewrites out, whatever is in it and whenever it is killed."""

import asyncio
import gzip
import itertools
import json
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from waiting import FAR

from k2lib import cli
from k2lib.corpus.readers import read_corpus
from k2lib.corpus.world import World
from k2lib.llm import ChatError
from k2lib.llm.budget import Budget, BudgetError
from k2lib.llm.protocol import Reply, Usage
from k2lib.serving.open import Spoken, open_model
from k2lib.synth import passages, pipeline, shards
from k2lib.synth.duplicates import Seen, signature
from k2lib.synth.fidelity import kind_of

WORLD = World.generate(3, 60)
SCRIPTED = Spoken("scripted")


def text_of(person: str, style: str = "notes") -> str:
    import random

    return WORLD.document(person, style, random.Random(person))


def corpus(folder, people):
    folder.mkdir(exist_ok=True)
    for number, person in enumerate(people):
        (folder / f"{number:03d}.txt").write_text(text_of(person), encoding="utf-8")
    return folder


def settings(**other):
    return shards.settings(["letter", "diary", "lecture"], 2, 0, "scripted") if not other else shards.settings(**other)


def rows(out, kind="accepted"):
    return [json.loads(line) for path in sorted((out / kind).glob("*.jsonl")) for line in path.open(encoding="utf-8")]


def test_every_passage_is_rewritten_as_often_as_asked_with_its_provenance(tmp_path):
    source = corpus(tmp_path / "in", WORLD.people[:12])
    manifest = pipeline.rephrase_corpus(source, tmp_path / "out", settings(), SCRIPTED, part_characters=1000)
    accepted, rejected = rows(tmp_path / "out"), rows(tmp_path / "out", "rejected")
    assert len(accepted) + len(rejected) == 24 and len(accepted) >= 22
    originals = {passages.sha256(text_of(p)): text_of(p) for p in WORLD.people[:12]}
    for one in accepted:
        assert one["source_sha256"] in originals and one["text"] != originals[one["source_sha256"]]
        assert (one["model"], one["seed"], one["verdict"], one["reasons"]) == ("scripted", 0, "faithful", [])
    styles = Counter((one["source_sha256"], one["style"]) for one in [*accepted, *rejected])
    assert max(styles.values()) == 1 and {style for _, style in styles} == {"letter", "diary", "lecture"}
    assert manifest["counts"]["parts"] > 2 and manifest["counts"]["accepted"] == len(accepted)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest
    assert len(list(read_corpus(tmp_path / "out" / "accepted"))) == len(accepted)  # as K2_CORPUS reads it


def test_a_notebook_may_call_it(tmp_path):
    source = corpus(tmp_path / "in", WORLD.people[:2])

    async def in_a_notebook():  # whose kernel runs a loop already
        return pipeline.rephrase_corpus(source, tmp_path / "out", settings(), SCRIPTED)

    assert asyncio.run(in_a_notebook())["counts"]["passages"] == 2


def test_the_order_of_files_and_the_size_of_parts_change_no_rewrite(tmp_path):
    one = corpus(tmp_path / "one", WORLD.people[:8])
    other = corpus(tmp_path / "other", reversed(WORLD.people[:8]))
    pipeline.rephrase_corpus(one, tmp_path / "a", settings(), SCRIPTED, part_characters=500)
    pipeline.rephrase_corpus(other, tmp_path / "b", settings(), SCRIPTED)
    found = [sorted((r["source_sha256"], r["style"], r["text"]) for r in rows(tmp_path / x)) for x in "ab"]
    assert found[0] == found[1]


def test_duplicates_are_left_out_exact_and_near(tmp_path):
    long = " ".join(text_of(p) for p in WORLD.people[:20])
    near = long.replace(WORLD.people[5], "Somebody Else")
    (tmp_path / "in").mkdir()
    for name, text in {"a": long, "b": long.upper(), "c": near, "d": text_of(WORLD.people[40])}.items():
        (tmp_path / "in" / f"{name}.txt").write_text(text)
    counts = pipeline.rephrase_corpus(tmp_path / "in", tmp_path / "out", settings(), SCRIPTED)["counts"]
    assert (counts["exact duplicates"], counts["near duplicates"], counts["passages"]) == (1, 1, 2)


@pytest.mark.parametrize("share", [0.0, 0.03, 0.3])
def test_signatures_estimate_how_alike_texts_are(share):
    words = [f"{name} {number}" for number, name in enumerate(WORLD.people * 20)]
    changed = [f"x{w}" if i % 100 < share * 100 else w for i, w in enumerate(words)]
    texts = [" ".join(w).lower().encode() for w in (words, changed)]
    runs = [{text[i : i + 8] for i in range(len(text) - 7)} for text in texts]
    alike = len(runs[0] & runs[1]) / len(runs[0] | runs[1])
    estimate = (signature(texts[0]) == signature(texts[1])).mean()
    assert abs(estimate - alike) < 0.15  # three standard errors of 128 places


def test_what_was_seen_lies_in_a_file_and_not_in_memory(tmp_path):
    seen = Seen(tmp_path / "seen.db")
    assert seen.duplicate("a few words of a text") == "" and seen.duplicate("A few  words of a text") == "exact"
    tracemalloc.start()
    for number in range(2000):
        seen.duplicate(f"{WORLD.people[number % 60]} has the number {number * 7919} and nothing else to be told of")
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()
    assert seen.duplicate("") == "" and seen.duplicate("") == "exact"
    seen.close()


def test_hostile_files_are_survived_counted_and_named(tmp_path):
    source = corpus(tmp_path / "in", WORLD.people[:3])
    (source / "binary.txt").write_bytes(b"\0\1\2" * 100)
    (source / "latin.txt").write_bytes("Zürich und Köln sind Städte".encode("latin-1"))
    (source / "empty.md").write_bytes(b"")
    (source / "broken.jsonl").write_text('{"text": "' + text_of(WORLD.people[9]) + '"}\n{"text": \n')
    (source / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"text": "one two three"}\n' * 900)[:60])
    (source / "picture.png").write_bytes(b"png")
    (source / "line.txt").write_text("word " * 2_000_000)  # 10 MB without an end of line
    (source / "short.txt").write_text("A heading")
    manifest = pipeline.rephrase_corpus(source, tmp_path / "out", settings(), SCRIPTED)
    counts, skipped = manifest["counts"], manifest["skipped_files"]
    assert counts["too short"] >= 1 and counts["near duplicates"] + counts["exact duplicates"] > 100  # the long line's
    assert (
        sum(WORLD.people[9] in row["text"] for row in rows(tmp_path / "out")) == 2
    )  # what stood before the broken line
    for name in ("binary.txt", "latin.txt", "empty.md", "broken.jsonl", "cut.jsonl.gz", "picture.png"):
        assert any(name in file for file in skipped), name
    assert "not UTF-8" in skipped[str(source / "latin.txt")] and sum(manifest["skipped"].values()) == 6


class Odd:
    """A model that does one odd thing to every request, after `good` good ones."""

    def __init__(self, what, good=0):
        self.model, self.what, self.good = "odd", what, good
        self.scripted = open_model(SCRIPTED)

    async def complete(self, messages, *, max_tokens=0, **settings):
        self.good -= 1
        if self.good >= 0:
            return await self.scripted.complete(messages, max_tokens=max_tokens, **settings)
        if isinstance(self.what, Exception):
            raise self.what
        said = {"role": "assistant", "content": messages[-1]["content"] if self.what == "prompt" else ""}
        if self.what == "never stops":
            said["content"] = "word " * max_tokens
        if self.what == "calls":
            said["tool_calls"] = [{"id": "f:0", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
        if self.what == "half a character":
            said["content"] = "\ud800 " + text_of(WORLD.people[0])
        return Reply(said, "length" if self.what == "never stops" else "stop", Usage(10, 10), "odd")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("prompt", "it repeats its instructions"),
        ("never stops", "the model stopped at its token limit"),
        ("calls", "no reply"),
        ("empty", "no reply"),
        ("half a character", ""),
    ],
)
def test_an_odd_model_puts_nothing_into_the_corpus(tmp_path, monkeypatch, what, reason):
    source = corpus(tmp_path / "in", WORLD.people[:4])
    monkeypatch.setattr(pipeline, "open_model", lambda where, seed: Odd(what, good=2))
    counts = pipeline.rephrase_corpus(source, tmp_path / "out", settings(), SCRIPTED, concurrency=1)["counts"]
    accepted, rejected = rows(tmp_path / "out"), rows(tmp_path / "out", "rejected")
    assert len(accepted) <= 2 and len(accepted) + len(rejected) == 8
    assert (
        all(any(kind_of(r) == reason for r in one["reasons"]) for one in rejected if reason)
        and counts.get(reason, 6) >= 6
    )


class Faulty(BaseHTTPRequestHandler):
    """An endpoint whose every second answer is one of the faults that endpoints have; the good ones are the scripted writer's."""

    FAULTS = ("throttled", "broken", "page", "no choices", "null", "cut", "slow")
    count, told = itertools.count(), Counter()

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number = next(self.count)
        fault = self.FAULTS[number // 2 % len(self.FAULTS)] if number % 2 else "good"
        self.told[fault] += 1
        said = None
        if fault == "good":
            reply = asyncio.run(open_model(SCRIPTED).complete(asked["messages"], seed=asked["seed"]))
            said = reply.message["content"]
        message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
        body = {"id": "x", "object": "chat.completion", "created": 0, "model": "served", "choices": [message]}
        body |= {"usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}
        body |= {"choices": []} if fault == "no choices" else {}
        data = b"<html>gone</html>" if fault == "page" else json.dumps(body).encode()
        self.send_response({"throttled": 429, "broken": 500}.get(fault, 200))
        self.send_header("Content-Type", "text/html" if fault == "page" else "application/json")
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(data) + (fault in ("cut", "slow")) * 1000))
        self.end_headers()
        self.wfile.write(data[:20] if fault in ("cut", "slow") else data)
        if fault == "slow":
            self.patience.wait(FAR)  # until the test is over: the client must give up by itself
        self.close_connection = True

    def log_message(self, *_):
        pass


def test_a_faulty_endpoint_puts_nothing_wrong_into_the_corpus_and_every_failure_is_counted(tmp_path):
    Faulty.patience = threading.Event()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Faulty)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    where = Spoken("served", f"http://127.0.0.1:{http.server_port}/v1", timeout=3.0)
    source, told = corpus(tmp_path / "in", WORLD.people[:10]), {"part_characters": 100_000, "concurrency": 1}
    try:
        first = pipeline.rephrase_corpus(source, tmp_path / "out", settings(), where, **told)
    finally:
        Faulty.patience.set()
        http.shutdown()
    counts, failed = first["counts"], rows(tmp_path / "out", "rejected")
    assert set(Faulty.told) == {"good", *Faulty.FAULTS}  # each of them was met
    assert counts["accepted"] + counts["rejected"] == 20 and 0 < counts["no reply"] <= counts["rejected"]
    assert all(row["rewrite"] == "" for row in failed if any("no reply" in reason for reason in row["reasons"]))
    pipeline.rephrase_corpus(source, tmp_path / "sound", settings(), SCRIPTED)
    sound = {(row["source_sha256"], row["style"]): row["text"] for row in rows(tmp_path / "sound")}
    for row in rows(tmp_path / "out"):
        assert row["text"] == sound[row["source_sha256"], row["style"]] and row["model"] == "served"


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    def peak(people):
        folder = tmp_path / str(people)
        folder.mkdir()
        with (folder / "all.jsonl").open("w", encoding="utf-8") as lines:
            for number in range(people):
                words = " ".join(f"{number * 7919 % 99991}-{number}-{k}" for k in range(400))
                lines.write(json.dumps({"text": f"Passage {number}: {words}."}) + "\n")
        tracemalloc.start()
        seen, counts = Seen(tmp_path / "seen.db"), Counter()
        stream = passages.passages(read_corpus(folder), seen, counts)
        assert sum(len(part) for part in passages.parts(stream, 100_000)) == people
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        seen.close()
        return found

    peak(10)  # imports
    assert peak(1600) < 1.5 * peak(200) + 1e5


def test_a_model_that_is_down_stops_the_run_and_what_failed_is_asked_again_next_time(tmp_path, monkeypatch):
    source, out = corpus(tmp_path / "in", WORLD.people[:6]), tmp_path / "out"
    monkeypatch.setattr(pipeline, "open_model", lambda where, seed: Odd(ChatError("down"), good=5))
    with pytest.raises(ChatError, match="down"):
        pipeline.rephrase_corpus(source, out, settings(), SCRIPTED, part_characters=1, concurrency=1)
    assert 0 < len(rows(out)) <= 5  # two parts, and one rewrite of the third, whose other failed
    monkeypatch.undo()
    counts = pipeline.rephrase_corpus(source, out, settings(), SCRIPTED, part_characters=1)["counts"]
    assert counts["parts done before"] == 2 and len(rows(out)) + len(rows(out, "rejected")) == 12
    assert not any("no reply" in reason for row in rows(out, "rejected") for reason in row["reasons"])


def test_a_spent_budget_stops_the_run_and_a_larger_one_goes_on(tmp_path, monkeypatch):
    source, out, told = (
        corpus(tmp_path / "in", WORLD.people[:6]),
        tmp_path / "out",
        {"part_characters": 1, "concurrency": 1},
    )
    budget = Budget(tokens=3000)
    with pytest.raises(BudgetError, match="raise it"):
        pipeline.rephrase_corpus(source, out, settings(), SCRIPTED, budget=budget, **told)
    assert budget.used.total <= 3000 and len(rows(out)) in range(1, 12)
    assert pipeline.rephrase_corpus(source, out, settings(), SCRIPTED, **told)["counts"]["parts done before"] >= 1


def test_other_settings_need_another_directory_and_a_shorter_input_leaves_nothing_behind(tmp_path):
    source, out = corpus(tmp_path / "in", WORLD.people[:6]), tmp_path / "out"
    pipeline.rephrase_corpus(source, out, settings(), SCRIPTED, part_characters=1)
    with pytest.raises(ValueError, match="rewrites of other settings"):
        pipeline.rephrase_corpus(source, out, shards.settings([], 1, 0, "scripted"), SCRIPTED)
    for number in (3, 4, 5):
        (source / f"{number:03d}.txt").unlink()
    counts = pipeline.rephrase_corpus(source, out, settings(), SCRIPTED, part_characters=1)["counts"]
    assert counts["stale parts removed"] == 3 and len(rows(out)) + len(rows(out, "rejected")) == 6


def test_bad_settings_are_named():
    for styles, rewrites, words in ((["haiku"], 1, "'haiku'"), (["letter"], 2, "2 rewrites"), ([], 0, "0 rewrites")):
        with pytest.raises(ValueError, match=words):
            shards.settings(styles, rewrites, 0, "scripted")
    with pytest.raises(ValueError, match="is no directory"):
        open_model(Spoken("nowhere"))


def run(source, out, *more, python=("-m", "k2lib.cli")):
    command = [sys.executable, *python, "rephrase", str(source), str(out), "--styles", "letter,diary", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# `k2 ARGUMENTS`, killed by itself just before it renames its argv[1]-th file, so that no machine is too fast or too slow for it.
DYING = """
import os, signal, sys
from pathlib import Path
from k2lib.cli.main import main
replace, left = Path.replace, int(sys.argv.pop(1))
def dying(path, target):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(path, target)
Path.replace = dying
sys.exit(main())
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_happened(tmp_path):
    source = corpus(tmp_path / "in", WORLD.people)
    whole = run(source, tmp_path / "whole", "--part-size", "0.0005")
    assert whole.wait() == 0, whole.stderr.read()
    for round, file in enumerate(("the rejected", "the accepted", "the record")):  # of a part, after its settings
        killed = run(source, tmp_path / "cut", "--part-size", "0.0005", python=["-c", DYING, str(11 + round)])
        _, err = killed.communicate()
        assert killed.returncode == -signal.SIGKILL, (file, err)
        assert len(list((tmp_path / "cut" / "parts").glob("*.json"))) == 3 * (round + 1), file
        assert list((tmp_path / "cut").rglob("*.partial")), file
    last = run(source, tmp_path / "cut", "--part-size", "0.0005")
    out, err = last.communicate()
    assert last.returncode == 0 and "9 parts done before" in out, (out, err)
    for kind in ("accepted", "rejected"):
        files = [
            {p.name: p.read_bytes() for p in (tmp_path / which / kind).glob("*.jsonl")} for which in ("whole", "cut")
        ]
        assert files[0] == files[1] and (files[0] or kind == "rejected")


@pytest.mark.slow
def test_two_workers_of_a_ray_cluster_write_what_one_process_writes(tmp_path):
    pytest.importorskip("ray")
    source = corpus(tmp_path / "in", WORLD.people[:20])
    here = run(source, tmp_path / "here", "--part-size", "0.001")
    there = run(source, tmp_path / "there", "--part-size", "0.001", "--engine", "ray", "--workers", "2")
    assert here.wait() == 0 and there.wait() == 0, there.stderr.read()
    assert rows(tmp_path / "here") == rows(tmp_path / "there") and len(rows(tmp_path / "here")) > 30
    spent = run(source, tmp_path / "poor", "--engine", "ray", "--part-size", "0.001", "--budget-tokens", "9000")
    assert spent.wait() == 2 and "the budget is spent" in spent.stderr.read()


def test_the_command_tells_what_it_did(tmp_path, capsys):
    source = corpus(tmp_path / "in", WORLD.people[:2])
    assert cli.main(["rephrase", str(source), str(tmp_path / "out"), "--rewrites", "1"]) == 0
    assert "2 passages" in capsys.readouterr().out
    assert cli.main(["rephrase", str(source), str(tmp_path / "x"), "--price", "cheap"]) == 2
    assert cli.main(["rephrase", str(tmp_path / "none"), str(tmp_path / "x")]) == 2
    assert "INPUT points to" in capsys.readouterr().err
