"""What page 07 makes of the study of families."""

import pytest

from k2lib import profiles
from k2lib.chapters import second_families as page
from k2lib.progress import silent
from k2lib.studies import second_families as study


def found(sft: int, rl: int) -> dict:
    """Of a run in which every family's one problem had so many right answers."""
    right = {"SFT": {family: [sft] for family in study.SHOWN}, "RL": {family: [rl] for family in study.SHOWN}}
    told = {"right": right, "blind": dict.fromkeys(study.SHOWN, 0.25), "success": [0.1, 0.2]}
    return told | {"perplexity": {"before": 9.0, "SFT": 10.0, "RL": 10.5}}


def test_it_is_told_by_stage_family_and_run(monkeypatch):
    monkeypatch.setattr(page.get, "have", lambda name: name == "smollm2")
    monkeypatch.setattr(page.stages, "study", lambda study, *_, **how: [found(4, 8), found(4, 12), found(4, 8)])
    told = page.families(profiles.STUDY, 0, silent)
    assert set(told["rates"]) == {"SFT", "RL", "blind"} and told["rates"]["RL"]["letters"] == [0.5, 0.75, 0.5]
    assert told["rates"]["blind"]["tables"] == [0.25] * 3 and told["success"] == [[0.1, 0.2]] * 3
    assert told["gained"] == {family: [25.0, 50.0, 25.0] for family in study.SHOWN}
    assert told["perplexity"] == {"before": [9.0] * 3, "SFT": [10.0] * 3, "RL": [10.5] * 3}
    assert told["claims"]["rl-raises-families-of-a-second-policy"] == [25.0, 50.0, 25.0]
    assert told["claims"]["rl-keeps-a-second-policys-english"] == pytest.approx([5.0] * 3)


def test_without_a_size_or_the_model_there_is_nothing(monkeypatch):
    monkeypatch.setattr(page.get, "have", lambda name: True)
    assert page.families(profiles.SMOKE, 0, silent) is None
    monkeypatch.setattr(page.get, "have", lambda name: False)
    assert page.families(profiles.STUDY, 0, silent) is None
