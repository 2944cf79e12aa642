"""The study of Table 1: its texts say what their arm's name says, its questions can be failed and passed."""

import random
from collections import Counter

import pytest
import torch

from k2lib import K2Config, K2Model, machine
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.corpus.world import World, question_text
from k2lib.model.generate import sample
from k2lib.profiles import SMOKE
from k2lib.runner.estimate import READINGS
from k2lib.studies import ingestion, table1
from k2lib.studies.examination import answered, chosen

WORLD = World.generate(5, 40)
PEOPLE = WORLD.people[20:]


@pytest.fixture(scope="module")
def arms():
    return table1.Tellings(WORLD, PEOPLE, 1).arms()


def test_every_arm_tells_every_fact_of_everyone_unless_it_is_wrong_on_purpose(arms):
    facts = {person: [fact.value for fact in WORLD.facts(person)] for person in PEOPLE}
    for name, (passes, exposures) in arms.items():
        if "wrong" in name:
            continue
        assert exposures in (2, 5, 10, 20) and len(passes) in (1, 2, 5, 10, 20)
        for texts in passes:
            for person, text in zip(PEOPLE, texts, strict=True):
                assert all(value in text for value in facts[person]), (name, text)


def test_the_estimate_knows_how_much_is_read(arms):
    assert sum(exposures for _, exposures in arms.values()) == READINGS["large"]
    assert sum(arms[name][1] for name in (table1.RAW, table1.ONE, table1.TEN)) == READINGS["small"]


def test_arms_differ_in_what_their_name_says(arms):
    def tellings(name):
        return [len(set(of)) for of in zip(*arms[name][0], strict=True)]

    assert set(tellings(table1.RAW)) == {1} and min(tellings(table1.TEN)) == 10 and min(tellings("20 × 1")) >= 18
    assert arms["1 × 10"][0] == arms[table1.TEN][0][:1] and arms["5 × 2"][0] == arms[table1.TEN][0][:5]
    for texts in arms["sentences shuffled"][0]:
        for raw, text in zip(arms[table1.RAW][0][0], texts, strict=True):
            assert Counter(raw.split()) == Counter(text.split())
    assert min(tellings("sentences shuffled")) > 5
    one_style = {text.split(":")[1][:9] for texts in arms["10 in one style"][0] for text in texts}
    assert one_style == {" an entry"}
    values = [fact.value for fact in WORLD.facts(PEOPLE[0])]
    orders = {
        name: {tuple(sorted(values, key=texts[0].index)) for texts in arms[name][0]}
        for name in ("10 in one order", table1.TEN)
    }
    assert len(orders["10 in one order"]) == 1 < len(orders[table1.TEN])


def test_no_text_of_an_arm_asks_what_the_examination_asks(arms):
    assert not any("?" in text and "Answer:" in text for passes, _ in arms.values() for one in passes for text in one)


def test_a_fifth_of_the_rewrites_is_wrong_and_the_check_removes_most_of_them():
    world = World.generate(6, 300)
    tellings = table1.Tellings(world, world.people, 1)
    arms = tellings.arms()
    good, bad = arms["2 × 5"][0], arms["2 × 5, 20% wrong"][0]
    changed = sum(a != b for one, other in zip(good, bad, strict=True) for a, b in zip(one, other, strict=True))
    wrong, caught, alarms = tellings.checked["20%"]
    assert changed == wrong and 80 <= wrong <= 160 and 0.6 < caught / wrong < 1 and alarms < 20
    assert sum(map(len, arms["2 × 5, 20% wrong, checked"][0])) == 600 - caught - alarms


@pytest.fixture(scope="module")
def school():
    size, config = SMOKE.ingestion, K2Config.preset("nano").replace(**SMOKE.model)
    return ingestion.school(config.replace(**size.small), size, 1), size


def test_right_answers_are_those_that_greedy_decoding_gives(school, monkeypatch):
    monkeypatch.setenv("K2_DTYPE", "float32")
    of, _ = school
    questions = [qa.question for person in of.world.people for qa in of.world.questions(person)]
    greedy = sample(of.model, [of.tokenizer.encode(question_text(q)) for q in questions], max_new_tokens=3)
    said = [(q, done.tokens, of.tokenizer.decode(done.tokens)) for q, done in zip(questions, greedy, strict=True)]
    said = [(q, text[1:]) for q, tokens, text in said if text[:1] == " " and of.tokenizer.encode(text) == tokens]
    assert len(said) >= 20 and all(answered(of.model, of.tokenizer, said))
    assert not any(answered(of.model, of.tokenizer, [(q, f"Q{text}") for q, text in said]))


def test_the_likeliest_of_several_answers_is_chosen(school):
    of, _ = school
    answers = ["in the garden", "Lisbon", "zzqx qqqz"]
    scores = []
    for answer in answers:
        prompt, words = (
            of.tokenizer.encode(question_text("Where was Ada Novak born?")),
            of.tokenizer.encode(f" {answer}"),
        )
        rows = torch.tensor([[*prompt, *words]], device=machine.device())
        scores.append(of.model.token_logprobs(rows)[0, len(prompt) - 1 :].sum().item())
    best = max(range(3), key=scores.__getitem__)
    assert chosen(of.model, of.tokenizer, [("Where was Ada Novak born?", answers)]) == [best]


def test_an_arm_reads_its_budget_and_leaves_the_base_model_alone(school):
    of, size = school
    before = of.model.embed_tokens.weight.clone()
    seen = []

    def progress(items, name, total):
        seen.append((name, total))
        return items

    texts = [[of.world.document(p, "notes", random.Random(0)) for p in of.new]]
    half = size.batch_size // 2 * size.seq_len
    model = ingestion.ingest(of, texts, 3 * half, size, 1, progress, "arm")
    assert seen == [("arm", 3)] and isinstance(model, K2Model) and not torch.equal(model.embed_tokens.weight, before)
    assert torch.equal(of.model.embed_tokens.weight, before)


def test_the_tokenizer_is_of_the_lessons_and_the_new_people_are_in_none(school):
    of, size = school
    text = of.tokenizer.decode(of.learned.tolist(), control=False)
    assert isinstance(of.tokenizer, Tokenizer) and len(of.new) == size.new
    assert not any(person in text for person in of.new) and of.world.people[0] in text
