"""Fine-tuning and RL of a model of another family on the gym's families: what each run draws, learns and tells."""

import dataclasses
import math

import pytest
import torch
from tiny_llama import save

from k2lib import K2Config
from k2lib.gym.fair import fair
from k2lib.profiles import SMOKE
from k2lib.progress import silent
from k2lib.sizes import SecondFamiliesSize
from k2lib.studies import foreign_training
from k2lib.studies import second_families as study

SIZE = SecondFamiliesSize(
    steps=1, prompts=2, samples=3, epochs=1, minibatches=1, candidates=10, asked=1, lr=1e-4, tau=0.1, seeds=1,
    worked=2, sft_batch=2, sft_lr=1e-3,
)  # fmt: skip


@pytest.fixture(autouse=True)
def float32(monkeypatch):
    monkeypatch.setenv("K2_DTYPE", "float32")


@pytest.fixture
def policy(tmp_path, monkeypatch):
    texts = [
        f"{study.asks(one)} {one.answer}"
        for family in study.SHOWN
        for one in fair(family, 8, 7, level=study.level(family))
    ]
    save(tmp_path, texts)
    monkeypatch.setattr(study.get, "path", lambda name: tmp_path)
    monkeypatch.setattr(study.get, "have", lambda name: True)
    return study.Policy(tmp_path, study.asks, (), study.ROOM)


def test_fine_tuning_teaches_the_worked_answers_and_their_end(policy):
    (problem,) = fair("mathematics", 1, 3)
    losses = foreign_training.fine_tuned(policy, [problem] * 80, 3e-3, 4, 0)
    assert len(losses) == 20 and losses[-1] < losses[0] / 2
    worked = policy.worked(problem)
    assert worked.said[-1] == policy.tokenizer.eos_token_id and policy.text(worked.said) == problem.answer
    ids = torch.tensor([worked.prompt + worked.said])
    log_p = policy.model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]
    torch.testing.assert_close(policy.scored([worked]).logp, log_p[len(worked.prompt) - 1 :], atol=1e-5, rtol=1e-4)


def test_an_answer_may_have_lines_and_ends_with_the_text(policy):
    (problem,) = fair("following", 1, 3)
    said = policy.encode(" one\ntwo")
    assert not policy._answer(problem, [1], said, [0.0] * len(said)).right
    ended = policy._answer(problem, [1], [*said, policy.stop[-1], 5], [0.0] * (len(said) + 2))
    assert ended.said == [*said, policy.stop[-1]] and policy.text(ended.said) == "one\ntwo"


def test_an_answer_of_its_end_alone_can_be_trained(policy):
    (problem,) = fair("mathematics", 1, 3)
    silent = policy._answer(problem, policy.encode("1"), [policy.stop[-1]], [-1.0])
    assert not silent.right and policy.scored([silent, silent]).logp.shape == (2,)


def test_perplexity_is_that_of_the_pages_read_at_once(policy, monkeypatch):
    monkeypatch.setattr(study, "PAGES", ("calls",))
    monkeypatch.setattr(study, "READ", 40)
    from pydoc_data.topics import topics

    ids = torch.tensor([policy.encode(topics["calls"])[:40]])
    loss = policy.model(input_ids=ids, labels=ids).loss.item()
    assert study.perplexity(policy) == pytest.approx(math.exp(loss), rel=1e-4)


def test_a_run_tells_every_family_after_each_stage(policy, monkeypatch):
    monkeypatch.setattr(study, "SAMPLES", 2)
    monkeypatch.setattr(study, "ROOM", 4)
    monkeypatch.setattr(study, "READ", 20)
    monkeypatch.setattr(study, "WORKED", 0)  # the same seed twice
    begun = {}

    def train(policy, pool, objective, size, seed, progress):
        begun.update(pool={one.asks for one in pool}, kinds={one.kind for one in pool}, objective=objective)
        return [0.5]

    monkeypatch.setattr(study, "trained", train)
    found = study.measure(K2Config.preset("nano"), None, dataclasses.replace(SMOKE, second_families=SIZE), 0, silent)
    assert set(found["right"]) == {"SFT", "RL"} and found["success"] == [0.5] and begun["objective"] == "k2"
    assert all(len(rights[family]) == SIZE.asked for rights in found["right"].values() for family in study.SHOWN)
    assert found["right"]["SFT"] == found["right"]["RL"] and found["blind"] == dict.fromkeys(study.SHOWN, 1.0)
    before, sft, rl = (found["perplexity"][age] for age in ("before", "SFT", "RL"))
    assert before != sft == rl
    worked = {one.asks for one in study.drawn(study.SHOWN, SIZE.worked, study.WORKED)}
    assert not begun["pool"] & worked and not begun["kinds"] & {"letters", "divisors"}


def one(sft: dict, rl: dict, perplexity: float) -> dict:
    some = {family: [4] for family in study.SHOWN}
    rights = {"SFT": some | sft, "RL": some | rl}
    told = {"before": 9.0, "SFT": 10.0, "RL": perplexity}
    return {"right": rights, "blind": dict.fromkeys(study.SHOWN, 0.125), "perplexity": told}


def test_a_family_counts_by_what_is_above_fine_tuning_and_above_one_answer_to_all(monkeypatch):
    rose = {"mathematics": [12], "tables": [8], "faithfulness": [7]}
    more = rose | {"faithfulness": [8]}
    runs = [one({}, rose, 10.1), one({}, more, 10.3), one({}, rose, 10.2)]
    assert study.gained(runs)["tables"] == [25.0] * 3 and study.gained(runs)["letters"] == [0.0] * 3
    assert study.learned(runs)["following"] == [0.0] * 3
    low = [one({"tables": [0]}, rose | {"tables": [3]}, 10.0)]  # 19 points more, 6 of them above one answer to all
    assert study.gained(low)["tables"] == [18.75] and study.learned(low)["tables"] == [6.25]
    claims = study.values(SMOKE, runs)
    assert claims["rl-raises-families-of-a-second-policy"] == [18.75, 25.0, 18.75]  # the third surest of five
    assert claims["rl-keeps-a-second-policys-english"] == pytest.approx([1.0, 3.0, 2.0])
    assert study.values(SMOKE, low)["rl-raises-families-of-a-second-policy"] == [6.25]


def test_without_the_model_it_says_what_to_get(monkeypatch):
    monkeypatch.setattr(study.get, "have", lambda name: False)
    with pytest.raises(RuntimeError, match="run `k2 get smollm2`"):
        study.measure(K2Config.preset("nano"), None, dataclasses.replace(SMOKE, second_families=SIZE), 0, silent)
