"""Notebook 05: one training on one process, through a pipeline and with shared experts (section 2.4.2)."""

from dataclasses import asdict

from k2lib import stages
from k2lib.parallel.launch import launch
from k2lib.profiles import Profile
from k2lib.progress import Progress

WAYS = {  # how, and virtual stages a process
    "one process": ("single", 1),
    "pipeline, 1F1B": ("pipeline", 1),
    "pipeline, interleaved": ("pipeline", 2),
    "shared experts": ("experts", 1),
}


def runs(profile: Profile, seed: int, progress: Progress) -> dict[str, dict]:
    """{way: {"losses", "gaps": [step], "spans": who worked when in the last step}}; ways need two layers a virtual stage.

    A gap is the difference of a loss to that of one process, and spans count from the step's begin: before rounding.
    """
    data, config = stages.corpus(profile, seed, progress), stages.config(profile).to_dict()
    job = asdict(profile.parallel) | {"config": config, "lr": 5e-3, "seed": seed, "shards": data.dir / "shards"}
    ways = {name: way for name, way in WAYS.items() if 2 * way[1] <= config["num_hidden_layers"]}
    found = {
        name: launch(mode, virtual=virtual, **job)
        for name, (mode, virtual) in progress(ways.items(), "launch", len(ways))
    }
    single = found["one process"]["losses"]
    for run in found.values():
        run["gaps"] = [abs(x - y) for x, y in zip(run["losses"], single, strict=True)]
        zero = min((span["start"] for span in run["spans"]), default=0.0)
        run["spans"] = [span | {end: span[end] - zero for end in ("start", "end")} for span in run["spans"]]
    return found


def lanes(spans: list[dict]) -> list[dict]:
    """Spans as a timeline in milliseconds: a lane a process, a colour for each stage's forward and backward passes."""
    return [
        {
            "lane": f"process {span['rank']}",
            "kind": f"{span['kind']}, stage {span['stage']}",
            "start": 1000 * span["start"],
            "end": 1000 * span["end"],
        }
        for span in spans
    ]
