"""Small worlds that tools act on, with real state: the ground on which trajectories are simulated and judged.

To add one, write a blueprint of five lines into data/applications.yaml.
"""

import functools

from k2lib.agents.domains.blueprint import bundled
from k2lib.agents.domains.domain import Domain
from k2lib.agents.domains.evolve import children
from k2lib.agents.domains.wishes import domain


@functools.cache
def evolved(category: str, number: int) -> tuple[Domain, ...]:
    """`number` domains that a category's have evolved into."""
    return tuple(map(domain, children(category, number)))


@functools.cache
def domains() -> dict[str, Domain]:
    """Those of all bundled blueprints, by name."""
    return {plan.name: domain(plan) for plan in bundled()}
