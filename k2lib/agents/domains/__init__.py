"""Small worlds that tools act on, with real state: the ground on which trajectories are simulated and judged.

To add one, write a file with a `DOMAIN` and name it here.
"""

from k2lib.agents.domains import bank, calendar, contacts, files, home, shopping, travel

DOMAINS = {world.DOMAIN.name: world.DOMAIN for world in (files, calendar, shopping, bank, home, travel, contacts)}
