"""The endpoint: /v1/chat/completions, whole or as a stream, /v1/completions by token ids, and /v1/models, over one checkpoint."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request as WebRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from k2lib.serving import wire
from k2lib.serving.batcher import Batcher, Ended
from k2lib.serving.checkpoint import open_engine
from k2lib.serving.engine import Engine, Request
from k2lib.serving.turn import Turn
from k2lib.serving.wire import Asked, Refused

LARGEST_BODY = 16 << 20  # bytes


def application(engine: Engine, *, batch: int = 16, key: str = "", weights: Path | None = None) -> Starlette:
    """An ASGI application. With a `key` every request must carry it as its bearer token.

    With a folder `weights`, POST /update_weights_from_disk {"model_path"} serves a checkpoint in it from then on, other weights of
    the same model; requests that came before are answered by the old ones. The route is SGLang's.
    """
    batcher = Batcher(engine, batch)

    async def models(request: WebRequest) -> Response:
        _authorized(request, key)
        one = {"id": engine.name, "object": "model", "created": 0, "owned_by": "k2lib"}
        return JSONResponse({"object": "list", "data": [one | {"max_model_len": engine.positions}]})

    async def completions(request: WebRequest) -> Response:
        _authorized(request, key)
        asked = wire.read(await _body(request), engine.name)
        requests = _requests(engine, asked)
        identity = f"chatcmpl-{secrets.token_hex(12)}"
        if asked.stream:
            return StreamingResponse(_stream(batcher, asked, requests, identity), media_type="text/event-stream")
        turns = await asyncio.gather(*(_whole(batcher, asked, one) for one in requests))
        used = wire.usage(len(requests[0].prompt), sum(len(turn.tokens) for turn in turns))
        choices = [_choice(asked, place, turn) for place, turn in enumerate(turns)]
        return JSONResponse(wire.head("chat.completion", engine.name, identity) | {"choices": choices, "usage": used})

    async def by_ids(request: WebRequest) -> Response:
        _authorized(request, key)
        asked = wire.read_ids(await _body(request), engine.name, engine.vocabulary)
        if (room := engine.positions - len(asked.prompt)) < asked.max_tokens:
            raise Refused(f"{asked.max_tokens} tokens are asked for and there is room for {room}", field="max_tokens")
        seed = secrets.randbelow(1 << 40) if asked.seed is None else asked.seed % (1 << 40)
        requests = [Request(asked.prompt, asked.max_tokens, asked.sampling, seed + i) for i in range(asked.choices)]
        said = await asyncio.gather(*(_ids(batcher, one) for one in requests))
        choices = [
            {
                "index": i,
                "text": engine.text(tokens),
                "finish_reason": finish,
                "logprobs": wire.token_ids(tokens, values),
            }
            for i, (tokens, values, finish) in enumerate(said)
        ]
        used = wire.usage(len(asked.prompt), sum(len(tokens) for tokens, _, _ in said))
        head = wire.head("text_completion", engine.name, f"cmpl-{secrets.token_hex(12)}")
        return JSONResponse(head | {"choices": choices, "usage": used})

    async def take(request: WebRequest) -> Response:
        _authorized(request, key)
        path = wire.read_path(await _body(request), weights)
        try:
            await batcher.serve(lambda: _same(engine, open_engine(path, engine.name)))
        except (OSError, ValueError) as error:
            raise Refused(str(error), field="model_path") from None
        return JSONResponse({"success": True, "message": f"serving {path}"})

    @asynccontextmanager
    async def lifespan(_app: Starlette):
        yield
        batcher.close()

    routes = [
        Route("/v1/models", models),
        Route("/v1/chat/completions", completions, methods=["POST"]),
        Route("/v1/completions", by_ids, methods=["POST"]),
        Route("/health", lambda _request: Response("ok")),
    ]
    if weights is not None:
        routes.append(Route("/update_weights_from_disk", take, methods=["POST"]))
    return Starlette(routes=routes, exception_handlers={Refused: _refuse}, lifespan=lifespan)


def _same(engine: Engine, other: Engine) -> Engine:
    """The other one. ValueError if it is no engine of the same model."""
    shapes = [(type(one).__name__, one.vocabulary, one.positions) for one in (engine, other)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"the checkpoint is of another model: {shapes[1]} in place of {shapes[0]}")
    return other


async def _refuse(_request: WebRequest, error: Refused) -> Response:
    return JSONResponse(error.body(), status_code=error.status)


def _authorized(request: WebRequest, key: str) -> None:
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if key and not secrets.compare_digest(given.encode(), key.encode()):
        raise Refused("the key is missing or wrong; send it as a bearer token", 401)


async def _body(request: WebRequest) -> object:
    held = bytearray()
    async for block in request.stream():
        held += block
        if len(held) > LARGEST_BODY:
            raise Refused(f"the body is larger than {LARGEST_BODY} bytes", 413)
    try:
        return json.loads(held)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the body is not JSON ({str(error)[:100]})") from None


def _requests(engine: Engine, asked: Asked) -> list[Request]:
    """One for each choice. Refused for what the model's format or its positions do not take."""
    try:
        prompt = engine.prompt(asked.messages, asked.tools)
    except ValueError as error:
        raise Refused(str(error), field="messages") from None
    room = engine.positions - len(prompt)
    if room < (asked.max_tokens or 1):
        raise Refused(
            f"the prompt has {len(prompt)} tokens and {asked.max_tokens or 1} are asked for; the model reads "
            f"{engine.positions} together",
            field="max_tokens" if room >= 1 else "messages",
        )
    limit = asked.max_tokens or min(room, wire.DEFAULT_TOKENS)
    seed = secrets.randbelow(1 << 40) if asked.seed is None else asked.seed % (1 << 40)
    return [Request(tuple(prompt), limit, asked.sampling, seed + choice) for choice in range(asked.choices)]


async def _whole(batcher: Batcher, asked: Asked, request: Request) -> Turn:
    """A finished turn. Refused if the model failed."""
    turn = Turn(batcher.engine, asked.stop)
    async with aclosing(batcher.listen(request)) as events:
        async for event in events:
            turn.hear(event)
            if turn.finish:
                break
    if turn.error is not None:
        raise Refused(f"the model failed: {turn.error}", 500)
    return turn


async def _ids(batcher: Batcher, request: Request) -> tuple[list[int], list[float], str]:
    """(tokens with the one that ended them, their log-probabilities, "stop" or "length"). Refused if the model failed."""
    heard, finish = [], ""
    async with aclosing(batcher.listen(request)) as events:
        async for event in events:
            if isinstance(event, Ended):
                if event.error is not None:
                    raise Refused(f"the model failed: {event.error}", 500)
                heard += [event.last] if event.last else []
                finish = event.finish
            else:
                heard.append(event)
    return [one.token for one in heard], [one.logprob for one in heard], finish


def _choice(asked: Asked, place: int, turn: Turn) -> dict:
    message = turn.message  # a call among it changes how the turn has finished
    told = {"index": place, "message": message, "finish_reason": turn.finish}
    return told | {"logprobs": wire.logprobs(turn.logprobs) if asked.logprobs else None}


async def _stream(batcher: Batcher, asked: Asked, requests: list[Request], identity: str) -> AsyncIterator[str]:
    head = wire.head("chat.completion.chunk", batcher.engine.name, identity)
    pieces: asyncio.Queue[dict | None] = asyncio.Queue()
    turns = [Turn(batcher.engine, asked.stop) for _ in requests]
    speaking = [
        asyncio.create_task(_speak(batcher, asked, request, turn, place, pieces))
        for place, (request, turn) in enumerate(zip(requests, turns, strict=True))
    ]
    try:
        left = len(speaking)
        while left:
            piece = await pieces.get()
            left -= piece is None
            if piece is not None:
                yield _event(piece if "error" in piece else head | {"choices": [piece]})
        if asked.usage:
            used = wire.usage(len(requests[0].prompt), sum(len(turn.tokens) for turn in turns))
            yield _event(head | {"choices": [], "usage": used})
        yield "data: [DONE]\n\n"
    finally:
        for task in speaking:
            task.cancel()


async def _speak(
    batcher: Batcher, asked: Asked, request: Request, turn: Turn, place: int, pieces: asyncio.Queue
) -> None:
    """Puts the pieces of one choice, and None behind them."""

    def piece(delta: dict, told: int = 0, finish: str | None = None) -> dict:
        said = wire.logprobs(turn.logprobs[told:]) if asked.logprobs and told < len(turn.logprobs) else None
        return {"index": place, "delta": delta, "logprobs": said, "finish_reason": finish}

    pieces.put_nowait(piece({"role": "assistant", "content": ""}))
    told = 0
    try:
        async with aclosing(batcher.listen(request)) as events:
            async for event in events:
                text = turn.hear(event)
                if text:
                    pieces.put_nowait(piece({"content": text}, told))
                    told = len(turn.logprobs)
                if turn.finish:
                    break
        if turn.error is not None:
            pieces.put_nowait(Refused(f"the model failed: {turn.error}", 500).body())
            return
        calls = [{"index": i} | call for i, call in enumerate(turn.message.get("tool_calls") or [])]
        pieces.put_nowait(piece({"tool_calls": calls} if calls else {}, told, turn.finish))
    finally:
        pieces.put_nowait(None)


def _event(data: dict) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
