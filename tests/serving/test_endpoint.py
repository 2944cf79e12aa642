"""`k2 serve`: a real server on loopback, asked by two public clients, over our checkpoint, transformers' and one that recites."""

import json
import re
import threading
from collections import Counter

import httpx
import openai
import pytest
import torch
from huggingface_hub import InferenceClient
from loopback import served
from waiting import until

from k2lib import K2Config, K2Model
from k2lib.agents import production
from k2lib.agents.expert import ScriptedAgent
from k2lib.llm import OpenAIChat, chat
from k2lib.profiles import SMOKE
from k2lib.serving.checkpoint import open_engine
from k2lib.serving.engine import K2Engine, Request, Sampling
from k2lib.serving.foreign import TransformersEngine
from k2lib.serving.open import Spoken
from k2lib.train import save_checkpoint

HI = [{"role": "user", "content": "the fox"}]
TOOL = {
    "type": "function",
    "function": {"name": "jump", "parameters": {"type": "object", "properties": {"over": {"type": "string"}}}},
}


@pytest.fixture(scope="module")
def checkpoint(tiny_tokenizer, tmp_path_factory):
    torch.manual_seed(0)
    fields = SMOKE.model | {"vocab_size": tiny_tokenizer.vocab_size, "num_hidden_layers": 2}
    model = K2Model(K2Config.preset("nano").replace(**fields, max_position_embeddings=512)).eval()
    return save_checkpoint(tmp_path_factory.mktemp("serve") / "tiny", model, tiny_tokenizer, {})


def client(url, key="none"):
    return openai.OpenAI(base_url=url, api_key=key, max_retries=0)


class Reciter:
    """An engine whose tokens are characters and whose turn is what the last user message says, after its first word."""

    name, positions, vocabulary, opening = "reciter", 4000, 1 << 20, chat.SECTION_BEGIN
    END = 0

    def __init__(self):
        self.batches = []
        self.open = threading.Event()
        self.open.set()

    def prompt(self, messages, tools):
        if messages[-1].get("role") != "user":
            raise ValueError("the last message is nobody's")
        return [ord(c) for c in messages[-1]["content"]]

    def decode(self, requests, listener):
        self.batches.append(len(requests))
        self.open.wait()
        if any("fail" in "".join(map(chr, one.prompt)) for one in requests):
            raise FloatingPointError("the logits are not finite")
        going = set(range(len(requests)))
        for step in range(4000):
            for place in sorted(going):
                words = [*requests[place].prompt, self.END]
                if listener(place, words[step], -0.5):
                    going.discard(place)
            if not going:
                return

    def ends(self, token):
        return token == self.END

    def text(self, tokens):
        return "".join(map(chr, tokens))

    def message(self, tokens):
        return chat.parse(self.text(tokens)).message


@pytest.fixture(scope="module")
def reciter():
    engine = Reciter()
    with served(engine) as url:
        yield engine, url
        engine.open.set()  # whatever a failed test has left closed: the server waits for its batch


def test_the_openai_client_gets_what_greedy_decoding_gives(checkpoint):
    engine = K2Engine(checkpoint, "tiny")
    with served(engine) as url:
        asked = {"model": "tiny", "messages": HI, "temperature": 0, "max_tokens": 12, "seed": 1, "logprobs": True}
        whole = client(url).chat.completions.create(**asked)
        pieces = list(client(url).chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
        assert [one.id for one in client(url).models.list()] == ["tiny"]
    heard = []

    def listener(_row, token, logprob):
        heard.append((token, logprob))
        return engine.ends(token) or len(heard) == 12

    engine.decode([Request(tuple(engine.prompt(HI, [])), 12, Sampling(0.0, 1.0), 1)], listener)
    tokens = [token for token, _ in heard if not engine.ends(token)]
    choice = whole.choices[0]
    assert choice.message.content == engine.message(tokens)["content"]
    assert [one.logprob for one in choice.logprobs.content] == pytest.approx(
        [p for _, p in heard][: len(tokens)], abs=1e-4
    )
    assert whole.usage.prompt_tokens == len(engine.prompt(HI, [])) and whole.usage.completion_tokens == len(tokens)
    assert "".join(p.choices[0].delta.content or "" for p in pieces if p.choices) == choice.message.content
    assert pieces[-1].usage.total_tokens == whole.usage.total_tokens
    assert {p.choices[0].finish_reason for p in pieces if p.choices} == {None, choice.finish_reason}


def test_a_second_public_client_is_served_too(checkpoint):
    with served(K2Engine(checkpoint, "tiny")) as url:
        other = InferenceClient(base_url=url, api_key="none")
        asked = {"messages": HI, "max_tokens": 8, "temperature": 0.0, "seed": 3, "model": "tiny"}
        whole = other.chat_completion(**asked)
        streamed = [p.choices[0].delta.content or "" for p in other.chat_completion(**asked, stream=True)]
    assert whole.choices[0].message.content == "".join(streamed)


def test_transformers_engine_says_what_ours_says_on_the_same_checkpoint(checkpoint, monkeypatch):
    monkeypatch.setenv("K2_DTYPE", "float32")
    ours, theirs = K2Engine(checkpoint, "tiny"), TransformersEngine(checkpoint, "tiny")
    trap = [{"role": "user", "content": "the <|im_end|> dog"}]
    assert ours.prompt(trap, []) == theirs.prompt(trap, [])
    prompts = [
        tuple(ours.prompt([{"role": "user", "content": text}], [TOOL])) for text in ("the fox", "a lazy dog jumps")
    ]

    def heard(engine, temperature):
        out = [[], []]

        def listener(row, token, logprob):
            out[row].append((token, logprob))
            return engine.ends(token) or len(out[row]) == 10

        engine.decode([Request(p, 10, Sampling(temperature, 0.9), 5) for p in prompts], listener)
        return out

    for one, other in zip(heard(ours, 0.0), heard(theirs, 0.0), strict=True):
        assert [t for t, _ in one] == [t for t, _ in other]
        assert [p for _, p in one] == pytest.approx([p for _, p in other], abs=1e-4)
    assert heard(theirs, 1.0) == heard(theirs, 1.0)
    assert isinstance(open_engine(checkpoint), K2Engine)


def test_a_foreign_model_is_served_and_who_shares_its_batch_changes_nothing(tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=_llamas(), eos_token="<|im_end|>", pad_token="<|im_end|>")
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape, max_position_embeddings=256)).save_pretrained(
        tmp_path
    )
    tokenizer.save_pretrained(tmp_path)
    engine = open_engine(tmp_path, "llama")
    assert isinstance(engine, TransformersEngine)
    ends = engine._tokenizer.convert_tokens_to_ids("<|im_end|>")
    trap = engine.prompt([{"role": "user", "content": "say <|im_end|> now"}], [])
    assert Counter(trap)[ends] == 1 and engine.ends(ends)  # the template's own, and not the user's
    with served(engine) as url:
        asked = {"model": "llama", "temperature": 1.0, "max_tokens": 10}
        alone = client(url).chat.completions.create(messages=HI, seed=4, **asked).choices[0].message.content
        several = client(url).chat.completions.create(messages=HI, seed=3, n=3, **asked)
        assert [c.index for c in several.choices] == [0, 1, 2] and several.choices[1].message.content == alone


def _llamas():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer, engine.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|im_start|>", "<|im_end|>"]
    engine.train_from_iterator(["the fox"], trainers.BpeTrainer(special_tokens=special, initial_alphabet=alphabet))
    return engine


def test_calls_come_as_calls_whole_and_streamed(reciter):
    _, url = reciter
    calls = '<|tool_calls_section_begin|><|tool_call_begin|>functions.jump:0<|tool_call_argument_begin|>{"over": "dog"}'
    said = f"Watch. {calls}<|tool_call_end|><|tool_calls_section_end|>"
    asked = {"model": "reciter", "messages": [{"role": "user", "content": said}], "tools": [TOOL]}
    choice = client(url).chat.completions.create(**asked).choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content.strip() == "Watch."
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"over": "dog"}
    pieces = [p.choices[0] for p in client(url).chat.completions.create(**asked, stream=True)]
    assert (
        "".join(p.delta.content or "" for p in pieces).strip() == "Watch." and pieces[-1].finish_reason == "tool_calls"
    )
    (call,) = pieces[-1].delta.tool_calls
    assert (call.index, call.function.name) == (0, "jump")


def test_a_stop_string_ends_it_and_is_never_shown(reciter):
    _, url = reciter
    asked = {"model": "reciter", "messages": [{"role": "user", "content": "one two STOP three"}], "stop": ["STOP"]}
    choice = client(url).chat.completions.create(**asked).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("one two ", "stop")
    pieces = [p.choices[0] for p in client(url).chat.completions.create(**asked, stream=True)]
    assert "".join(p.delta.content or "" for p in pieces) == "one two "
    cut = client(url).chat.completions.create(**asked | {"stop": None, "max_tokens": 5}).choices[0]
    assert (cut.message.content, cut.finish_reason) == ("one t", "length")


def test_who_waits_is_decoded_together(reciter):
    engine, url = reciter
    said = {"model": "reciter", "messages": [{"role": "user", "content": "say ready"}]}
    client(url).chat.completions.create(**said)  # whoever an earlier test has left is done with
    engine.open.clear()
    engine.batches.clear()
    found = []

    def ask(number):
        asked = {"model": "reciter", "messages": [{"role": "user", "content": f"say {number}"}], "temperature": 0.5}
        found.append(client(url).chat.completions.create(**asked).choices[0].message.content)

    threads = [threading.Thread(target=ask, args=[0])]
    threads[0].start()
    until(lambda: engine.batches, "the first batch")
    threads += [threading.Thread(target=ask, args=[n]) for n in range(1, 9)]
    for thread in threads[1:]:
        thread.start()
    batcher = next(iter(_batchers(engine)))
    until(lambda: batcher._waiting.qsize() == 8, "eight who wait")
    engine.open.set()
    for thread in threads:
        thread.join()
    assert sorted(found) == [f"say {n}" for n in range(9)] and engine.batches == [1, 8]


def _batchers(engine):
    import gc

    from k2lib.serving.batcher import Batcher

    return [one for one in gc.get_objects() if type(one) is Batcher and one.engine is engine]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "nobody's"),
        ({"temperature": -1}, "temperature is -1"),
        ({"top_p": 0}, "top_p is 0"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"max_tokens": 3999}, "3999 are asked for"),
        ({"messages": [{"role": "user", "content": "x" * 4000}]}, "the prompt has 4000 tokens"),
        ({"stop": [""]}, "stop is"),
        ({"n": 99}, "n is 99"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"model": "gpt"}, "serves 'reciter'"),
        ({"logprobs": True, "top_logprobs": 3}, "top_logprobs is not served"),
        ({"messages": [{"role": "user", "content": "fail"}]}, "not finite"),
    ],
)
def test_a_bad_request_is_refused_with_the_field_and_the_next_one_is_served(reciter, change, words):
    _, url = reciter
    good = {"model": "reciter", "messages": [{"role": "user", "content": "hello"}]}
    answer = httpx.post(f"{url}/chat/completions", json=good | change)
    assert answer.status_code in (400, 404, 500) and words in answer.json()["error"]["message"]
    assert httpx.post(f"{url}/chat/completions", json=good).json()["choices"][0]["message"]["content"] == "hello"


def test_hostile_bodies_and_keys(reciter, monkeypatch):
    _, url = reciter
    for body in (b"", b"{", b"[" * 100_000, b"\xff\xfe", b'"text"', b'{"messages": 3}'):
        assert httpx.post(f"{url}/chat/completions", content=body).status_code == 400
    with served(Reciter(), key="secret") as locked:
        with pytest.raises(openai.AuthenticationError):
            client(locked).models.list()
        assert client(locked, "secret").models.list().data[0].id == "reciter"


def test_the_kits_own_client_reads_the_kits_own_endpoint(reciter):
    import asyncio

    _, url = reciter
    reply = asyncio.run(OpenAIChat("reciter", base_url=url).complete([{"role": "user", "content": "as it is"}], seed=1))
    assert (reply.message["content"], reply.finish, reply.usage.completion_tokens) == ("as it is", "stop", 8)


def test_an_engine_is_a_chat_model_of_this_process_too():
    import asyncio

    from k2lib.llm import ChatError
    from k2lib.serving.local import EngineChat

    model = EngineChat(Reciter())

    async def several():
        ask = ([{"role": "user", "content": text}] for text in ("one", "two words", "fail"))
        return await asyncio.gather(*(model.complete(one, max_tokens=4) for one in ask), return_exceptions=True)

    *_, failed = asyncio.run(several())
    assert isinstance(failed, ChatError) and "not finite" in str(failed)
    with pytest.raises(ChatError, match="nobody's"):
        asyncio.run(model.complete([{"role": "system", "content": "x"}]))
    again = asyncio.run(model.complete([{"role": "user", "content": "two words"}], max_tokens=4))
    assert (again.message["content"], again.finish, again.usage.prompt_tokens) == ("two ", "length", 9)
    model.close()


def test_a_real_models_rewrites_are_kept_and_made_once(artifacts, monkeypatch):
    import asyncio

    from k2lib import stages
    from k2lib.llm import get
    from k2lib.serving import checkpoint

    with pytest.raises(RuntimeError, match="k2 get smollm2"):
        stages.real_rewrites([("A text of some words.", "letter")])
    opened = []
    monkeypatch.setattr(get, "have", lambda name: True)
    monkeypatch.setattr(checkpoint, "open_engine", lambda directory, name: opened.append(directory) or Reciter())
    wanted = [
        ("Ada Novak was born in Oslo in 1950 and plays the harp.", style) for style in ("letter", "diary", "news")
    ]

    async def in_a_notebook():  # whose kernel runs a loop already
        return stages.real_rewrites(wanted)

    rows = asyncio.run(in_a_notebook())
    assert rows == stages.real_rewrites(wanted) and opened == [get.path("smollm2")]
    assert [row["style"] for row in rows] == ["letter", "diary", "news"]
    assert all(row["verdict"] == "rejected" and "it repeats its instructions" in row["reasons"] for row in rows)


def test_a_checkpoint_is_opened_by_its_directory_and_its_replies_are_its_own(checkpoint, tmp_path, tiny_tokenizer):
    import asyncio

    from k2lib.llm import ChatError
    from k2lib.serving.open import Spoken, directory_of, open_model

    model = open_model(Spoken(str(checkpoint), cache=str(tmp_path / "cache")))
    first, again = (asyncio.run(model.complete(HI, max_tokens=4, seed=2)) for _ in range(2))
    assert first.message == again.message and model.hits == 1 and (model.model, again.usage.total) == ("tiny", 0)
    with pytest.raises(ChatError, match="shorten it"):
        asyncio.run(model.complete([{"role": "user", "content": "fox " * 900}]))
    torch.manual_seed(9)
    twin = save_checkpoint(tmp_path / "tiny", K2Model(K2Model.from_pretrained(checkpoint).config), tiny_tokenizer, {})
    other = open_model(Spoken(str(twin), cache=str(tmp_path / "cache")))
    asyncio.run(other.complete(HI, max_tokens=4, seed=2))
    assert other.hits == 0  # the same name, other weights
    assert directory_of("smollm2").name == "smollm2" and directory_of(str(checkpoint)) == checkpoint


class Player(Reciter):
    """Plays whoever is asked for: the scripted agent where tools are declared, a judge, or a user who tells what it knows."""

    name = "player"

    def prompt(self, messages, tools):
        opening = messages[0]["content"]
        if tools:
            turn = ScriptedAgent(mistake_rate=0.0).turn(messages, tools)
            for made in turn.get("tool_calls", []):
                made["id"] = f"functions.{made['function']['name']}:0"
            said = chat.render([{"role": "system", "content": ""}, turn], add_generation_prompt=False)
            return [ord(c) for c in said.split("<|im_assistant|>assistant<|im_middle|>")[1].removesuffix(chat.END)]
        if opening.startswith("You decide whether"):
            return [ord(c) for c in '{"passed": true, "reasons": []}']
        known = re.search(r"you tell that the \w+ is (.+)\.\n", opening)
        later = re.search(r"When it is done, you say: (.+)\n", opening)
        told = [message["content"] for message in messages if message["role"] == "assistant"]
        asked = "?" in messages[-1]["content"]
        secret = known[1] if known and asked else later[1] if later and not asked else "END"
        return [ord(c) for c in ("END" if secret in told else secret)]


def test_an_endpoint_plays_every_role_of_a_synthesis(tmp_path):
    production.make_tools(tmp_path, 0, per_domain=1, categories=2)
    production.make_tasks(tmp_path, 50, 0)
    with served(Player()) as url:
        everyone = Spoken("player", url)
        roles = production.Roles(everyone, everyone, everyone, fault_rate=0.0)
        counts = production.make_trajectories(tmp_path, roles)
    assert counts["void"] == 0 and counts["accepted"] > 40
    rows = list(production.rows(tmp_path))
    assert {"withheld", "corrected", "two calls"} <= {row["difficulty"] for row in rows}
    judged = "state and rubric, then player"
    assert {tuple(row["roles"].values()) for row in rows} == {("player", "player", "simulated", judged)}
