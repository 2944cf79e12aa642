"""RL of a model of another family: what it is asked, what it thinks of its answers, and that training moves it."""

import dataclasses
import types

import pytest
import torch
from tiny_llama import save

from k2lib import K2Config
from k2lib.gym.fair import fair
from k2lib.profiles import SMOKE
from k2lib.progress import silent
from k2lib.rl.objective import OBJECTIVES
from k2lib.sizes import SecondPolicySize
from k2lib.studies import second_policy as study

SIZE = SecondPolicySize(
    steps=2, prompts=2, samples=3, epochs=2, minibatches=2, candidates=10, asked=1, lr=1e-3, tau=0.1, seeds=1
)


@pytest.fixture(autouse=True)
def float32(monkeypatch):
    monkeypatch.setenv("K2_DTYPE", "float32")


@pytest.fixture
def policy(tmp_path, monkeypatch):
    """A language model of two layers where `k2 get smollm2` would have put its own."""
    texts = [f"Question: {one.asks}\nAnswer: {one.answer}\n\n" for one in study.drawn(40, 7, "train")]
    save(tmp_path, texts)
    monkeypatch.setattr(study.get, "path", lambda name: tmp_path)
    monkeypatch.setattr(study.get, "have", lambda name: True)
    made = study.Policy(tmp_path, study.asker(), ("\n",), study.ROOM)
    with torch.no_grad():
        hidden = made.model.model(input_ids=torch.tensor([made.encode(made.asks(asked()[0]))])).last_hidden_state[0, -1]
        made.model.lm_head.weight[made.stop[0]] += 4 * hidden / hidden.square().sum()  # lines end
    return made


def asked(kind="sums", count=1):
    return fair(kind, count, 3, level=study.LEVELS[kind])


def test_worked_answers_of_the_same_kind_come_first(policy):
    for kind in study.KINDS:
        (problem,) = asked(kind)
        text = policy.asks(problem)
        assert text.endswith(f"Question: {problem.asks}\nAnswer:") and text.count("Answer:") == study.SHOTS + 1
        shown = fair(kind, study.SHOTS, study.SHOWN, level=study.LEVELS[kind], most=1.0)
        assert all(f"Question: {one.asks}\nAnswer: {one.answer}\n" in text for one in shown)


def test_an_answer_is_one_line_and_one_that_does_not_end_is_wrong(policy):
    problem = types.SimpleNamespace(right=lambda text: text == "42")
    ids = policy.encode(" 42\nmore")
    ended = policy._answer(problem, [1], ids, [0.0] * len(ids))
    assert ended.right and ended.said[-1] == policy.stop[0] and len(ended.said) == len(ended.logprobs) < len(ids)
    ids = policy.encode(" 42")
    assert not policy._answer(problem, [1], ids, [0.0] * len(ids)).right
    ids = policy.encode(" 41\n42\n")
    assert not policy._answer(problem, [1], ids, [0.0] * len(ids)).right


def test_answers_repeat_with_their_seed_and_differ_without(policy):
    first, again, other = (policy.answers(asked(), 4, seed) for seed in (0, 0, 1))
    assert first == again and first != other
    assert all(len(one.said) == len(one.logprobs) <= study.ROOM for one in first[0])
    assert len({tuple(one.said) for one in first[0]}) > 1


def test_training_thinks_of_an_answer_what_sampling_thought(policy):
    (group,) = policy.answers(asked(), 5, 0)
    scored = policy.scored(group)
    torch.testing.assert_close(scored.logp.detach(), scored.old, atol=1e-5, rtol=1e-4)
    assert scored.whose.tolist() == [number for number, one in enumerate(group) for _ in one.said]
    assert scored.rewards.tolist() == [[float(one.right) for one in group]]


def test_a_prompt_that_is_read_once_has_the_gradients_of_one_that_is_read_with_every_answer(policy):
    (group,) = policy.answers(asked(), 3, 0)
    group = [dataclasses.replace(one, right=number == 0) for number, one in enumerate(group)]
    OBJECTIVES["k2"](policy.scored(group), 0.1).backward()
    found = {name: p.grad.clone() for name, p in policy.model.named_parameters()}
    policy.model.zero_grad()
    whole = []
    for one in group:
        ids = torch.tensor([one.prompt + one.said])
        log_p = policy.model(input_ids=ids).logits[0, :-1].log_softmax(-1)
        whole.append(log_p.gather(-1, ids[0, 1:, None])[len(one.prompt) - 1 :, 0])
    OBJECTIVES["k2"](dataclasses.replace(policy.scored(group), logp=torch.cat(whole)), 0.1).backward()
    for name, p in policy.model.named_parameters():
        torch.testing.assert_close(found[name], p.grad, atol=1e-6, rtol=1e-3, msg=name)


@pytest.mark.parametrize("objective", study.COMPARED.values())
def test_what_is_rewarded_becomes_likelier(policy, monkeypatch, objective):
    """Every short line is right; more of them are short after training."""
    (problem,), real = asked(), policy._answer

    def judged(problem, prompt, said, logprobs):
        return dataclasses.replace((one := real(problem, prompt, said, logprobs)), right=len(one.said) <= 8)

    monkeypatch.setattr(policy, "_answer", judged)
    size = dataclasses.replace(SIZE, steps=6, samples=16, lr=1e-3)
    success = study.trained(policy, [problem] * 8, objective, size, 0)
    assert len(success) == 6 and success[-1] > success[0] + 0.2


def test_the_study_tells_right_answers_before_and_after(policy, monkeypatch):
    monkeypatch.setattr(study, "SAMPLES", 4)
    monkeypatch.setattr(study, "KS", (1, 4))
    profile = dataclasses.replace(SMOKE, second_policy=SIZE)
    found = study.measure(K2Config.preset("nano"), None, profile, 0, silent)
    assert set(found["after"]) == set(found["success"]) == set(study.COMPARED)
    for rights in (found["kinds"], found["before"], *found["after"].values()):
        assert len(rights) == len(study.KINDS)
    assert all(len(success) == SIZE.steps for success in found["success"].values())
    assert found["blind"] == [1.0] * len(study.KINDS)  # one problem of each
    assert len(found["shown"]["before"]) == len(found["shown"]["after"]) == study.SHOWN_ANSWERS


def test_every_objective_begins_with_the_same_model_and_the_same_samples(policy, monkeypatch):
    begun = []

    def train(policy, pool, objective, size, seed, progress):
        begun.append((policy.model.lm_head.weight.clone(), pool))
        with torch.no_grad():
            policy.model.lm_head.weight.add_(1)
        return []

    monkeypatch.setattr(study, "trained", train)
    monkeypatch.setattr(study, "Policy", lambda *_: policy)
    study.measure(K2Config.preset("nano"), None, dataclasses.replace(SMOKE, second_policy=SIZE), 0, silent)
    assert len(begun) == len(study.COMPARED)
    assert all(torch.equal(weight, begun[0][0]) and pool == begun[0][1] for weight, pool in begun)


def test_a_claim_is_a_number_of_each_run_in_points(monkeypatch):
    monkeypatch.setattr(study, "SAMPLES", 4)
    monkeypatch.setattr(study, "KS", (1, 4))
    after = {"K2": [4, 0, 0, 0, 2], "GRPO": [4, 2, 0, 0, 0], "rejection sampling": [0, 0, 0, 0, 2]}
    one = {"kinds": list(study.KINDS), "before": [0, 0, 0, 0, 1], "after": after, "blind": [0.1] * 5}
    assert study.gained([one]) == {"K2": [25.0], "GRPO": [25.0], "rejection sampling": [5.0]}
    claims = study.values(SMOKE, [one, one])
    assert claims["rl-raises-a-second-policy"] == [25.0, 25.0] and claims["wrong-answers-teach"] == [20.0, 20.0]
    assert claims["k2-keeps-up-with-grpo"] == pytest.approx([5.0, 5.0])
    rates = study.by_kind(one)
    assert rates["before"] == [0, 0, 0, 0, 0.25] and rates["K2"] == [1, 0, 0, 0, 0.5] and rates["blind"] == [0.1] * 5
    assert study.chances(one)["before"] == [0.05, 0.2] and study.chances(one)["K2"] == pytest.approx([0.3, 0.4])


def test_the_problem_that_is_shown_has_most_right_answers_more(policy):
    problems = asked(count=3)
    groups = policy.answers(problems, 5, 0)
    before = [[dataclasses.replace(one, right=False) for one in group] for group in groups]
    after = [[dataclasses.replace(one, right=number == 1) for one in group] for number, group in enumerate(groups)]
    shown = study._most_gained(policy, problems, before, after)
    assert shown["asks"] == problems[1].asks and [right for _, right in shown["after"]] == [True] * 4
    assert shown["before"][0] == (policy.text(groups[1][0].said), False)


def test_training_and_examination_of_every_run_differ():
    problems = [{one.asks for one in study.drawn(10, run, split)} for run in (0, 1) for split in ("train", "test")]
    assert all(len(one) == 10 * len(study.KINDS) for one in problems)
    assert not problems[0] & problems[1] and len(problems[0] & problems[2]) < 10 and not problems[2] & problems[3]


def test_without_the_model_it_says_what_to_get(monkeypatch):
    monkeypatch.setattr(study.get, "have", lambda name: False)
    with pytest.raises(RuntimeError, match="run `k2 get smollm2`"):
        study.measure(K2Config.preset("nano"), None, dataclasses.replace(SMOKE, second_policy=SIZE), 0, silent)
