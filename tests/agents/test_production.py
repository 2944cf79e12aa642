"""`k2 synth`: three steps in a directory, killed and resumed, with other roles, read by others, and shown in a browser."""

import asyncio
import json
import os
import signal
import subprocess
import sys

import pyarrow.json
import pyarrow.parquet
import pytest

from k2lib.agents import evolution, production, records, report, tasks
from k2lib.agents.production import Roles, make_tasks, make_tools, make_trajectories
from k2lib.cli import main
from k2lib.llm.protocol import ChatError, Reply, Usage
from k2lib.report import picture
from k2lib.serving.open import Spoken

SMALL = {"per_domain": 1, "categories": 2}


@pytest.fixture
def made(tmp_path):
    make_tools(tmp_path, 0, **SMALL)
    make_tasks(tmp_path, 60, 0)
    return tmp_path


def contents(directory) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def test_the_three_steps_depend_on_the_seed_alone(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert make_tools(tmp_path / name, seed, **SMALL)["categories"] == 2
        assert make_tasks(tmp_path / name, 60, seed)["tasks"] == 60
        counts = make_trajectories(tmp_path / name, Roles())
        assert counts["accepted"] + counts["rejected"] == 60 and counts["void"] == 0 and counts["rejected"]
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b and a != c


def test_tasks_come_back_from_their_file_as_they_were(made):
    found = production.read_tasks(made)
    applications = tasks.applications(0, 1, categories=2)
    assert found == tasks.drawn(60, 0, "train", {"seen": applications})


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda row: row["rubric"].update(final_state="{}"), "do not reach the state that its rubric wants"),
        (lambda row: row["reference"].clear(), "do not reach the state that its rubric wants"),
        (lambda row: row["application"].update(domain="nowhere"), "unknown domain 'nowhere'"),
        (lambda row: row["application"]["tools"].update(x="explode"), "has no action 'explode'"),
        (lambda row: row.pop("state"), "no task: KeyError 'state'"),
        (lambda row: row["rubric"].update(extra=1), "no task: TypeError"),
    ],
)
def test_a_task_that_was_changed_is_refused_with_its_line(made, damage, words):
    file = made / "tasks.jsonl"
    rows = records.read_rows(file)
    index = next(i for i, row in enumerate(rows) if row["state"] != json.loads(row["rubric"]["final_state"]))
    damage(rows[index])
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match=words) as error:
        production.read_tasks(made)
    assert f"tasks.jsonl, line {index + 1}" in str(error.value)


def test_a_step_without_the_one_before_says_which_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tools\.jsonl does not exist; run the step before it"):
        make_tasks(tmp_path, 10, 0)
    (tmp_path / "tools.jsonl").write_text("{}\n[1]\n")
    with pytest.raises(ValueError, match=r"tools\.jsonl, line 2: a list; want an object"):
        make_tasks(tmp_path, 10, 0)


def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_bytes(made, monkeypatch):
    whole = made.parent / "whole"
    whole.mkdir()
    for name in ("tools.jsonl", "tasks.jsonl"):
        (whole / name).write_bytes((made / name).read_bytes())
    monkeypatch.setattr(production, "PART", 10)
    make_trajectories(whole, Roles())
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom k2lib.agents import production\n"
        "production.PART, part = 10, production._part\n"
        "async def dying(directory, number, *rest):\n"
        "    if number == 3:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return await part(directory, number, *rest)\n"
        "production._part = dying\n"
        f"production.make_trajectories(Path({str(made)!r}), production.Roles())\n"
    )
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == -signal.SIGKILL
    assert len(list((made / "parts").iterdir())) == 3
    played = []
    part = production._part
    monkeypatch.setattr(production, "_part", lambda *given: played.append(given[1]) or part(*given))
    make_trajectories(made, Roles())
    assert played == [3, 4, 5] and contents(made) == contents(whole)


def test_a_directory_with_conversations_of_other_roles_is_refused(made):
    make_trajectories(made, Roles())
    before = contents(made)
    with pytest.raises(ValueError, match="holds conversations of other roles or tasks"):
        make_trajectories(made, Roles(fault_rate=0.2))
    assert contents(made) == before


class Model:
    """Answers by a function of the messages; a text, or a ChatError to raise."""

    model = "a model"

    def __init__(self, answer):
        self.answer = answer

    async def complete(self, messages, **_settings) -> Reply:
        said = self.answer(messages)
        if isinstance(said, Exception):
            raise said
        return Reply({"role": "assistant", "content": said}, "stop", Usage(), self.model)


def with_model(monkeypatch, answer):
    monkeypatch.setattr(production, "open_model", lambda *_: Model(answer))
    return Spoken("a model")


def test_a_model_as_judge_rejects_what_the_rules_passed_and_the_row_says_so(made, monkeypatch):
    judge = with_model(monkeypatch, lambda _: '{"passed": false, "reasons": ["too curt"]}')
    counts = make_trajectories(made, Roles(judge=judge))
    assert counts["accepted"] == 0 and counts["rejected"] == 60
    found = list(production.rows(made, "rejected"))
    assert sum(row["verdict"]["reasons"] == ["critic: too curt"] for row in found) > 40
    assert {row["roles"]["judge"] for row in found} == {"state and rubric, then a model"}


def test_conversations_that_a_model_broke_off_are_void_and_played_again(made, monkeypatch):
    tries = []
    agent = with_model(
        monkeypatch, lambda messages: tries.append(1) or (ChatError("gone") if len(tries) < 20 else "I cannot.")
    )
    counts = make_trajectories(made, Roles(agent=agent, concurrency=1))
    assert counts["void"] == 19 and counts["accepted"] == 0
    assert [p.name for p in sorted((made / "parts").iterdir())] == ["part-000001.json"]
    assert make_trajectories(made, Roles(agent=agent, concurrency=1))["void"] == 0
    assert len(list(production.rows(made, "rejected"))) == 60


def test_a_model_that_is_not_there_is_an_error_and_leaves_no_record(made, monkeypatch):
    agent = with_model(monkeypatch, lambda _: ChatError("gone"))
    with pytest.raises(ChatError, match="none of the 50 conversations of part 0 came about: gone"):
        make_trajectories(made, Roles(agent=agent))
    assert not (made / "parts").exists()


PLAN = {
    "name": "boats", "record": "boat", "names": "ships", "fields": {"crew": [1, 40], "harbour": "cities", "state": ["afloat", "docked"]},
    "tools": ["add", "remove", "get crew", "set crew", "set harbour", "mark state docked"],
}  # fmt: skip


def test_an_application_that_a_model_proposes_is_tried_and_used(tmp_path, monkeypatch):
    names = iter(["boats", "yachts"])
    model = with_model(monkeypatch, lambda _: f"Here: {json.dumps(PLAN | {'name': next(names)})}")
    counts = make_tools(tmp_path, 0, **SMALL, propose=1, model=model)
    assert counts["proposed"] == 2
    make_tasks(tmp_path, 200, 0)
    mine = [task for task in production.read_tasks(tmp_path) if task.application.domain.name in ("boats", "yachts")]
    assert len(mine) > 10
    counts = make_trajectories(tmp_path, Roles())
    assert sum(row["domain"] == "boats" for row in production.rows(tmp_path)) > 3


NARROW = {"fields": {"crew": [1, 2], "harbour": "cities"}, "frozen": None, "tools": ["raise crew", "lower crew"]}


@pytest.mark.parametrize(
    "said, words",
    [
        ("no", "no JSON object"),
        (json.dumps(PLAN | {"name": "listings"}), "listings is known already"),
        (json.dumps(PLAN | {"name": "../x"}), "must be one lower-case word"),
        (json.dumps(PLAN | {"tools": ["add", "import os"]}), "an operation begins with one of"),
        (json.dumps(PLAN | NARROW), "of 60 first states only"),
    ],
)
def test_a_proposal_that_cannot_be_used_is_asked_for_again_with_the_reason(said, words):
    told = []
    model = Model(
        lambda messages: told.append(messages[-1]["content"]) or (said if len(told) == 1 else json.dumps(PLAN))
    )
    proposal = asyncio.run(evolution.propose(model, "shipping", ["listings"]))
    assert proposal.plan.record == "boat" and words in told[1]
    with pytest.raises(ChatError, match="answered twice"):
        asyncio.run(evolution.propose(Model(lambda _: said), "shipping", ["listings"]))


def test_near_duplicates_are_tools_that_share_their_words_whatever_they_are_called():
    specs = [spec for app in tasks.applications(0, 6) for spec in app.specs]
    kept, left_out = evolution.distinct(specs)
    assert len(kept) + left_out == len(specs) and 200 < len(kept) < 400
    renamed = json.loads(json.dumps(specs[0]))
    renamed["function"]["name"] = "quite_another"
    assert evolution.distinct([specs[0], renamed]) == ([specs[0]], 1)
    assert evolution.distinct(kept) == (kept, 0)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_other_libraries_read_what_was_exported(made, suffix):
    make_trajectories(made, Roles())
    file = made / f"all{suffix}"
    number = report.export(made, file)
    table = pyarrow.json.read_json(file) if suffix == ".jsonl" else pyarrow.parquet.read_table(file)
    rows = table.to_pylist()
    assert len(rows) == number > 40
    for row, whole in zip(rows, production.rows(made), strict=True):
        assert json.loads(row["tools"]) == whole["tools"] and json.loads(row["rubric"]) == whole["rubric"]
        said = [{k: v for k, v in message.items() if v is not None} for message in row["messages"]]
        assert said == whole["messages"]
    with pytest.raises(ValueError, match=r"ends in '\.csv'; give \.jsonl or \.parquet"):
        report.export(made, made / "all.csv")


def test_the_command_line_makes_shows_and_counts(tmp_path, capsys):
    folder = str(tmp_path / "made")
    assert main(["synth", "tools", folder, "--categories", "2", "--per-domain", "1"]) == 0
    assert main(["synth", "tasks", folder, "-n", "30"]) == 0
    assert main(["synth", "stats", folder]) == 2
    assert "holds no conversations; run `k2 synth trajectories" in capsys.readouterr().err
    assert main(["synth", "trajectories", folder, "--fault-rate", "0.3"]) == 0
    assert main(["synth", "stats", folder]) == 0
    said = capsys.readouterr().out
    assert "30 played" in said and "busy" in said and "agent: scripted agent / user: scripted user" in said
    assert main(["synth", "page", folder]) == 0 and (tmp_path / "made" / "index.html").exists()


@pytest.mark.skipif(picture.browser() is None, reason="no Chromium (apt-get install chromium)")
def test_the_page_filters_shows_and_runs_nothing_that_a_model_wrote(made):
    from playwright.sync_api import sync_playwright

    make_trajectories(made, Roles())
    path = made / "accepted" / "part-000000.jsonl"
    rows = records.read_rows(path)
    evil = (
        "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"> \u2028 needle"
    )
    rows[0]["messages"][1]["content"] = evil
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    every = sum(1 for kind in production.KINDS for _ in production.rows(made, kind))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=picture.browser(), args=["--no-sandbox"])
        tab, complaints = chromium.new_page(), []
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(report.write_page(made).as_uri())
        assert tab.title() == "Trajectories" and tab.text_content("#count") == f"{every} of {every}"
        tab.select_option("#verdict", "refused")
        refused = sum(1 for _ in production.rows(made, "rejected"))
        assert tab.text_content("#count") == f"{refused} of {every}" and tab.locator("nav button").count() == refused
        assert "refused" in tab.text_content("#about") and "assistant" in tab.text_content("#talk")
        tab.select_option("#verdict", "all")
        tab.fill("#text", "needle")
        assert tab.text_content("#count") == f"1 of {every}" and evil.strip() in tab.text_content("#talk")
        assert tab.title() == "Trajectories" and tab.locator("img").count() == 0 and not complaints
        chromium.close()
