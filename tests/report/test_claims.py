"""Rules give verdicts; records and claims.yaml are checked where they are written."""

import pytest

from k2lib.report import claims
from k2lib.report.claims import Claim, Rule
from k2lib.report.ledger import Ledger, Record, ledger_path, plain

pytestmark = pytest.mark.usefixtures("artifacts")

ENTRY = """
- id: a-claim
  notebook: 03_muonclip
  section: "2.1"
  claim: Something holds.
  paper: not stated
  rule: {above: 1}
  tested_at: [laptop]
"""


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (Rule("below", 2.0), 1.9, 2.0),
        (Rule("above", 2.0), 2.1, 2.0),
        (Rule("equals", 2.0), 2.0, 2.1),
        (Rule("between", (1.0, 2.0)), 1.0, 0.9),
        (Rule("near", 100.0, within=0.02), 98.1, 97.9),
        (Rule("near", -1.0, within=0.1), -1.05, -0.8),
    ],
)
def test_each_rule_accepts_and_rejects(rule, good, bad):
    assert rule.accepts(Record("x", good))
    assert not rule.accepts(Record("x", bad))


def test_a_rule_by_low_judges_the_intervals_lower_end():
    rule = Rule("above", 0.0, by="low")
    assert not rule.accepts(Record("x", 0.5, low=-0.1, high=1.0))
    assert rule.accepts(Record("x", 0.5, low=0.1, high=1.0))
    with pytest.raises(ValueError, match="judged by 'low': record it with low="):
        rule.accepts(Record("x", 0.5))


def test_the_rule_gives_the_verdict():
    claim = Claim("x", "03_a", "2", "s", "p", Rule("above", 1.0), ("laptop",), partly=Rule("above", 0.5))
    assert claim.judge(Record("x", 1.1), "laptop") == "reproduced"
    assert claim.judge(Record("x", 0.7), "laptop") == "partly"
    assert claim.judge(Record("x", 0.2), "laptop") == "not reproduced"
    assert claim.judge(Record("x", 1.1), "smoke") == "not tested at this size"
    assert claim.judge(None, "laptop") == "not run"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "many", None])
def test_a_record_is_a_finite_number(value):
    with pytest.raises(ValueError, match="claim 'x'"):
        Record("x", value)


def test_an_interval_is_in_order():
    with pytest.raises(ValueError, match=r"low 2.0 lies above high 1.0"):
        Record("x", 1.5, low=2.0, high=1.0)


def test_the_file_of_claims_can_be_read_and_its_sentences_hold_no_line_breaks():
    found = claims.load()
    assert len(found) > 10
    assert all("\n" not in claim.claim and claim.claim.endswith(".") for claim in found)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("{above: 1}", "{above: 1, below: 2}", "exactly one of"),
        ("{above: 1}", "{abov: 1}", "exactly one of"),
        ("{above: 1}", "{above: many}", "not a number"),
        ("{above: 1}", "{near: 1}", "near needs within"),
        ("{above: 1}", "{above: 1, by: middle}", "by is low or high"),
        ("{above: 1}", "{between: [2, 1]}", "not a number"),
        ("[laptop]", "[desktop]", "tested_at"),
        ("  paper: not stated\n", "", "has the fields"),
        ("  section:", "  colour: red\n  section:", "has the fields"),
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


def test_two_claims_cannot_share_an_id(tmp_path):
    (tmp_path / "claims.yaml").write_text(ENTRY + ENTRY)
    with pytest.raises(ValueError, match="'a-claim' stands there twice"):
        claims.load(tmp_path / "claims.yaml")


def test_record_and_verdicts_work_without_a_notebook(artifacts):
    assert claims.verdicts("smoke")["architecture-parity"].verdict == "not run"
    assert claims.record("architecture-parity", 3e-6, profile="smoke") == "reproduced"
    assert claims.record("k2-total-parameters", 1.026, profile="smoke") == "reproduced"
    found = claims.verdicts("smoke")
    assert found["architecture-parity"].verdict == "reproduced"
    assert found["architecture-parity"].record.value == 3e-6
    assert found["k2-total-parameters"].verdict == "reproduced"
    assert claims.verdicts("laptop")["architecture-parity"].verdict == "not run"


def test_an_unknown_claim_or_profile_is_refused():
    with pytest.raises(ValueError, match="unknown claim 'a-cliam'"):
        claims.record("a-cliam", 1.0)
    with pytest.raises(ValueError, match="unknown profile 'huge'"):
        claims.verdicts("huge")


def test_a_ledger_comes_back_as_it_was_saved(tmp_path):
    ledger = Ledger("03_a", "smoke", 1, {"x": Record("x", 1.0, 0.5, 2.0, 3, "three seeds")}, {"loss": 2.5})
    ledger.series["curve"] = plain({"x": [0, 1, 2], "lines": {"a [\n b ]": [1.23456789, float("nan"), 3]}})
    ledger.save(tmp_path / "a.json")
    assert Ledger.load(tmp_path / "a.json") == ledger
    assert ledger.series["curve"]["lines"]["a [\n b ]"] == [1.2346, None, 3]


def test_a_damaged_ledger_is_named(artifacts):
    path = ledger_path("02_moe_architecture", "smoke")
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(ValueError, match=f"{path} is not a ledger"):
        claims.verdicts("smoke")
