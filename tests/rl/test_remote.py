"""Rollouts by an endpoint: `k2 serve` over a checkpoint, one that tells texts in place of ids, and one that is gone."""

import asyncio
import contextlib
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
import torch
from letters import Letters
from loopback import served

from k2lib.agents import tasks
from k2lib.gym.play import Played, play, play_on
from k2lib.gym.tool_use import ToolUse
from k2lib.llm import chat
from k2lib.llm.protocol import ChatError
from k2lib.model import K2Model
from k2lib.profiles import SMOKE
from k2lib.rl import remote
from k2lib.rl.policy import policy_gradients
from k2lib.rl.remote import Endpoint, Remote, ids, play_remotely
from k2lib.rl.trainer import train_rl
from k2lib.serving.batcher import Batcher
from k2lib.serving.engine import K2Engine, Request, Sampling
from k2lib.train import save_checkpoint


@pytest.fixture
def tiny(model, tiny_tokenizer, tmp_path, monkeypatch):
    """(URL, the model behind it): turns end, some early."""
    monkeypatch.setenv("K2_DTYPE", "float32")
    with torch.no_grad():
        model.lm_head.weight[tiny_tokenizer.encode_control(chat.END)] *= 4
    path = save_checkpoint(tmp_path / "served", model, tiny_tokenizer, {})
    with served(K2Engine(path, "tiny"), weights=tmp_path) as url:
        yield url, model


def endpoint(url, tokenizer, model):
    return Endpoint("tiny", url, tokenizer, model.config.max_position_embeddings)


def test_what_an_endpoint_plays_is_what_the_model_plays_and_can_be_trained_on(tiny, tiny_tokenizer):
    url, model = tiny
    problems = [Letters("a"), ToolUse(tasks.generate(1, 0)[0])]
    ((far,), (tools,)) = play_remotely(endpoint(url, tiny_tokenizer, model), problems, temperature=0.0)
    ((near,), (own,)) = play(model, tiny_tokenizer, problems)
    assert (far.ids, far.mask, far.truncated) == (near.ids, near.mask, near.truncated)
    assert (tools.ids, tools.turns) == (own.ids, own.turns)
    torch.testing.assert_close(torch.tensor(far.logprobs), torch.tensor(near.logprobs), atol=1e-4, rtol=1e-3)
    groups = play_remotely(endpoint(url, tiny_tokenizer, model), problems, samples=6, seed=3)
    assert any(one.ids[-1] == tiny_tokenizer.encode_control(chat.END) for one in groups[0])
    seen = policy_gradients(model, groups, SMOKE.rl, tiny_tokenizer.pad_id, None)
    assert seen.apart.mean() < 1e-3 and len({tuple(one.ids) for one in groups[0]}) > 1


def test_ids_go_in_and_come_out(tiny, tiny_tokenizer):
    url, model = tiny
    asked = {"model": "tiny", "prompt": [5, 6, 7], "max_tokens": 4, "temperature": 0, "n": 2}
    told = httpx.post(f"{url}/completions", json=asked).json()
    assert len(told["choices"]) == 2 and told["usage"]["prompt_tokens"] == 3
    first = told["choices"][0]
    assert len(ids(first["logprobs"]["tokens"])) == len(first["logprobs"]["token_logprobs"]) <= 4
    for wrong in (
        {"prompt": "text"},
        {"prompt": []},
        {"prompt": [model.config.vocab_size]},
        {"prompt": [True]},
        {"max_tokens": 1 << 19},
    ):
        answer = httpx.post(f"{url}/completions", json=asked | wrong)
        assert answer.status_code == 400 and answer.json()["error"]["param"] in ("prompt", "max_tokens")


@contextlib.contextmanager
def answering(told: dict):
    """A server that always answers with this."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            body = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("logprobs", "said"),
    [
        ({"tokens": ["the", "fox"], "token_logprobs": [-1.0, -1.0]}, "must know return_tokens_as_token_ids"),
        ({"tokens": ["token_id:5"], "token_logprobs": []}, "1 tokens and 0 log-probabilities"),
        ({"tokens": [], "token_logprobs": []}, "0 tokens"),
        (None, "failed"),
    ],
)
def test_an_endpoint_that_tells_no_ids_voids_the_episode_and_says_why(tiny_tokenizer, model, logprobs, said):
    choice = {"index": 0, "text": "the fox", "finish_reason": "stop", "logprobs": logprobs}
    with answering({"id": "x", "object": "text_completion", "created": 0, "model": "tiny", "choices": [choice]}) as url:
        ((one,),) = play_remotely(endpoint(url, tiny_tokenizer, model), [Letters("a")])
    assert one.outcome.status == "void" and said in one.outcome.why and url in one.outcome.why


def test_an_endpoint_that_is_gone_voids_its_episodes(tiny_tokenizer, model, monkeypatch):
    gone = endpoint("http://127.0.0.1:9/v1", tiny_tokenizer, model)
    gone._settings["max_retries"] = 0
    groups = play_remotely(gone, [Letters("a")], samples=3)
    assert all(one.outcome.status == "void" and "127.0.0.1:9" in one.outcome.why for one in groups[0])
    assert replace(groups[0][0]).broken and isinstance(ChatError("x"), RuntimeError)


def test_an_endpoint_plays_with_the_weights_that_it_took(tiny, tiny_tokenizer, tmp_path):
    url, model = tiny
    player, problem = Remote(endpoint(url, tiny_tokenizer, model), tmp_path), Letters("a")
    with torch.no_grad():
        model.lm_head.weight.copy_(model.lm_head.weight.flip(0))
    far, near = (Played.start(problem, tiny_tokenizer) for _ in range(2))
    player(model, tiny_tokenizer, [far], temperature=0.0, seed=0, allowance=None)
    play_on(model, tiny_tokenizer, [near])
    assert far.ids == near.ids and [path.name for path in tmp_path.iterdir()] == ["served"]
    torch.testing.assert_close(torch.tensor(far.logprobs), torch.tensor(near.logprobs), atol=1e-4, rtol=1e-3)


def test_an_allowance_pauses_an_episode_where_it_pauses_here(tiny, tiny_tokenizer):
    url, model = tiny
    far, near = (Played.start(Letters("a"), tiny_tokenizer) for _ in range(2))
    for _ in range(3):
        remote.play_on(endpoint(url, tiny_tokenizer, model), [far], temperature=0.0, seed=0, allowance=2)
        play_on(model, tiny_tokenizer, [near], allowance=2)
        assert (far.ids, far.unfinished, far.over) == (near.ids, near.unfinished, near.over)
    assert sum(far.mask) > 2


def test_episodes_that_lose_the_endpoint_are_counted_and_the_others_trained(
    tiny, tiny_tokenizer, tmp_path, monkeypatch
):
    url, model = tiny
    real, asked = Endpoint.turn, []

    async def turn(self, *arguments):
        asked.append(arguments)
        if len(asked) % 3 == 0:
            raise ChatError("it is gone")
        return await real(self, *arguments)

    monkeypatch.setattr(Endpoint, "turn", turn)
    size = replace(SMOKE.rl, steps=2, prompts=2, samples=4, development=2)
    player = Remote(endpoint(url, tiny_tokenizer, model), tmp_path)
    problems = [Letters(letter) for letter in "abcdefgh"]
    result = train_rl(model, tiny_tokenizer, problems, problems[:1], None, size, player=player)
    assert all(0 < step["void"] < 8 for step in result.history) and len(asked) >= 16
    assert all(step["mismatch"] < 1e-3 for step in result.history) and len(result.history) == 2
    assert all(step["groups"] > 0 and step["drift"] > 0 for step in result.history)  # updates led away from who sampled


def test_what_is_over_stays_so_when_weights_are_not_taken(model, tiny_tokenizer, tmp_path):
    gone = endpoint("http://127.0.0.1:9/v1", tiny_tokenizer, model)
    gone._settings["max_retries"] = 0
    over, other = (Played.start(Letters("a"), tiny_tokenizer) for _ in range(2))
    over.truncated = True
    Remote(gone, tmp_path)(model, tiny_tokenizer, [over, other], temperature=1.0, seed=0, allowance=None)
    assert (over.outcome.status, other.outcome.status) == ("fail", "void") and not list(tmp_path.iterdir())


def test_an_endpoint_that_takes_no_weights_ends_the_run_and_says_why(model, tiny_tokenizer, tmp_path):
    path = save_checkpoint(tmp_path / "served", model, tiny_tokenizer, {})
    size, problems = replace(SMOKE.rl, steps=1, prompts=2, samples=2, development=0), [Letters("a"), Letters("b")]
    with served(K2Engine(path, "tiny")) as url:
        player = Remote(Endpoint.at(url, tiny_tokenizer, 1 << 20), tmp_path)
        with pytest.raises(RuntimeError, match=r"all 4 episodes .* has not taken the new weights .* --takes-weights"):
            train_rl(model, tiny_tokenizer, problems, problems, None, size, player=player)


def test_the_served_model_is_found_and_a_url_where_nobody_answers_is_named(tiny, tiny_tokenizer, monkeypatch):
    url, model = tiny
    found = Endpoint.at(url, tiny_tokenizer, 1 << 20)
    assert (found.model, found.positions) == ("tiny", model.config.max_position_embeddings)
    assert Endpoint.at(url, tiny_tokenizer, 8).positions == 8
    with pytest.raises(ChatError, match=r"127\.0\.0\.1:9/v1 lists no model"):
        Endpoint.at("http://127.0.0.1:9/v1", tiny_tokenizer, 8, timeout=1.0)


def test_who_leaves_before_the_weights_have_changed_stops_nobody(model, tiny_tokenizer, tmp_path):
    engine = K2Engine(save_checkpoint(tmp_path / "served", model, tiny_tokenizer, {}), "tiny")
    batcher, entered, free = Batcher(engine), threading.Event(), threading.Event()

    def slowly():
        entered.set()
        free.wait()
        return engine

    async def asked():
        first = asyncio.create_task(batcher.serve(slowly))
        await asyncio.to_thread(entered.wait)
        left = asyncio.create_task(batcher.serve(lambda: None))
        await asyncio.sleep(0)  # it stands in the queue
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        free.set()
        await first
        async for event in batcher.listen(Request((5, 6), 2, Sampling(0.0, 1.0), 0)):
            last = event
        return last

    assert asyncio.run(asked()).finish in ("length", "stop") and batcher.engine is engine
    batcher.close()


def test_other_weights_come_from_the_folder_alone_and_are_of_the_same_model(
    tiny, tiny_tokenizer, tmp_path, tmp_path_factory
):
    url, model = tiny
    outside = save_checkpoint(tmp_path_factory.mktemp("outside") / "other", model, tiny_tokenizer, {})
    (tmp_path / "link").symlink_to(outside)
    (tmp_path / "empty").mkdir()
    shorter = K2Model(replace(model.config, max_position_embeddings=model.config.max_position_embeddings // 2))
    save_checkpoint(tmp_path / "shorter", shorter, tiny_tokenizer, {})
    route, served_before = url.removesuffix("/v1") + "/update_weights_from_disk", tmp_path / "served"
    wrong = [
        outside,
        tmp_path / "link",
        tmp_path,
        tmp_path / "empty",
        tmp_path / "no",
        tmp_path / "shorter",
        "",
        3,
        None,
    ]
    for path in wrong:
        told = httpx.post(route, json={"model_path": path if path is None or isinstance(path, int) else str(path)})
        assert told.status_code == 400 and told.json()["error"]["param"] == "model_path", path
    assert httpx.post(route, json=["x"]).status_code == 400
    assert httpx.post(route, json={"model_path": str(served_before)}).json()["success"] is True
