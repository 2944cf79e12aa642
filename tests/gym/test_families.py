"""Every family by its name: as many as wanted, the same for a seed, a demonstration that passes, nothing for an empty answer."""

import json

import pytest

from k2lib.cli.rl import FAMILIES as TOLD
from k2lib.gym.families import FAMILIES, family, problems
from k2lib.gym.outcome import outcome
from k2lib.sandbox import unavailable


def made(name, n=6, seed=0, split="train"):
    if name == "puzzles":
        pytest.importorskip("reasoning_gym")
    return family(name)(n, seed, split)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_gives_as_many_problems_as_wanted_and_the_same_again(name):
    some = made(name)
    assert len(some) == 6 and [one.messages for one in some] == [one.messages for one in made(name)]
    assert [one.messages for one in some] != [one.messages for one in made(name, seed=1)]
    for one in some:
        assert one.kind and one.budget > 0 and json.loads(json.dumps([one.messages, list(one.tools)]))


@pytest.mark.parametrize("name", FAMILIES)
def test_an_empty_answer_is_no_solution_and_most_demonstrations_are(name):
    if name in ("coding", "repairs") and unavailable():
        pytest.skip("no sandbox works here")
    some = made(name, 12)
    for one in some[:6]:
        for said in ("", "I do not know.", "x" * 5000):
            episode = one.episode()
            for _ in range(8):  # a user may ask again
                if not episode.over:
                    episode.step({"role": "assistant", "content": said}, [])
            assert outcome(episode).score < 1 or (name == "safety" and one.asked == one.closed)
    passed = sum(one.demonstration()["verdict"]["passed"] for one in some)
    assert passed >= (4 if name == "following" else 8)  # no text of the kit keeps several constraints at once


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_levels(name):
    if name == "puzzles":
        pytest.importorskip("reasoning_gym")
    easy, hard = (problems(name, 8, 0, "train", level) for level in (0, 2))
    assert len(easy) == len(hard) == 8 and [one.messages for one in easy] != [one.messages for one in hard]
    assert all(len(problems(name, 4, 0, "test", level)) == 4 for level in (None, 0, 1, 2))
    with pytest.raises(ValueError, match="level is 3; give a whole number from 0 to 2"):
        problems(name, 1, 0, "train", 3)


def test_the_command_line_tells_of_every_family():
    assert ", ".join(FAMILIES) == TOLD
