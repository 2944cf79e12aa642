"""Notebook 01: the corpus, one passage rewritten, how good the check is, and what a model learns from rewrites (section 2.2)."""

import random
from collections import Counter

from k2lib import stages
from k2lib.corpus.world import STYLES
from k2lib.llm import from_environment, get
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.studies import chunks as chunks_study
from k2lib.studies import notes as notes_study
from k2lib.studies import table1 as table1_study
from k2lib.synth import corruptions, rephrase
from k2lib.synth.fidelity import verify
from k2lib.synth.probes import probes, read_by_hand

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
    held = {name: data.manifest[name] for name in ("kinds", "rewrites", "skipped")}
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


def likeness(_profile: Profile, _seed: int, _progress: Progress) -> dict[str, list[float]]:
    """{"faithful" or what is wrong: [cosine of source and rewrite by MiniLM]} over data/fidelity; {} without the model."""
    if not get.have("minilm"):
        return {}
    from k2lib.synth import similarity  # needs transformers

    found: dict[str, list[float]] = {}
    for probe in probes():
        found.setdefault(probe.wrong or "faithful", []).append(similarity.likeness(probe.source, probe.rewrite))
    return found


def real(profile: Profile, seed: int, progress: Progress) -> list[dict]:
    """What a real language model makes of the sources in data/fidelity, a style each; nothing without it (`k2 get smollm2`).

    [{"source", "style", "model", "text" | "rewrite", "verdict", "reasons", "read": what a person found in it, or None}]
    """
    if not get.have("smollm2"):
        return []
    sources, styles = list(dict.fromkeys(probe.source for probe in probes())), rephrase.styles()
    wanted = [(text, styles[i % len(styles)]) for i, text in enumerate(sources[: profile.real_passages])]
    found = read_by_hand()
    rows = stages.real_rewrites(wanted, seed, progress)
    return [row | {"read": found.get((row["source"], row.get("text")))} for row in rows]


def table1(profile: Profile, seed: int, progress: Progress) -> dict:
    """What the study of Table 1 found, one number a seed.

    {"accuracy": {"large" | "small": {arm: [share]}}, "backwards" | "forwards" | "kept": {arm: [share]}, "base": [share of the
    unasked people that the base model knows], "check": {share: [[wrong, caught, false alarms]]}, "claims": {id: [points]}}
    """
    runs = stages.study(table1_study.STUDY, profile, seed=seed, progress=progress)
    arms = runs[0]["large"]["arms"]
    accuracy = {
        size: {arm: [table1_study.accuracy(run[size]["arms"][arm]) for run in runs] for arm in runs[0][size]["arms"]}
        for size in ("large", "small")
    }
    sides = {
        name: {arm: [run["large"]["arms"][arm][name] for run in runs] for arm in arms}
        for name in ("forwards", "backwards", "kept")
    }
    check = {share: [run["check"][share] for run in runs] for share in runs[0]["check"]}
    base = [run["large"]["base"]["kept"] for run in runs]
    claims = table1_study.values(profile, runs)
    return {"accuracy": accuracy, **sides, "base": base, "check": check, "claims": claims}


def chunks(profile: Profile, seed: int, progress: Progress) -> dict:
    """What the study of long documents found, one number a seed; nothing at a small size, or without `k2 get smollm2`.

    {"scores": {form of rewriting: {measure: [share]}}, "shown": {"source" | form: one document}, "claims": {id: [number]}}
    """
    if profile.chunks is None or not get.have("smollm2"):
        return {}
    runs = stages.study(chunks_study.STUDY, profile, seed=seed, progress=progress)
    first = runs[0]["scores"]
    scores = {form: {name: [run["scores"][form][name] for run in runs] for name in first[form]} for form in first}
    return {"scores": scores, "shown": runs[0]["shown"], "claims": chunks_study.values(profile, runs)}


def notes(profile: Profile, seed: int, progress: Progress) -> dict:
    """What the study of learning notes found, one number a seed.

    {"right": {arm: [share of stories]}, "dropped": {why a careless note was: notes}, "notes": all of them, over all seeds,
    "shown": {"page", "learning note", "German", "English": a text}, "claims": {id: [points]}}
    """
    runs = stages.study(notes_study.STUDY, profile, seed=seed, progress=progress)
    dropped = sum((Counter(run["dropped"]) for run in runs), Counter())
    return {
        "right": {arm: [run["right"][arm] for run in runs] for arm in runs[0]["right"]},
        "dropped": dict(dropped.most_common()),
        "notes": sum(run["notes"] for run in runs),
        "shown": runs[0]["shown"],
        "claims": notes_study.values(profile, runs),
    }
