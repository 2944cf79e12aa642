"""An episode that is under way, as plain values, and back: its recorded turns are given to a new environment once more."""

import itertools

from k2lib.corpus.tokenizer import Tokenizer
from k2lib.gym.play import Played
from k2lib.gym.problem import Problem
from k2lib.llm import chat
from k2lib.llm.local import Turn

KEPT = ("ids", "mask", "logprobs", "unfinished", "truncated", "since", "broken")


def saved(one: Played) -> dict:
    """What `replayed` needs, for a snapshot."""
    return {name: getattr(one, name) for name in KEPT}


def replayed(problem: Problem, tokenizer: Tokenizer, kept: dict) -> Played:
    """The episode that was saved. If its environment answers otherwise than it did, the episode is broken, and so void."""
    one, at = Played.start(problem, tokenizer), 0
    for tokens in _turns(kept):
        finished = tokens[-1] in (tokenizer.encode_control(chat.END), tokenizer.eos_id)
        one.take(
            Turn(tokens, kept["logprobs"][at : at + len(tokens)], finished, chat.parse_ids(tokens, tokenizer)),
            tokenizer,
        )
        at += len(tokens)
    same = one.ids + kept["unfinished"] == kept["ids"]
    for name in KEPT:
        setattr(one, name, kept[name])
    one.broken = one.broken or ("" if same else "its environment does not repeat itself")
    return one


def _turns(kept: dict) -> list[list[int]]:
    """The turns that the model has ended, or that were cut."""
    runs = itertools.groupby(zip(kept["ids"], kept["mask"], strict=True), key=lambda pair: pair[1])
    turns = [[token for token, _ in run] for own, run in runs if own]
    return turns[:-1] if kept["unfinished"] else turns
