"""Chat models: the client against a real server on loopback, the scripted writer, our own checkpoint."""

import asyncio
import contextlib
import gc
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from waiting import FAR

from k2lib import K2Config, K2Model, llm
from k2lib.profiles import SMOKE

GOOD = {
    "id": "x",
    "object": "chat.completion",
    "created": 0,
    "model": "served",
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
}


def said(content, finish="stop"):
    message = {"role": "assistant", "content": content}
    return GOOD | {"choices": [{"index": 0, "finish_reason": finish, "message": message}]}


ASK = [{"role": "user", "content": "hi"}]


@pytest.fixture
def server():
    """A server that gives the queued (status, body) answers one after another and notes what it was asked."""
    answers, asked = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, body = answers.pop(0) if len(answers) > 1 else answers[0]
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if not isinstance(body, bytes) else "text/html")
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}/v1", answers, asked
    http.shutdown()


def ask(url, **settings):
    return asyncio.run(llm.OpenAIChat("m", base_url=url, timeout=FAR, max_retries=2, **settings).complete(ASK, seed=7))


def test_a_reply_is_read_and_the_request_carries_what_was_asked(server):
    url, answers, asked = server
    answers.append((200, GOOD))
    reply = ask(url)
    assert reply.message == {"role": "assistant", "content": "hello"}
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.model) == (3, 2, "served")
    assert asked[0]["seed"] == 7 and asked[0]["messages"] == ASK


def test_throttling_and_server_errors_are_tried_again(server):
    url, answers, asked = server
    answers += [(429, {"error": {"message": "slow down"}}), (500, {"error": {"message": "oops"}}), (200, GOOD)]
    assert ask(url).message["content"] == "hello"
    assert len(asked) == 3


@pytest.mark.parametrize(
    "status, body, words",
    [
        (200, b"<html>proxy login</html>", "no chat endpoint"),
        (200, GOOD | {"choices": []}, "no choices"),
        (
            200,
            GOOD
            | {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": None}}]},
            "neither text",
        ),
        (200, said("  \n"), "neither text"),
        (200, said("<think>so long", "length"), "neither text nor tool calls; it was cut, so raise max_tokens"),
        (401, {"error": {"message": "bad key"}}, "K2_LLM_API_KEY"),
        (500, {"error": {"message": "down"}}, "failed"),
    ],
)
def test_what_is_no_reply_is_an_error_that_names_the_endpoint(server, status, body, words):
    url, answers, _ = server
    answers.append((status, body))
    with pytest.raises(llm.ChatError, match=words):
        ask(url)


@pytest.mark.parametrize(
    "content, text",
    [("<think>hm</think>hello", "hello"), ("hm</think>\nhello", "\nhello"), ("a<think>b</think>c<think>d", "ac")],
)
def test_thoughts_are_no_part_of_a_reply(server, content, text):
    url, answers, _ = server
    answers.append((200, said(content)))
    assert ask(url).message["content"] == text


def test_a_server_that_drips_is_given_up():
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip():
        connection, _ = listener.accept()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n")
        with contextlib.suppress(OSError):
            while not over.wait(0.02):
                connection.sendall(b" ")
        connection.close()

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    model = llm.OpenAIChat("m", base_url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1", timeout=0.5, max_retries=0)
    with pytest.raises(llm.ChatError, match=r"gave no whole answer in 0\.5 s"):
        asyncio.run(model.complete(ASK))
    over.set()
    thread.join(FAR)
    listener.close()


def test_a_loop_closes_the_connections_that_were_made_in_it(server, caplog):
    url, answers, _ = server
    answers.append((200, GOOD))
    model, clients = llm.OpenAIChat("m", base_url=url, timeout=FAR), []

    async def work():
        await model.complete(ASK)
        clients.append((await model._of_this_loop())[0])

    for _ in range(3):
        asyncio.run(work())
    assert len(clients) == 3 and all(client.is_closed() for client in clients)
    gc.collect()
    assert not caplog.records


@pytest.mark.parametrize("url", ["127.0.0.1:8000/v1", "localhost", "ftp://x", "http://", "https:// x"])
def test_a_base_url_that_is_none_is_refused_at_once(url):
    with pytest.raises(ValueError, match="write it like http"):
        llm.OpenAIChat("m", base_url=url)


def test_an_endpoint_that_is_not_there_is_an_error():
    with pytest.raises(llm.ChatError, match="K2_LLM_BASE_URL"):
        ask("http://127.0.0.1:9/v1")


def test_the_environment_chooses_and_never_falls_back(monkeypatch):
    monkeypatch.delenv("K2_LLM_BASE_URL", raising=False)
    assert llm.from_environment().model == "scripted"
    monkeypatch.setenv("K2_LLM_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.delenv("K2_LLM_MODEL", raising=False)
    with pytest.raises(ValueError, match="K2_LLM_MODEL"):
        llm.from_environment()
    monkeypatch.setenv("K2_LLM_MODEL", "kimi")
    assert llm.from_environment().model == "kimi"
    monkeypatch.setenv("K2_LLM_API_KEY", "")
    with pytest.raises(ValueError, match="K2_LLM_API_KEY is set and empty"):
        llm.from_environment()


def test_our_own_checkpoint_answers_in_chat_form(tiny_tokenizer):
    model = K2Model(K2Config.preset("nano").replace(**SMOKE.model | {"vocab_size": tiny_tokenizer.vocab_size})).eval()
    reply = asyncio.run(llm.LocalChat(model, tiny_tokenizer).complete(ASK, max_tokens=5, temperature=1.0, seed=1))
    assert reply.message["role"] == "assistant" and reply.usage.completion_tokens <= 5


def test_what_our_own_checkpoint_cannot_read_is_a_chat_error(tiny_tokenizer):
    fields = SMOKE.model | {"vocab_size": tiny_tokenizer.vocab_size, "max_position_embeddings": 64}
    model = llm.LocalChat(K2Model(K2Config.preset("nano").replace(**fields)).eval(), tiny_tokenizer)
    for messages in ([{"role": "user", "content": "fox " * 99}], [{"role": "robot", "content": "x"}]):
        with pytest.raises(llm.ChatError, match="local: "):
            asyncio.run(model.complete(messages, max_tokens=5))
