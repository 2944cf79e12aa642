"""reproduce, notebooks, study, publish, book, readme: the chain of notebooks, and what the project shows of its runs."""

import argparse

DEFAULT_PROFILE = "laptop"


def commands(groups) -> None:
    command = groups.add_parser("reproduce", help="run the notebooks that are out of date, in order")
    command.set_defaults(run=reproduce)
    _profile(command)
    command.add_argument("--only", nargs="+", default=[], metavar="NN", help="these notebooks only, by number or name")
    command.add_argument("--from", dest="start", metavar="NN", help="this notebook and those after it")
    command.add_argument("--force", action="store_true", help="run them even when they are up to date")
    command.add_argument("--keep-going", action="store_true", help="go on with the next notebook after a failure")
    command.add_argument("--seed", type=int, default=0, help="of data and weights (0, the published one)")

    command = groups.add_parser("notebooks", help="re-run the committed notebooks and make them canonical")
    command.set_defaults(run=notebooks)
    command.add_argument("names", nargs="*", metavar="NN", help="these only; all when none is named")
    command.add_argument("--check", action="store_true", help="change nothing, list what is not canonical")

    command = groups.add_parser("study", help="measure a study seed by seed; what is done already is not done again")
    command.set_defaults(run=study)
    command.add_argument(
        "name",
        help="table1, chunks, notes, routing, rates, updates, tokens, growth, heads, harm, fp8, second_policy or second_families",
    )
    _profile(command)
    command.add_argument("--seeds", type=int, help="how many, from 0 on (the profile's own number)")

    command = groups.add_parser("publish", help="copy a run's results to data/results, to be committed")
    command.set_defaults(run=publish)
    _profile(command)

    command = groups.add_parser("book", help="the committed notebooks as a static site, under artifacts/book")
    command.set_defaults(run=book)

    command = groups.add_parser("readme", help="write README's claims table and picture from data/results")
    command.set_defaults(run=readme)


def reproduce(options: argparse.Namespace) -> int:
    from k2lib.runner import reproduce

    chosen = {"only": options.only, "start": options.start, "force": options.force}
    return reproduce(options.profile, **chosen, keep_going=options.keep_going, seed=options.seed)


def notebooks(options: argparse.Namespace) -> int:
    from k2lib import books

    return books.check(options.names) if options.check else books.build(options.names)


def study(options: argparse.Namespace) -> int:
    from k2lib.chapters import second_families, second_policy
    from k2lib.publish import study
    from k2lib.report import claims
    from k2lib.report.progress import progress

    pages = {
        "second_policy": {"second": second_policy.second},
        "second_families": {"families": second_families.families},
    }
    shown = pages.get(options.name)
    path, ledger = study.run(options.name, options.profile, options.seeds, progress, shown=shown)
    verdicts = claims.judge_all(ledger.records, options.profile)
    for name in ledger.records:
        verdict = verdicts[name]
        print(f"{verdict}: {name}, {verdict.measured()}")
    print(path)
    return 0


def publish(options: argparse.Namespace) -> int:
    from k2lib.publish.commit import publish

    for path in publish(options.profile):
        print(path)
    return 0


def book(options: argparse.Namespace) -> int:
    from k2lib.publish.book import build

    print(build())
    return 0


def readme(options: argparse.Namespace) -> int:
    from k2lib.publish import cover
    from k2lib.publish.table import update_readme

    print("README.md: the claims table was " + ("brought up to date" if update_readme() else "current"))
    print("README.md: the picture was " + ("drawn" if cover.draw() else "left as it is: it needs Chromium and results"))
    return 0


def _profile(command: argparse.ArgumentParser) -> None:
    command.add_argument("--profile", default=DEFAULT_PROFILE, help="smoke, laptop (the default), study or gpu")
