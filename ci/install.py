"""Installs the kit into one environment (`make install`): the tested versions and a Jupyter kernel, no surprises.

A PyTorch that is already there and in pyproject.toml's range stays exactly as it is, CUDA build and all: it takes the
place of constraints.txt's in the constraints that pip is given. One that is out of range is left alone too, with a
sentence that says what to do. Needs nothing but the standard library, since it runs before anything is installed.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KERNEL_ENVIRONMENT = ("--env", "OMP_WAIT_POLICY", "PASSIVE")  # threads that wait must sleep; read when PyTorch loads
WHEELS = "https://download.pytorch.org/whl"  # PyTorch's own index: /cpu, /cu128, /cu130 …


def main(arguments: list[str] | None = None) -> int:
    """Installs into --python's environment, making it first when it is missing; 0, or 2 after a sentence."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--python", type=Path, required=True, help="the environment's interpreter")
    options.add_argument("--torch", default="", help="which build of PyTorch, when none is there: cpu, cu128, cu130 …")
    options = options.parse_args(arguments)
    try:
        install(options.python, options.torch)
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        print(f"install: {error}", file=sys.stderr)
        return 2
    return 0


def install(python: Path, build: str = "") -> None:
    """Brings the environment of `python` to what pyproject.toml and constraints.txt say."""
    if not python.exists():
        venv.create(python.parent.parent, with_pip=True)
    present = installed_torch(python)
    constraints = constraints_for(present, (ROOT / "constraints.txt").read_text(), required_torch())
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "constraints.txt"
        file.write_text(constraints)
        if present is None and build:
            subprocess.run([*pip, "-c", str(file), "torch", "--index-url", f"{WHEELS}/{build}"], check=True)
            file.write_text(constraints_for(installed_torch(python), constraints, required_torch()))
        print(f"installing into {python.parent.parent} ({describe(present, build)}); this takes a minute or two")
        subprocess.run([*pip, "-c", str(file), "-e", f"{ROOT}[dev]"], check=True)
        if subprocess.run([*pip, "-c", str(file), "-e", f"{ROOT}[kernels]"]).returncode:
            print(
                "NVRTC and CUDA's headers are not to be had here: the raw kernels will not be compiled", file=sys.stderr
            )
    subprocess.run(
        [str(python), "-m", "ipykernel", "install", "--sys-prefix", *KERNEL_ENVIRONMENT],
        check=True,
        capture_output=True,
    )
    install_bubblewrap()


def install_bubblewrap() -> None:
    """The sandbox's walls come from the system, not from pip: fetched where this may, else a sentence says how."""
    if not sys.platform.startswith("linux") or shutil.which("bwrap"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update"], ["install", "-y", "--no-install-recommends", "bubblewrap"]):
            subprocess.run(["apt-get", "-qq", *command], capture_output=True)
    if not shutil.which("bwrap"):
        print("no bubblewrap: code of a model will not be run; Debian's is `apt install bubblewrap`", file=sys.stderr)


def installed_torch(python: Path) -> str | None:
    """The version of PyTorch in the environment of `python`, local part included ("2.12.1+cu128"), or None."""
    code = "import importlib.metadata as m\ntry: print(m.version('torch'))\nexcept m.PackageNotFoundError: pass"
    found = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    return found or None


def required_torch() -> str:
    """pyproject.toml's range for PyTorch, such as ">=2.10,<3"."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return next(re.sub(r"^torch\s*", "", entry) for entry in wanted if re.match(r"torch\b", entry))


def constraints_for(present: str | None, constraints: str, required: str) -> str:
    """The constraints to install with: `present` instead of the tested PyTorch. ValueError when it is out of range."""
    if present is None:
        return constraints
    if not in_range(present, required):
        raise ValueError(
            f"PyTorch {present} is installed and the kit needs {required}; upgrade it yourself (this keeps your CUDA "
            "build), or remove it with `pip uninstall torch` and run this again"
        )
    others = [line for line in constraints.splitlines() if not re.match(r"torch\b\s*==", line)]
    return "\n".join([*others, f"torch=={present}"]) + "\n"


def in_range(version: str, required: str) -> bool:
    """Whether a version satisfies a range made of >= and < ("2.12.1+cu128" in ">=2.10,<3")."""
    for bound in required.split(","):
        sign, limit = re.fullmatch(r"(>=|<)([\d.]+)", bound.strip()).groups()
        if (_numbers(version) >= _numbers(limit)) != (sign == ">="):
            return False
    return True


def describe(present: str | None, build: str) -> str:
    """What happens to PyTorch, for the person who waits."""
    if present:
        return f"keeping PyTorch {present}"
    if build:
        return f"PyTorch's {build} build"
    return "PyTorch as pip chooses it; `make install TORCH=cpu` or TORCH=cu130 chooses a build"


def _numbers(version: str) -> tuple[int, ...]:
    numbers = tuple(int(part) for part in re.match(r"[\d.]+", version)[0].strip(".").split("."))
    return (*numbers, 0, 0)[:3]


if __name__ == "__main__":
    sys.exit(main())
