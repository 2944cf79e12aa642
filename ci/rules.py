"""Was every rule of data/claims.yaml written before its result? Git knows.

    python ci/rules.py      # the commit that wrote each rule, for `since`

What is judged by a rule is the sentence, the rule and the weaker rule for "partly". Since BASE, when the ledger got its
present form, a commit may change a claim's rule or its committed results, not both; and it adds a line to `history`. A
result is measured at a commit that has its rule, and a claim that was measured keeps one.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
CLAIMS, RESULTS = "data/claims.yaml", "data/results"
BASE = "Judge raw values by rules that git dates"  # the subject of the commit that the walk starts after


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def entries(commit: str | None) -> dict[str, dict]:
    """id -> entry at a commit; None is the working tree."""
    text = (ROOT / CLAIMS).read_text(encoding="utf-8") if commit is None else git("show", f"{commit}:{CLAIMS}")
    return {entry["id"]: entry for entry in yaml.load(text, yaml.CSafeLoader)}


def rule(entry: dict | None) -> dict | None:
    """What a verdict follows from, or None where there is no rule."""
    return {name: entry.get(name) for name in ("claim", "rule", "partly")} if entry and "rule" in entry else None


def written() -> dict[str, str]:
    """claim id -> the commit that wrote its present rule; "" if that is not committed yet."""
    now = {name: rule(entry) for name, entry in entries(None).items() if rule(entry)}
    since, searching = dict.fromkeys(now, ""), set(now)
    for commit in git("log", "--format=%H", "--", CLAIMS).split():  # the newest first
        then = entries(commit)
        searching = {name for name in searching if rule(then.get(name)) == now[name]}
        since |= dict.fromkeys(searching, commit)
    return since


def results(commit: str | None) -> dict[str, set[tuple[str, str]]]:
    """claim id -> its committed records: the record as text, and the commit at which it was measured."""
    found: dict[str, set[tuple[str, str]]] = {}
    if commit is None:
        texts = [path.read_text(encoding="utf-8") for path in (ROOT / RESULTS).glob("*/*/*.json")]
    else:
        listed = git("ls-tree", "-r", "--name-only", commit, RESULTS).split()
        texts = [git("show", f"{commit}:{name}") for name in listed if name.count("/") == 4]
    for text in texts:
        ledger = json.loads(text)
        source = ledger.get("provenance", {}).get("commit", "unknown").removesuffix("-dirty")
        for record in ledger["records"]:
            found.setdefault(record["id"], set()).add((json.dumps(record, sort_keys=True), source))
    return found


def descends(commit: str, ancestor: str) -> bool:
    """Whether `commit`, a name that git may not know, has `ancestor` in its history or is it."""
    command = ["git", "merge-base", "--is-ancestor", ancestor, commit]
    return subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0


def steps() -> Iterator[tuple[str, str | None]]:
    """(parent, commit) of every commit since BASE that touched the claims, and (HEAD, None) for the working tree."""
    base = git("log", "--format=%H", "--fixed-strings", f"--grep={BASE}").split()
    for commit in git("log", "--format=%H", f"{base[-1]}..HEAD", "--", CLAIMS).split() if base else []:
        yield f"{commit}^", commit
    yield "HEAD", None


def faults() -> list[str]:
    """What a sceptic would object to, one sentence each."""
    found, now, measured = [], entries(None), results(None)
    for name, commit in written().items():
        since = now[name].get("since", "")
        if (since and not commit.startswith(since)) or (name in measured and not since):
            found.append(f"{name}: its rule was written in {commit[:7] or 'no commit yet'}; let `since` say so")
        for _, source in measured.get(name, set()) if commit else []:
            if not descends(source, commit):
                found.append(f"{name}: measured at {source}, where its rule of {commit[:7]} was not; measure it again")
    for parent, commit in steps():
        before, after = entries(parent), entries(commit)
        changed = {name for name in after if rule(after[name]) and rule(before.get(name)) != rule(after[name])}
        old, new = results(parent), results(commit)
        for name in sorted(name for name in old if rule(before.get(name)) and not rule(after.get(name))):
            found.append(
                f"{name}: it was measured, and lost its rule in {commit[:7] if commit else 'the working tree'}"
            )
        for name in sorted(changed):
            where = commit[:7] if commit else "the working tree"
            if new.get(name, set()) - old.get(name, set()):
                found.append(f"{name}: {where} changes its rule and its result; commit the rule first")
            if rule(before.get(name)) and len(after[name].get("history", [])) <= len(before[name].get("history", [])):
                found.append(f"{name}: {where} changes its rule; add date, old rule and reason to its history")
    return found


if __name__ == "__main__":
    for name, commit in written().items():
        print(f"{commit[:7] or '(not committed)':15} {name}")
    print("\n".join(faults()))
    sys.exit(bool(faults()))
