"""Programs a second in the sandbox, beside the same programs without one: what the walls cost."""

import subprocess
import tempfile

from k2lib import sandbox
from k2lib.bench.rounds import in_turns, report
from k2lib.sandbox import Program, languages

PROGRAMS = 40
CODE = "print(sum(int(x) for x in input().split()))"
STDIN = "1 2 3\n"


def run(dtype: str = "auto", rounds: int = 7) -> dict:
    """Times `PROGRAMS` short ones in the pool, and one after another bare; `dtype` is what the other benches take, and nothing here."""
    programs = [Program(CODE, stdin=STDIN)] * PROGRAMS
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(CODE)
        file.flush()
        command = [*languages.find("python").command, file.name]
        ways = {
            "sandbox, a pool": lambda: sandbox.run_many(programs),
            "sandbox, one by one": lambda: sandbox.run_many(programs, workers=1),
            "bare, one by one": lambda: [_bare(command) for _ in programs],
        }
        timings = in_turns(ways, rounds)
    rates = {name: {"programs/s": round(PROGRAMS / time.median, 1)} for name, time in timings.items()}
    return report(f"{PROGRAMS} programs of one line", timings, rates)


def _bare(command: list[str]) -> None:
    subprocess.run(command, input=STDIN.encode(), capture_output=True, check=True)
