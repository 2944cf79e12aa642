"""Fidelity, the semantic layer: a language model compares what two texts say, and gives its reasons (section 2.2).

Texts that the mechanical layer cannot tell apart, since no name or number differs, are this layer's: another relation, roles
exchanged, a fact made uncertain. Both texts are data to the judge, whatever they ask it to do.
"""

import json
import re

from k2lib.llm import ChatModel, Reply, arguments
from k2lib.llm.ask import ask
from k2lib.places import DATA
from k2lib.synth.fidelity import Fidelity, verify

PROMPT = DATA / "prompts" / "judge" / "fidelity.md"
MOST_REASONS = 8


async def judge(model: ChatModel, source: str, rewrite: str, *, seed: int = 0) -> Fidelity:
    """The model's verdict. ChatError if it gives none twice; its own errors pass through."""
    request = PROMPT.read_text(encoding="utf-8").format(source=_quoted(source), rewrite=_quoted(rewrite))
    return await ask(
        model, [{"role": "user", "content": request}], _verdict, temperature=0.0, max_tokens=400, seed=seed
    )


async def judged(model: ChatModel, source: str, rewrite: str, *, seed: int = 0) -> Fidelity:
    """Both layers: what the mechanical one rejects costs no request."""
    found = verify(source, rewrite)
    return found if not found.faithful else await judge(model, source, rewrite, seed=seed)


def _quoted(text: str) -> str:
    """As a JSON string, so that nothing in it ends the quotation."""
    return json.dumps(text, ensure_ascii=False)


def _verdict(reply: Reply) -> Fidelity:
    """{"faithful": true | false, "reasons": [text]}, anywhere in the reply. ValueError for anything else."""
    text = reply.message.get("content") or ""
    match = re.search(r"\{.*\}", text, re.DOTALL)
    found, why = arguments.read(match[0]) if match else (None, "no JSON object stands in it")
    if found is None:
        raise ValueError(why)
    faithful, reasons = found.get("faithful"), found.get("reasons", [])
    if type(faithful) is not bool or not isinstance(reasons, list) or not all(isinstance(r, str) for r in reasons):
        raise ValueError('it is not of the form {"faithful": true or false, "reasons": [texts]}')
    if not faithful and not any(r.strip() for r in reasons):
        raise ValueError("a rewrite that is not faithful needs a reason")
    return Fidelity(
        faithful, () if faithful else tuple(f"judge: {r.strip()[:200]}" for r in reasons if r.strip())[:MOST_REASONS]
    )
