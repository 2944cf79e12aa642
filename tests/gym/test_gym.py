"""Problems of every family: a demonstration that solves its own episode, and episodes that a model plays to their end."""

import itertools
import json

import pytest
import torch

from k2lib import K2Config, K2Model
from k2lib.agents import tasks
from k2lib.corpus import arithmetic
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.corpus.world import World
from k2lib.gym import play as player
from k2lib.gym.knowledge import Knowledge
from k2lib.gym.mathematics import Mathematics
from k2lib.gym.mixture import verifiable
from k2lib.gym.play import play, success_rates
from k2lib.gym.tool_use import ToolUse
from k2lib.llm import chat
from k2lib.llm.local import Turn
from k2lib.profiles import SMOKE

WORLD = World.generate(0, 10)
FAMILIES = {
    "mathematics": list(map(Mathematics, arithmetic.problems(40, 0))),
    "knowledge": [Knowledge(qa) for person in WORLD.of("train") for qa in WORLD.questions(person)],
    "tool use": [ToolUse(task) for task in tasks.generate(40, 0)],
}


@pytest.fixture
def model(tiny_tokenizer):
    torch.manual_seed(0)
    changes = SMOKE.model | {"vocab_size": tiny_tokenizer.vocab_size, "num_hidden_layers": 2}
    return K2Model(K2Config.preset("nano").replace(**changes))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_demonstration_that_passed_solves_the_episode_it_demonstrates(family):
    rows = [(problem, problem.demonstration()) for problem in FAMILIES[family]]
    passed = [(problem, row) for problem, row in rows if row["verdict"]["passed"]]
    assert len(passed) > len(rows) / 2 and (family == "tool use" or len(passed) == len(rows))
    for problem, row in passed:
        assert row["kind"] == problem.kind == family
        assert row["messages"][: len(problem.messages)] == problem.messages and row["tools"] == problem.tools
        assert json.loads(json.dumps(row)) == row


@pytest.mark.parametrize("family", ["mathematics", "knowledge"])
def test_one_right_answer_ends_and_solves_an_episode_and_a_wrong_or_faulty_one_does_not(family):
    for problem in FAMILIES[family][:10]:
        right = problem.demonstration()["messages"][-1]
        scores = []
        for message, faults in ((right, []), ({"role": "assistant", "content": "no 99999"}, []), (right, ["unclosed"])):
            episode = problem.episode()
            episode.step(dict(message), faults)
            scores.append((episode.over, episode.score()))
        assert scores == [(True, 1.0), (True, 0.0), (True, 0.0)]


def test_playing_an_episode_leaves_the_problem_as_it_was():
    problem = FAMILIES["tool use"][0]
    before = json.dumps([problem.messages, problem.task.state])
    episode = problem.episode()
    episode.step({"role": "assistant", "content": "Which?"}, [])
    assert json.dumps([problem.messages, problem.task.state]) == before and len(episode.messages) > 2


def test_the_mixture_alternates_and_its_splits_are_disjoint():
    train, heldout = (verifiable(60, 0, split) for split in ("train", "test"))
    assert [p.kind for p in train[:4]] == ["mathematics", "tool use"] * 2 and len(train) == 60
    assert not {str(p.messages) for p in train} & {str(p.messages) for p in heldout}
    assert len(verifiable(5, 0)) == 5


@pytest.fixture(scope="module")
def corpus_tokenizer():
    """As the smoke profile trains it, on the corpus without the standard library: worse at spelling, if anything."""
    documents = itertools.chain(WORLD.documents(4), arithmetic.documents(2000, 0, SMOKE.corpus.largest_number))
    texts = [*(d.text for d in documents), *(chat.render(p.messages, p.tools) for p in FAMILIES["tool use"])]
    return Tokenizer.train(texts, SMOKE.corpus.vocab_size)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_turn_of_a_demonstration_fits_its_budget(family, corpus_tokenizer):
    for problem in FAMILIES[family]:
        _, wrote = chat.encode(corpus_tokenizer, problem.demonstration()["messages"], None, add_generation_prompt=False)
        turns = [len(list(run)) for own, run in itertools.groupby(wrote) if own]
        assert turns and max(turns) <= problem.budget


def test_what_is_kept_are_the_ids_that_were_sampled_and_their_logprobs(model, tiny_tokenizer):
    problem = FAMILIES["mathematics"][0]
    (group,) = play(model, tiny_tokenizer, [problem], samples=3, temperature=0.8)
    for one in group:
        assert one.ids[: one.mask.index(True)] == chat.encode(tiny_tokenizer, problem.messages)[0]
        assert len(one.ids) == len(one.mask) and len(one.logprobs) == sum(one.mask) <= problem.budget
        with torch.no_grad():
            again = model.token_logprobs(torch.tensor([one.ids]))[0][torch.tensor(one.mask[1:])]
        torch.testing.assert_close(again, torch.tensor(one.logprobs), atol=1e-4, rtol=1e-3)


def test_an_episode_does_not_depend_on_who_else_is_played(model, tiny_tokenizer, monkeypatch):
    monkeypatch.setenv("K2_DTYPE", "float32")
    problems = FAMILIES["mathematics"][:3]
    together = play(model, tiny_tokenizer, problems, samples=2, temperature=1.0, seed=5)
    monkeypatch.setattr(player, "BATCH", 1)
    alone = play(model, tiny_tokenizer, problems, samples=2, temperature=1.0, seed=5)
    assert [[one.ids for one in group] for group in together] == [[one.ids for one in group] for group in alone]
    assert len({tuple(one.ids) for group in together for one in group}) == 6


def spoken(tokenizer, message: dict, finished: bool = True) -> Turn:
    """A model's turn that says this message."""
    ids, wrote = chat.encode(tokenizer, [{"role": "user", "content": ""}, message], add_generation_prompt=False)
    tokens = [token for token, own in zip(ids, wrote, strict=True) if own]
    return Turn(tokens, [0.0] * len(tokens), finished, chat.parse_ids(tokens, tokenizer))


def test_a_conversation_is_played_to_its_end_and_read_as_the_chat_format_writes_it(model, tiny_tokenizer, monkeypatch):
    problem = next(p for p in FAMILIES["tool use"] if p.demonstration()["verdict"]["passed"] and p.task.rubric.must_ask)
    said = [m for m in problem.demonstration()["messages"] if m["role"] == "assistant"]
    turns = iter(said)

    def speaks(_model, tokenizer, _prompts, **_settings):
        return [spoken(tokenizer, next(turns))]

    monkeypatch.setattr(player, "sample_turns", speaks)
    ((one,),) = play(model, tiny_tokenizer, [problem])
    assert one.solved and not one.truncated and success_rates([[one]]) == [1.0]
    ids, wrote = chat.encode(tiny_tokenizer, one.episode.messages, problem.tools, add_generation_prompt=False)
    assert (one.ids, one.mask) == (ids, wrote)


def test_a_cut_turn_ends_its_episode_unsolved_and_an_overlong_conversation_too(model, tiny_tokenizer, monkeypatch):
    problem = FAMILIES["tool use"][0]
    cut = spoken(tiny_tokenizer, {"role": "assistant", "content": "I will"}, finished=False)
    monkeypatch.setattr(player, "sample_turns", lambda *_args, **_settings: [cut])
    ((one,),) = play(model, tiny_tokenizer, [problem])
    assert one.truncated and not one.solved and len(one.episode.messages) == len(problem.messages)
    model.config = model.config.replace(max_position_embeddings=len(one.ids))
    ((one,),) = play(model, tiny_tokenizer, [problem])
    assert one.truncated and not any(one.mask)


def test_a_base_model_is_asked_in_the_form_of_the_corpus_and_its_first_line_counts(model, tiny_tokenizer, monkeypatch):
    problem = FAMILIES["knowledge"][0]
    words = chat.Parsed({"role": "assistant", "content": f" {problem.qa.answer}.\nQuestion: more"}, [])
    monkeypatch.setattr(player, "sample_turns", lambda *_args, **_settings: [Turn([5, 6], [0.0, 0.0], False, words)])
    ((one,),) = play(model, tiny_tokenizer, [problem], corpus_form=True)
    assert one.solved and one.ids == [*tiny_tokenizer.encode(problem.plain), 5, 6]


def test_a_check_that_could_not_be_made_is_neither_solved_nor_a_failure(model, tiny_tokenizer):
    ((one,),) = play(model, tiny_tokenizer, [FAMILIES["mathematics"][0]])
    one.episode.score, one.truncated = lambda: None, False
    assert one.score is None and not one.solved
