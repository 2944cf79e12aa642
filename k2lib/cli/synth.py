"""synth: tools, tasks and trajectories, each step into one directory; statistics, a page, a table."""

import argparse
import os
from pathlib import Path


def commands(groups) -> None:
    command = groups.add_parser(
        "synth", help="synthesise tool-use data: tools, tasks with rubrics, judged trajectories"
    )
    steps = command.add_subparsers(
        dest="step",
        required=True,
        metavar="tools | tasks | trajectories | executed | instructions | stats | page | export",
    )
    _tools(steps.add_parser("tools", help="applications with tools whose semantics run"))
    _tasks(steps.add_parser("tasks", help="users' wishes with rubrics, each proved solvable by execution"))
    _trajectories(
        steps.add_parser(
            "trajectories", help="agent, user and simulator play the tasks; the judge keeps what met its rubric"
        )
    )
    _instructions(
        steps.add_parser("instructions", help="answers to prompts: candidates, a filter, annotations by people")
    )
    _executed(
        steps.add_parser("executed", help="tasks on real tools, executed in the sandbox, beside the simulated ones")
    )
    for name, run, what in (
        ("stats", stats, "what was made, kept and refused"),
        ("page", page, "a page to read the conversations on"),
    ):
        step = steps.add_parser(name, help=what)
        step.add_argument("directory", type=Path)
        step.set_defaults(run=run)
    step = steps.add_parser("export", help="the accepted conversations as one file, which `datasets` loads")
    step.add_argument("directory", type=Path)
    step.add_argument("output", type=Path, help="NAME.jsonl or NAME.parquet")
    step.set_defaults(run=export)


def _tools(step) -> None:
    step.add_argument("directory", type=Path)
    step.add_argument("--seed", type=int, default=0)
    step.add_argument("--categories", type=int, default=12, help="of the bundled ones")
    step.add_argument(
        "--children", type=int, default=0, help="applications that evolve in each category, with new nouns and fields"
    )
    step.add_argument("--per-domain", type=int, default=6, help="applications of every domain")
    step.add_argument(
        "--propose", type=int, default=0, metavar="N", help="new applications of every category, by --model"
    )
    _model(step, "--model", "proposes applications")
    step.set_defaults(run=tools)


def _tasks(step) -> None:
    step.add_argument("directory", type=Path)
    step.add_argument("-n", type=int, default=1000, dest="number")
    step.add_argument("--seed", type=int, default=0)
    step.set_defaults(run=tasks)


def _trajectories(step) -> None:
    step.add_argument("directory", type=Path)
    for role in ("agent", "user"):
        step.add_argument(
            f"--{role}", default="scripted", help='"scripted", a checkpoint directory, or a model of --base-url'
        )
    step.add_argument(
        "--judge", default="rules", help='"rules" (state and rubric), or a model that reads what they passed'
    )
    _model(step, "", "")
    step.add_argument("--cache", default="", metavar="DIR", help="keep replies there, and never ask for one twice")
    step.add_argument("--fault-rate", type=float, default=0.05, help="of the simulator's calls")
    step.add_argument("--temperature", type=float, default=0.0, help="of the agent")
    step.add_argument("--concurrency", type=int, default=8, help="conversations at a time")
    step.set_defaults(run=trajectories)


def _executed(step) -> None:
    step.add_argument("directory", type=Path)
    step.add_argument(
        "--server",
        action="append",
        default=[],
        help="git, time, sqlite, files, memory or python, all if none is given; or repository, a program to repair, for a model",
    )
    step.add_argument("-n", type=int, default=50, dest="number", help="tasks of each")
    step.add_argument("--seed", type=int, default=0)
    step.add_argument(
        "--agent", default="scripted", help='"scripted", a checkpoint directory, or a model of --base-url'
    )
    _model(step, "", "")
    step.set_defaults(run=executed)


def _instructions(step) -> None:
    step.add_argument(
        "prompts", type=Path, help='a .jsonl file of {"prompt"}, and "source" and "answer" where they are known'
    )
    step.add_argument("directory", type=Path)
    _model(step, "--model", "answers")
    step.add_argument("--candidates", type=int, default=4, help="of each prompt")
    step.add_argument("--judge", default="", help="grades what the rules let through; none if it is not given")
    step.add_argument(
        "--annotations", type=Path, help="annotate.jsonl as people have filled it in; they overrule the filter"
    )
    step.add_argument("--seed", type=int, default=0)
    step.set_defaults(run=instructions)


def _model(step, name: str, does: str) -> None:
    if name:
        model = os.environ.get("K2_LLM_MODEL", "")
        step.add_argument(name, default=model, help=f"{does}: a checkpoint directory, or a model of --base-url")
    url = os.environ.get("K2_LLM_BASE_URL", "")
    step.add_argument("--base-url", default=url, help="an OpenAI-compatible endpoint, such as that of `k2 serve`")


def tools(options: argparse.Namespace) -> int:
    from k2lib.agents.production import make_tools
    from k2lib.serving.open import Spoken

    model = Spoken(options.model, options.base_url) if options.model else None
    pool = {"per_domain": options.per_domain, "categories": options.categories, "children": options.children}
    return _told(make_tools(options.directory, options.seed, **pool, propose=options.propose, model=model))


def tasks(options: argparse.Namespace) -> int:
    from k2lib.agents.production import make_tasks

    return _told(make_tasks(options.directory, options.number, options.seed))


def trajectories(options: argparse.Namespace) -> int:
    from tqdm.auto import tqdm

    from k2lib.agents.production import Roles, make_trajectories
    from k2lib.serving.open import Spoken

    def spoken(name: str) -> Spoken:
        ours = name in ("scripted", "rules") or Path(name).is_dir()
        return Spoken(name) if ours else Spoken(name, options.base_url, options.cache)

    players = (spoken(name) for name in (options.agent, options.user, options.judge))
    roles = Roles(*players, options.fault_rate, options.temperature, options.concurrency)
    counts = make_trajectories(
        options.directory, roles, lambda items, what, total: tqdm(items, desc=what, total=total, unit="part")
    )
    return _told(counts)


def executed(options: argparse.Namespace) -> int:
    from k2lib.agents.forms import FORMS
    from k2lib.agents.production import make_executed
    from k2lib.serving.open import Spoken

    servers = options.server or list(dict.fromkeys(form.server for form in FORMS))
    ours = options.agent == "scripted" or Path(options.agent).is_dir()
    agent = Spoken(options.agent, "" if ours else options.base_url)
    return _told(make_executed(options.directory, servers, options.number, options.seed, agent))


def instructions(options: argparse.Namespace) -> int:
    from k2lib.gym.instructions import produce, read_prompts
    from k2lib.serving.open import Spoken, open_model

    if not options.model:
        raise ValueError("candidates come from a model; name one with --model")
    model, judge = (
        open_model(Spoken(name, options.base_url)) if name else None for name in (options.model, options.judge)
    )
    how = {"judge": judge, "annotations": options.annotations, "seed": options.seed}
    return _told(produce(options.directory, read_prompts(options.prompts), model, options.candidates, **how))


def stats(options: argparse.Namespace) -> int:
    from k2lib.agents.report import statistics

    for title, counts in statistics(options.directory).items():
        print(title)
        _told(counts)
    return 0


def page(options: argparse.Namespace) -> int:
    from k2lib.agents.report import write_page

    print(f"{write_page(options.directory)}: open it in a browser")
    return 0


def export(options: argparse.Namespace) -> int:
    from k2lib.agents.report import export as write

    print(f"{write(options.directory, options.output):,} conversations in {options.output}")
    return 0


def _told(counts: dict) -> int:
    for what, number in counts.items():
        print(f"{number:>12,} {what}")
    return 0
