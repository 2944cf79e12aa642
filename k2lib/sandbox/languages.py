"""The languages of the sandbox: how the host's own interpreters run a file there."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

SYSTEM = Path("/usr")
FILES = {"python": "program.py", "bash": "program.sh"}  # the program's name in the sandbox


@dataclass(frozen=True)
class Language:
    file: str
    command: tuple[str, ...]  # run in the working folder; the file is its last word
    folders: tuple[Path, ...] = ()  # of the host, beside /usr, that the interpreter lives in


def find(name: str) -> Language:
    """ValueError for a language that the sandbox does not have, or whose interpreter this machine has not."""
    if name == "python":
        return _python()
    if name != "bash":
        raise ValueError(f"the sandbox has no {name!r}; it runs python and bash")
    if not shutil.which("bash", path="/usr/bin:/bin"):
        raise ValueError("no bash in /usr/bin")
    return Language(FILES[name], ("bash", "--noprofile", "--norc"))


def _python() -> Language:
    """The interpreter that runs this, if the sandbox can see it; else the system's."""
    isolated = ("-I", "-B")  # no environment, no user's packages, no folder of the program on the path
    own = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    for program in (own, SYSTEM / "local/bin/python3", SYSTEM / "bin/python3"):
        if program.is_relative_to(SYSTEM) and program.exists():
            return Language(FILES["python"], (str(program), *isolated))
    home = Path(sys.base_prefix).resolve()
    if os.geteuid() == 0:  # the sandbox gives root up before it opens anything
        raise ValueError(f"no python3 in {SYSTEM}, and {home} may be closed to others: install the system's python3")
    return Language(FILES["python"], (str(own), *isolated), (home,))
