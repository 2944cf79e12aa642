"""Instruction data: candidates, what the filter rejects, and what people say."""

import asyncio
import json

import pytest

from k2lib.cli import main
from k2lib.gym import annotations
from k2lib.gym.annotations import Annotation, Candidate, agreement, read_annotations, verdicts
from k2lib.gym.instructions import Prompt, answered, chosen, graded, produce, read_prompts, rejected
from k2lib.llm.protocol import ChatError, Reply, Usage
from k2lib.train import sft

SUM = Prompt("What is 12 plus 30?", "sums", "42")
CITY = Prompt("What is the capital of Peru?", "capitals", "Lima")
COUNT = Prompt("Say: one two three four five six seven eight nine ten", "counts")
OPEN = Prompt("Write a line about the sea.", "lines")


class Model:
    model = "a model"

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    async def complete(self, messages, *, tools=None, temperature=0.0, max_tokens=512, seed=None) -> Reply:
        self.asked.append((messages[-1]["content"], temperature, seed))
        said = self.answer(messages[-1]["content"], seed)
        if isinstance(said, Exception):
            raise said
        return Reply({"role": "assistant", "content": said}, "stop", Usage(), self.model)


@pytest.mark.parametrize(
    "prompt, text, reasons",
    [
        (SUM, "It is 42.", ()),
        (SUM, "It is 43.", ("it is not the known answer",)),
        (SUM, "It is 42 or 43.", ("it is not the known answer",)),
        (CITY, "Lima, of course.", ()),
        (CITY, "Limassol.", ("it is not the known answer",)),
        (OPEN, " \n…", ("it is empty",)),
        (OPEN, "The sea is wide and blue and cold, they say. " * 8, ("it repeats itself",)),
        (OPEN, "a b " * 6000, ("it does not end", "it repeats itself")),
        (OPEN, "So <|im_end|> and on", ("it holds control tokens or broken characters",)),
        (COUNT, "one two three four five six seven eight nine ten", ("it says the question again",)),
    ],
)
def test_rules_reject_what_is_no_answer(prompt, text, reasons):
    assert rejected(prompt, text) == reasons


def test_an_answer_that_was_cut_is_rejected():
    assert rejected(OPEN, "The sea", "length") == ("it does not end",)


def test_candidates_differ_in_their_seeds_and_void_ones_are_left_out():
    model = Model(lambda text, seed: ChatError("gone") if seed == 2 else f"42 {'!' * seed}")
    found = asyncio.run(answered([SUM, OPEN], model, 4))
    assert [(c.prompt, c.number) for c in found] == [(p.id, i) for p in (SUM, OPEN) for i in (0, 1, 3)]
    assert {t for _, t, _ in model.asked} == {0.8} and not any(c.reasons for c in found)


def test_a_judge_grades_what_the_rules_let_through():
    judge = Model(lambda text, _: '{"grade": 3}' if "bad" in text else 'Well: {"grade": 9}')
    model = Model(lambda _, seed: ["", "a bad line", "a fine line"][seed])
    found = asyncio.run(answered([OPEN], model, 3, judge=judge))
    assert [(c.grade, c.reasons) for c in found] == [
        (None, ("it is empty",)),
        (3, ("the judge grades it low",)),
        (9, ()),
    ]
    assert len(judge.asked) == 2 and json.dumps("a fine line") in judge.asked[1][0]
    assert chosen(found)[OPEN.id].text == "a fine line"
    for words in ("no", '{"grade": 11}', '{"grade": true}', '{"grade": "9"}'):
        with pytest.raises(ChatError):
            asyncio.run(graded(Model(lambda _text, _seed, words=words: words), OPEN, "x"))


def candidate(number: int, *reasons: str, grade: int | None = None) -> Candidate:
    return Candidate("p", number, f"text {number}", "m", reasons, grade)


def said(number: int, who: str, verdict: str) -> Annotation:
    return Annotation("p", number, who, verdict)


def test_people_overrule_the_filter_and_the_judge():
    some = [candidate(0, grade=9), candidate(1, "too short"), candidate(2, grade=8)]
    assert chosen(some)["p"].number == 0
    assert chosen(some, [said(0, "ann", "bad")])["p"].number == 2
    assert chosen(some, [said(1, "ann", "good")])["p"].number == 1
    assert chosen(some, [said(1, "ann", "good"), said(1, "bob", "bad")])["p"].number == 0
    assert chosen(some, [said(i, "ann", "bad") for i in range(3)]) == {}


def test_votes_are_counted_once_a_person_and_agreement_by_pairs():
    some = [
        said(0, "ann", "good"),
        said(0, "ann", "bad"),
        said(0, "bob", "bad"),
        said(0, "eve", "good"),
        said(1, "ann", "unsure"),
    ]
    assert verdicts(some) == {("p", 0): "bad", ("p", 1): "unsure"}
    assert agreement(some) == pytest.approx(1 / 3) and agreement(some[-1:]) is None


@pytest.mark.parametrize(
    "line, words",
    [
        ('{"prompt": "p", "candidate": 0, "annotator": "ann", "verdict": "fine"}', "the verdict is 'fine'"),
        ('{"prompt": "p", "candidate": 0, "annotator": " ", "verdict": "good"}', "annotator is empty"),
        ('{"prompt": "p", "candidate": 7, "annotator": "ann", "verdict": "good"}', "no candidate 7 of the prompt 'p'"),
        ('{"prompt": "p", "candidate": [], "annotator": "ann", "verdict": "good"}', "line 2"),
        ('{"prompt": "p"}', "line 2"),
        ("[]", "line 2"),
        ("{", "line 2"),
    ],
)
def test_an_annotation_that_is_none_is_refused_with_its_line(tmp_path, line, words):
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "p", "candidate": 0, "annotator": "", "verdict": "unsure"}\n' + line + "\n")
    with pytest.raises(ValueError, match=words) as error:
        read_annotations(path, [candidate(0)])
    assert "a.jsonl, line 2" in str(error.value)


def test_a_sheet_is_filled_in_and_read_back(tmp_path):
    some = [candidate(0), candidate(1)]
    path = tmp_path / "annotate.jsonl"
    path.write_text(annotations.sheet({"p": "the prompt"}, some))
    assert read_annotations(path, some) == []
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows[0]["reads"] == ["the prompt", "text 0"]
    rows[1] |= {"annotator": "ann", "verdict": "good", "note": "clear"}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_annotations(path, some) == [Annotation("p", 1, "ann", "good", "clear")]


def test_what_was_made_is_kept_and_goes_into_fine_tuning(tmp_path):
    model = Model(lambda text, seed: "It is 42." if "12" in text else "Lima" if seed else "Quito")
    counts = produce(tmp_path, [SUM, CITY, OPEN], model, 2)
    assert counts["kept"] == 3 and counts["candidates"] == 6 and counts["it is not the known answer"] == 1
    asked = len(model.asked)
    assert produce(tmp_path, [SUM, CITY, OPEN], model, 2) == counts and len(model.asked) == asked
    produce(tmp_path, [SUM, CITY, OPEN], model, 2, seed=1)
    assert len(model.asked) == 2 * asked
    rows = sft.read(tmp_path / "instructions.jsonl")
    assert [row["messages"][1]["content"] for row in rows[:2]] == ["It is 42.", "Lima"]
    with pytest.raises(ChatError, match="gave no candidate at all"):
        produce(tmp_path / "x", [SUM], Model(lambda *_: ChatError("gone")), 2)


def test_prompts_are_read_once_each_and_bad_lines_named(tmp_path, capsys):
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a", "answer": "1"}\n{"prompt": "a"}\n{"prompt": "b", "source": "s"}\n')
    assert read_prompts(path) == [Prompt("a", "p.jsonl", "1"), Prompt("b", "s")]
    for line in ("{}", "[]", '{"prompt": 5}', '{"prompt": " "}', '{"prompt": "a", "answer": 5}'):
        path.write_text(line)
        with pytest.raises(ValueError, match=r"p\.jsonl, line 1"):
            read_prompts(path)
    path.write_text("")
    with pytest.raises(ValueError, match="holds no prompts"):
        read_prompts(path)
    path.write_text('{"prompt": "a"}')
    assert main(["synth", "instructions", str(path), str(tmp_path / "made"), "--model", ""]) == 2
    assert "candidates come from a model" in capsys.readouterr().err
