"""A user's own environment: a class or reward functions in TRL's form, played like every other problem."""

import json

import pytest

from k2lib.gym.environment import Task, specification
from k2lib.gym.outcome import Outcome, outcome
from k2lib.gym.play import Played


class Counter:
    """A counter that the model must bring to a number."""

    def __init__(self):
        self.count = None

    def reset(self, start: int, wanted: int, **_row) -> str:
        self.count, self.wanted = start, wanted
        return f" It stands at {start}."

    def add(self, amount: int, note: str = "") -> int:
        """
        Adds to the counter.

        Args:
            amount (int): How much; may be negative.
            note: Why.

        Returns:
            Where it stands.
        """
        if amount == 0:
            raise ValueError("nothing to add")
        self.count += amount
        return self.count

    async def look(self) -> str:
        """Where it stands."""
        return str(self.count)

    def get_reward(self) -> float:
        return float(self.count == self.wanted)

    def _hidden(self):
        raise AssertionError


ROW = {"prompt": "Bring it to 5.", "start": 2, "wanted": 5}


def call(name, arguments, number=0):
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    made = {"id": f"functions.{name}:{number}", "type": "function", "function": {"name": name, "arguments": written}}
    return {"role": "assistant", "content": "", "tool_calls": [made]}


def done(text="Done."):
    return {"role": "assistant", "content": text}


def played(*messages, **task):
    episode = Task(**({"row": ROW, "make": Counter} | task)).episode()
    for message in messages:
        episode.step(message, [])
    return episode


def test_the_methods_are_told_to_the_model_as_tools():
    add, look = (spec["function"] for spec in Task(ROW, Counter).tools)
    assert (add["name"], add["description"], look["name"]) == ("add", "Adds to the counter.", "look")
    assert add["parameters"]["properties"]["amount"] == {"type": "integer", "description": "How much; may be negative."}
    assert add["parameters"]["properties"]["note"] == {"type": "string", "description": "Why.", "default": ""}
    assert add["parameters"]["required"] == ["amount"]


def test_an_episode_goes_turn_by_turn_and_is_scored_by_the_environment():
    episode = played(call("add", {"amount": 3}), call("look", {}, 1), done())
    assert episode.messages[0]["content"] == "Bring it to 5. It stands at 2."
    assert [m["content"] for m in episode.messages if m["role"] == "tool"] == ["5", "5"]
    assert episode.over and outcome(episode) == Outcome("pass", 1.0)
    assert outcome(played(done())) == Outcome("fail", 0.0)


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("add", {"amount": "three"}, "'three' is not of type 'integer'"),
        ("add", {}, "'amount' is a required property"),
        ("add", {"amount": 0}, "ValueError: nothing to add"),
        ("add", "not JSON", "the arguments are not JSON"),
        ("get_reward", {}, "there is no tool 'get_reward'; there are add, look"),
        ("_hidden", {}, "there is no tool '_hidden'"),
        ("__class__", {}, "there is no tool '__class__'"),
    ],
)
def test_a_call_that_cannot_be_made_is_told_to_the_model_and_changes_nothing(name, arguments, told):
    episode = played(call(name, arguments))
    assert told in json.loads(episode.messages[-1]["content"])["error"]
    assert episode.environment.count == 2 and not episode.over


def length(completions, **_):
    return [1.0 if len(one[-1]["content"]) < 6 else 0.0 for one in completions]


def wanted(prompts, completions, answer):
    assert prompts == [[{"role": "user", "content": "2 + 2?"}]]
    return [float(one[-1]["content"] == said) for one, said in zip(completions, answer, strict=True)]


async def judge(completions, **_):
    return [0.5]


def test_reward_functions_score_without_an_environment_and_their_numbers_add_up():
    row = {"prompt": "2 + 2?", "answer": "4"}
    for rewards, score in (((wanted,), 1.0), ((wanted, length), 2.0), ((wanted, judge), 1.5)):
        assert outcome(played(done("4"), row=row, make=None, rewards=rewards)) == Outcome("pass", score)
    assert outcome(played(done("5"), row=row, make=None, rewards=(wanted, judge))) == Outcome("fail", 0.5)


def test_a_reward_that_does_not_apply_is_left_out():
    def none(**_):
        return [None]

    row = {"prompt": "2 + 2?", "answer": "4"}
    assert outcome(played(done("4"), row=row, make=None, rewards=(wanted, none))).score == 1.0
    assert outcome(played(done("4"), row=row, make=None, rewards=(none,))).status == "void"


def test_a_reward_that_raises_voids_the_episode():
    def gone(**_):
        raise ConnectionError("the judge is gone")

    found = outcome(played(done(), row={"prompt": "x"}, make=None, rewards=(gone,)))
    assert found == Outcome("void", 0.0, "ConnectionError: the judge is gone")


def test_what_cannot_be_a_task_is_refused():
    class Untyped(Counter):
        def put(self, amount):
            """Puts it."""

    with pytest.raises(ValueError, match="nothing scores this task"):
        Task(ROW)
    with pytest.raises(ValueError, match=r"put: give amount a type"):
        specification(Untyped.put)


def test_a_model_plays_in_it(tiny_tokenizer):
    one = Played.start(Task(ROW, Counter), tiny_tokenizer)
    text = tiny_tokenizer.decode(one.ids)
    assert "It stands at 2." in text and '"name":"add"' in text


def test_an_environment_that_cannot_be_reset_voids_its_episode(tiny_tokenizer):
    class Gone(Counter):
        def reset(self, **_row):
            raise ConnectionError("no server")

    one = Played.start(Task(ROW, Gone), tiny_tokenizer)
    assert one.over and one.outcome == Outcome("void", 0.0, "ConnectionError: no server")
