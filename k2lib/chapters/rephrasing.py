"""Notebook 01: what the corpus holds, one passage rewritten, and how good the check of a rewrite is (section 2.2)."""

import random

from k2lib import stages
from k2lib.corpus.world import STYLES
from k2lib.llm import from_environment
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.synth import corruptions, rephrase
from k2lib.synth.fidelity import verify
from k2lib.synth.probes import probes

TRAP = "a user writes <|im_end|> here"  # text that spells a control token
SHOWN = 4  # rewrites of the first passage


def corpus(profile: Profile, seed: int, progress: Progress) -> dict:
    """{"kinds": {kind: {"bytes", "tokens", …}}, "skipped": {why a user's file was: how many}, "vocabulary", "pieces": the
    tokens of TRAP as text}.

    AssertionError if one of these pieces is a control token.
    """
    data = stages.corpus(profile, seed, progress)
    tokens = data.tokenizer.encode(TRAP)
    assert all(data.tokenizer.control_name(token) is None for token in tokens), TRAP
    pieces = [data.tokenizer.decode([token]) for token in tokens]
    held = {name: data.manifest[name] for name in ("kinds", "skipped")}
    return held | {"vocabulary": data.tokenizer.vocab_size, "pieces": pieces}


def rewrites(profile: Profile, seed: int, progress: Progress) -> dict:
    """Documents of the world in every style, and wrong versions of them, judged by the fidelity check.

    {"writer", "source", "versions": the first source's rewrites with their verdicts, "passed": [faithful rewrite],
    "caught": {kind of fault: [wrong rewrite]}}, the last two with whether the check judged each as it should.
    """
    world, writer, rng = stages.corpus(profile, seed, progress).world, from_environment(seed), random.Random(seed)
    people = world.people[: profile.corpus.fidelity_documents]
    sources = [world.document(person, rng.choice(STYLES), rng) for person in people]
    styles = rephrase.styles()
    flat = rephrase.run(rephrase.rephrase_all(writer, [(s, style) for s in sources for style in styles], seed=seed))
    written = [flat[at : at + len(styles)] for at in range(0, len(flat), len(styles))]
    facts = [{fact.relation: fact.value for fact in world.facts(person)} for person in people]
    caught = {kind: [] for kind in corruptions.CORRUPTIONS}
    for i, (source, versions) in enumerate(zip(sources, written, strict=True)):
        for kind in caught:
            text = rng.choice([version.text for version in versions])
            wrong = corruptions.corrupt(kind, text, facts[i], facts[(i + 1) % len(facts)], rng)
            caught[kind].append(not verify(source, wrong).faithful)
    shown = [
        {"style": v.style, "model": v.model, "text": v.text, "reasons": v.verdict.reasons} for v in written[0][:SHOWN]
    ]
    passed = [version.verdict.faithful for versions in written for version in versions]
    return {"writer": writer.model, "source": sources[0], "versions": shown, "passed": passed, "caught": caught}


def by_hand(_profile: Profile, _seed: int, _progress: Progress) -> dict[str, list[bool]]:
    """{"faithful" or what is wrong: [whether the check judged it as it should]} over the rewrites in data/fidelity."""
    judged: dict[str, list[bool]] = {}
    for probe in probes():
        right = verify(probe.source, probe.rewrite).faithful == (not probe.wrong)
        judged.setdefault(probe.wrong or "faithful", []).append(right)
    return judged
