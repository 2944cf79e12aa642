"""A rule is committed before its result: git is asked about this repository, and about small ones made for the purpose."""

import json
import subprocess
import sys

import pytest

from k2lib.places import ROOT

sys.path.insert(0, str(ROOT / "ci"))
import rules


def git(folder, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """`commit(subject, rule, values, **fields)`: one claim and perhaps its record, committed; its name."""
    monkeypatch.setattr(rules, "ROOT", tmp_path)
    git(tmp_path, "init", "-q")
    folder = tmp_path / "data" / "results" / "machine" / "laptop"
    folder.mkdir(parents=True)

    def head():
        return git(tmp_path, "rev-parse", "--short=12", "HEAD")

    def commit(subject, rule, values=None, at=None, **fields):
        entry = {"id": "x", "claim": "It is.", "rule": rule} | fields
        (tmp_path / rules.CLAIMS).write_text(json.dumps([entry]))
        if values is not None:
            (folder / "03.json").write_text(
                json.dumps({"records": [{"id": "x", "values": values}], "provenance": {"commit": at or head()}})
            )
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-q", "--allow-empty", "-m", subject)
        return git(tmp_path, "rev-parse", "HEAD")

    commit(rules.BASE, {"above": 0})
    return commit


def has_history():
    return (ROOT / ".git").exists() and git(ROOT, "rev-parse", "--is-shallow-repository") == "false"


@pytest.mark.skipif(not has_history(), reason="no history here")
def test_no_rule_of_this_repository_was_written_with_its_result():
    assert rules.faults() == []


def test_a_rule_then_its_result_is_as_it_should_be(repository):
    first = repository("Ask for more", {"above": 1}, history=[1])
    assert rules.written() == {"x": first}
    repository("Measure", {"above": 1}, 3.0, history=[1], since=first[:7])
    assert rules.written() == {"x": first} and rules.faults() == []


def test_a_rule_and_its_result_in_one_commit_are_noticed(repository):
    commit = repository("Ask for less and get it", {"above": -1}, -0.5, history=[1])
    repository("Date it", {"above": -1}, -0.5, history=[1], since=commit[:7])
    assert f"x: {commit[:7]} changes its rule and its result; commit the rule first" in rules.faults()


def test_a_changed_sentence_is_a_changed_rule_and_needs_a_line_of_history(repository):
    commit = repository("Say something else", {"above": 0}, claim="It is not.")
    assert rules.faults() == [f"x: {commit[:7]} changes its rule; add date, old rule and reason to its history"]


def test_a_measured_rule_says_since_when_and_says_it_rightly(repository):
    early = repository("Measure", {"above": 0}, 3.0)
    assert len(rules.faults()) == 1 and "let `since` say so" in rules.faults()[0]
    repository("Date it wrongly", {"above": 0}, 3.0, since=early[:7])
    assert "let `since` say so" in rules.faults()[0]


def test_what_is_not_committed_is_looked_at_too(repository, tmp_path):
    repository("Measure", {"above": 0}, 3.0, since=git(tmp_path, "rev-parse", "--short", "HEAD"))
    assert rules.faults() == []
    path = tmp_path / rules.CLAIMS
    path.write_text(path.read_text().replace('"above": 0', '"above": -5'))
    assert any("the working tree changes its rule; add date" in fault for fault in rules.faults())


def test_a_result_older_than_its_rule_is_noticed(repository):
    repository("Measure", {"above": 0}, 3.0)
    late = repository("Ask for less", {"above": -1}, history=[1])
    repository("Date it", {"above": -1}, history=[1], since=late[:7])
    assert len(rules.faults()) == 1 and f"where its rule of {late[:7]} was not; measure it again" in rules.faults()[0]
    repository("Measure again", {"above": -1}, 3.5, at=f"{late[:12]}-dirty", history=[1], since=late[:7])
    assert rules.faults() == []
    repository("Name a commit that is not there", {"above": -1}, 3.6, at="unknown", history=[1], since=late[:7])
    assert "measured at unknown" in rules.faults()[0]


def test_a_claim_that_was_measured_keeps_a_rule(repository, tmp_path):
    repository("Measure", {"above": 0}, 3.0, since=git(tmp_path, "rev-parse", "--short", "HEAD"))
    (tmp_path / rules.CLAIMS).write_text(json.dumps([{"id": "x", "claim": "It is.", "needs": "more"}]))
    assert rules.faults() == ["x: it was measured, and lost its rule in the working tree"]
