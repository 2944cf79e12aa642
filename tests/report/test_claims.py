"""Rules give verdicts; records and claims.yaml are checked where they are written."""

import json

import pytest

from k2lib.intervals import Interval
from k2lib.report import claims
from k2lib.report.claims import CHECK, PAPER, Claim, Verdict
from k2lib.report.ledger import Ledger, Record, ledger_path, plain
from k2lib.report.rules import Rule, digits

pytestmark = pytest.mark.usefixtures("artifacts")

ENTRY = """
- id: a-claim
  kind: paper
  notebook: 03_muonclip
  section: "2.1"
  claim: Something holds.
  paper: not stated
  rule: {above: 1}
  tested_at: [laptop]
"""
OPEN = """
- {id: an-open-one, kind: paper, section: "2.2", claim: It helps., paper: "5", needs: five seeds}
"""


def claim(rule, kind=PAPER, **more):
    return Claim("x", kind, "2", "s", "p", notebook="03_a", rule=rule, tested_at=("laptop",), **more)


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (Rule("below", 2.0), 1.9, 2.0),
        (Rule("above", 2.0), 2.1, 2.0),
        (Rule("equals", 2.0), 2.0, 2.1),
        (Rule("between", (1.0, 2.0)), 1.0, 0.9),
        (Rule("near", 100.0, within=0.02), 98.1, 97.9),
        (Rule("near", -1.0, within=0.1), -1.05, -0.8),
        (Rule("reported", 1.04), 1.0449, 1.026),
        (Rule("reported", 32.6), 32.56, 32.86),
    ],
)
def test_each_rule_accepts_and_rejects(rule, good, bad):
    assert rule.judge(Record("x", good).interval()) == "met"
    assert rule.judge(Record("x", bad).interval()) == "refused"


@pytest.mark.parametrize(
    ("rule", "low", "high", "outcome"),
    [
        (Rule("above", 0.0, by="low"), 0.1, 1.0, "met"),
        (Rule("above", 0.0, by="low"), -0.1, 1.0, "open"),
        (Rule("above", 0.0, by="low"), -0.2, -0.1, "refused"),
        (Rule("below", 0.0, by="high"), -1.0, -0.1, "met"),
        (Rule("below", 0.0, by="high"), -1.0, 0.1, "open"),
        (Rule("below", 0.0, by="high"), 0.1, 0.2, "refused"),
        (Rule("equivalent", 0.01), -0.009, 0.009, "met"),
        (Rule("equivalent", 0.01), -0.011, 0.001, "open"),
        (Rule("equivalent", 0.01), -0.03, -0.02, "refused"),
        (Rule("equivalent", 0.01), 0.02, 0.03, "refused"),
    ],
)
def test_a_rule_on_the_interval_judges_its_ends_and_not_the_mean(rule, low, high, outcome):
    assert rule.judge(Interval((low + high) / 2, low, high, 8, "95%, Student's t over seeds", True)) == outcome


def test_two_seeds_are_too_few_and_two_items_are_not():
    rule = Rule("above", 0.0, by="low")
    assert rule.judge(Interval(1.0, 0.9, 1.1, 2, "95%, bootstrap over items and seeds", True)) == "open"
    assert rule.judge(Interval(1.0, 0.9, 1.1, 2, "95%, Wilson over items")) == "met"
    assert rule.judge(Record("x", [5.0], "seeds").interval()) == "open"


def test_an_equivalence_is_judged_at_90_percent():
    seeds = Record("x", [0.006, -0.004, 0.005, -0.006, 0.007], "seeds")
    assert seeds.interval(0.95).high > 0.0081 > seeds.interval(0.9).high
    assert claim(Rule("equivalent", 0.0081)).judge(seeds, "laptop") == "reproduced"


def test_the_rule_gives_the_verdict():
    one = claim(Rule("above", 1.0), partly=Rule("above", 0.5))
    assert one.judge(Record("x", 1.1), "laptop") == "reproduced"
    assert one.judge(Record("x", 0.7), "laptop") == "partly"
    assert one.judge(Record("x", 0.2), "laptop") == "not reproduced"
    assert one.judge(Record("x", 1.1), "smoke") == "not tested at this size"
    assert one.judge(None, "laptop") == "not run"
    assert Claim("x", PAPER, "2", "s", "p", needs="seeds").judge(None, "laptop") == "untested"


def test_a_check_holds_or_does_not():
    assert claim(Rule("above", 1.0), CHECK).judge(Record("x", 1.1), "laptop") == "holds"
    assert claim(Rule("above", 1.0), CHECK).judge(Record("x", 0.9), "laptop") == "does not hold"


def test_too_few_seeds_are_inconclusive_even_where_the_mean_would_do():
    one = claim(Rule("above", 1.0, by="low"), partly=Rule("above", 0.5))
    assert one.judge(Record("x", [3.0, 3.1], "seeds"), "laptop") == "inconclusive"
    assert one.judge(Record("x", [3.0, 3.1, 3.2], "seeds"), "laptop") == "reproduced"
    assert one.judge(Record("x", [0.0, 3.0, 6.0], "seeds"), "laptop") == "partly"
    assert claim(Rule("above", 1.0, by="low")).judge(Record("x", [0.0, 3.0, 6.0], "seeds"), "laptop") == "inconclusive"


def test_a_count_that_differs_from_the_reported_one_says_by_how_much():
    one, entry = claim(Rule("reported", 1.04)), Record("x", 1.0264)
    assert str(Verdict(one, one.judge(entry, "laptop"), entry)) == "differs by 1.3%"


def test_digits_are_those_that_a_number_is_written_with():
    assert [digits(x) for x in (1.04, 32.6, 0.83, 671.0)] == [3, 3, 2, 3]


def test_a_rule_on_an_interval_needs_raw_values():
    with pytest.raises(ValueError, match="record the raw values, of seeds, shares or pairs"):
        claim(Rule("above", 0.0, by="low")).judge(Record("x", 0.5), "laptop")


@pytest.mark.parametrize("values", [float("nan"), float("inf"), "many", None])
def test_a_record_is_a_finite_number(values):
    with pytest.raises(ValueError, match="claim 'x'"):
        Record("x", values)


def test_the_file_of_claims_can_be_read_and_its_sentences_hold_no_line_breaks():
    found = claims.load()
    assert sum(claim.kind == PAPER for claim in found) >= 50 and sum(claim.rule is not None for claim in found) > 15
    assert all("\n" not in claim.claim and claim.claim.endswith(".") for claim in found)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("{above: 1}", "{above: 1, below: 2}", "exactly one of"),
        ("{above: 1}", "{abov: 1}", "exactly one of"),
        ("{above: 1}", "{above: many}", "not a number"),
        ("{above: 1}", "{near: 1}", "near needs within"),
        ("{above: 1}", "{above: 1, by: high}", "low with above"),
        ("{above: 1}", "{between: [2, 1]}", "not a number"),
        ("[laptop]", "[desktop]", "tested_at"),
        ("kind: paper", "kind: rumour", "kind is paper or check"),
        ("  paper: not stated\n", "", "has the fields"),
        ("  section:", "  colour: red\n  section:", "has the fields"),
        ("  section:", "  needs: a GPU\n  section:", "has the fields"),
        ("  section:", "  history: [{date: 2026-01-01, rule: {above: 2}}]\n  section:", "a line of history has"),
    ],
)
def test_a_faulty_entry_is_named(tmp_path, old, new, complaint):
    path = tmp_path / "claims.yaml"
    path.write_text(ENTRY)
    assert claims.load(path)[0].rule == Rule("above", 1.0)
    path.write_text(ENTRY.replace(old, new))
    with pytest.raises(ValueError, match=complaint) as caught:
        claims.load(path)
    assert "entry 1" in str(caught.value)


def test_an_entry_without_a_rule_cannot_be_recorded(tmp_path, monkeypatch):
    path = tmp_path / "claims.yaml"
    path.write_text(OPEN)
    assert claims.load(path)[0].needs == "five seeds"
    monkeypatch.setattr(claims.load, "__defaults__", (path,))
    with pytest.raises(ValueError, match="'an-open-one' has no rule"):
        claims.record("an-open-one", 1.0)


def test_two_claims_cannot_share_an_id(tmp_path):
    (tmp_path / "claims.yaml").write_text(ENTRY + ENTRY)
    with pytest.raises(ValueError, match="'a-claim' stands there twice"):
        claims.load(tmp_path / "claims.yaml")


def test_record_and_verdicts_work_without_a_notebook(artifacts):
    assert claims.verdicts("smoke")["architecture-parity"].verdict == "not run"
    assert claims.record("architecture-parity", 3e-6, profile="smoke") == "holds"
    assert claims.record("k2-total-parameters", 1.026, profile="smoke") == "differs"
    assert claims.record("rl-raises-success", [[0, 1], [1, 1]], of="pairs") == "inconclusive"
    found = claims.verdicts("smoke")
    assert found["architecture-parity"].verdict == "holds"
    assert found["architecture-parity"].record.values == 3e-6
    assert found["k2-total-parameters"].verdict == "differs"
    assert claims.verdicts("laptop")["rl-raises-success"].record.values == [[0, 1], [1, 1]]
    assert claims.verdicts("laptop")["architecture-parity"].verdict == "not run"


def test_an_unknown_claim_or_profile_is_refused():
    with pytest.raises(ValueError, match="unknown claim 'a-cliam'"):
        claims.record("a-cliam", 1.0)
    with pytest.raises(ValueError, match="unknown profile 'huge'"):
        claims.verdicts("huge")


def test_a_ledger_comes_back_as_it_was_saved(tmp_path):
    ledger = Ledger("03_a", "smoke", 1, {"x": Record("x", [1.0, 0.5, 2.0], "seeds", "three seeds")}, {"loss": 2.5})
    ledger.measured["curve"] = plain({"x": [0, 1, 2], "lines": {"a [\n b ]": [1.23456789, float("nan"), 3]}})
    ledger.save(tmp_path / "a.json")
    assert Ledger.load(tmp_path / "a.json") == ledger
    assert ledger.measured["curve"]["lines"]["a [\n b ]"] == [1.2346, None, 3]


def test_a_ledger_of_an_older_version_can_be_read(tmp_path):
    Ledger("03_a", "smoke", metrics={"loss": 2.5}).save(tmp_path / "a.json")
    older = json.loads((tmp_path / "a.json").read_text())
    del older["measured"]
    (tmp_path / "a.json").write_text(json.dumps(older | {"series": {"curve": [1]}}))
    assert Ledger.load(tmp_path / "a.json") == Ledger("03_a", "smoke", metrics={"loss": 2.5})


def test_a_damaged_ledger_is_named(artifacts):
    path = ledger_path("02_moe_architecture", "smoke")
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(ValueError, match=f"{path} is not a ledger"):
        claims.verdicts("smoke")
