"""What page 07 makes of the study of a second policy."""

from k2lib import profiles
from k2lib.chapters import second_policy as page
from k2lib.progress import silent
from k2lib.studies import second_policy as study


def found(before: int, after: int) -> dict:
    """Of a run in which every kind's one problem had so many right answers."""
    count = len(study.KINDS)
    one = {"kinds": list(study.KINDS), "blind": [0.5] * count, "before": [before] * count}
    one |= {"after": {name: [after] * count for name in study.COMPARED}, "shown": {"asks": "1 + 1"}}
    return one | {"success": {name: [0.1, 0.2] for name in study.COMPARED}}


def test_it_is_told_by_objective_kind_and_run(monkeypatch):
    monkeypatch.setattr(page.get, "have", lambda name: name == "smollm2")
    monkeypatch.setattr(page.stages, "study", lambda study, *_, **how: [found(0, 8), found(8, 16)])
    told = page.second(profiles.STUDY, 0, silent)
    assert told["gained"] == {name: [50.0, 50.0] for name in study.COMPARED}
    assert told["claims"]["rl-raises-a-second-policy"] == [50.0, 50.0]
    assert told["claims"]["k2-keeps-up-with-grpo"] == [10.0, 10.0]
    assert told["claims"]["wrong-answers-teach"] == [0.0, 0.0]
    assert told["kinds"]["GRPO"]["sums"] == [0.5, 1.0] and told["kinds"]["blind"]["sums"] == [0.5, 0.5]
    assert told["chances"]["before"][0][0] == 0 and told["chances"]["K2"][1] == [1.0] * len(study.KS)
    assert told["success"]["rejection sampling"] == [[0.1, 0.2]] * 2 and len(told["shown"]) == 2


def test_without_a_size_or_the_model_there_is_nothing(monkeypatch):
    monkeypatch.setattr(page.get, "have", lambda name: True)
    assert page.second(profiles.SMOKE, 0, silent) is None
    monkeypatch.setattr(page.get, "have", lambda name: False)
    assert page.second(profiles.STUDY, 0, silent) is None
