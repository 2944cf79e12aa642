"""Set-up leaves a PyTorch alone that is there and in range, with a stub in the place of the environment."""

import importlib.util
import stat
import subprocess
import sys
import venv

import pytest

from k2lib.places import ROOT

spec = importlib.util.spec_from_file_location("install", ROOT / "ci" / "install.py")
setup = importlib.util.module_from_spec(spec)
spec.loader.exec_module(setup)

STUB = """#!{python}
import pathlib, shutil, sys
folder = pathlib.Path({folder!r})
if "-c" in sys.argv[1:2]:
    print({torch!r})
else:
    with open(folder / "calls.txt", "a") as calls:
        calls.write(" ".join(sys.argv[1:]) + "\\n")
    if "pip" in sys.argv and "-c" in sys.argv:
        shutil.copy(sys.argv[sys.argv.index("-c") + 1], folder / "constraints.txt")
"""


@pytest.fixture
def stub(tmp_path):
    """stub(version) is an interpreter that has that PyTorch, and writes down what it is asked to do."""

    def make(torch: str):
        path = tmp_path / "bin" / "python"
        path.parent.mkdir(exist_ok=True)
        path.write_text(STUB.format(python=sys.executable, folder=str(tmp_path), torch=torch))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


def asked(tmp_path) -> tuple[str, list[str]]:
    constraints = (tmp_path / "constraints.txt").read_text().splitlines()
    return (tmp_path / "calls.txt").read_text(), [line for line in constraints if line.startswith("torch=")]


def test_without_pytorch_the_tested_version_is_installed(stub, tmp_path):
    setup.install(stub(""))
    calls, torch = asked(tmp_path)
    tested = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch==")]
    assert torch == tested != []
    assert f"-e {ROOT}[dev]" in calls and "ipykernel install --sys-prefix --env OMP_WAIT_POLICY PASSIVE" in calls
    assert "index-url" not in calls


def test_a_pytorch_in_range_is_kept_to_the_letter(stub, tmp_path):
    setup.install(stub("2.12.1+cu128"), build="cpu")
    calls, torch = asked(tmp_path)
    assert torch == ["torch==2.12.1+cu128"]
    assert "index-url" not in calls


def test_a_pytorch_out_of_range_is_not_touched_either(stub, tmp_path, capsys):
    assert setup.main(["--python", str(stub("2.6.0+cu124"))]) == 2
    assert "PyTorch 2.6.0+cu124 is installed and the kit needs >=2.10,<3" in capsys.readouterr().err
    assert not (tmp_path / "calls.txt").exists()


def test_a_build_can_be_chosen_when_none_is_there(stub, tmp_path):
    setup.install(stub(""), build="cu130")
    first = asked(tmp_path)[0].splitlines()[0]
    assert first.endswith("torch --index-url https://download.pytorch.org/whl/cu130")


@pytest.mark.parametrize(
    ("version", "inside"), [("2.10.0", True), ("2.9.1", False), ("2.13.0+cpu", True), ("3.0.0", False), ("2.10", True)]
)
def test_ranges(version, inside):
    assert setup.in_range(version, ">=2.10,<3") is inside


@pytest.mark.slow
def test_pip_itself_keeps_the_present_build_under_these_constraints(tmp_path):
    environment = tmp_path / "env"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    site = next((environment / "lib").glob("python*")) / "site-packages" / "torch-2.12.1+cu128.dist-info"
    site.mkdir()
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.12.1+cu128\n")
    (site / "INSTALLER").write_text("pip")
    (site / "RECORD").write_text("")
    assert setup.installed_torch(python) == "2.12.1+cu128"
    file = tmp_path / "constraints.txt"
    tested = (ROOT / "constraints.txt").read_text()
    file.write_text(setup.constraints_for("2.12.1+cu128", tested, setup.required_torch()))
    done = subprocess.run(
        [python, "-m", "pip", "install", "--dry-run", "--no-index", "-c", file, f"torch{setup.required_torch()}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "Would install" not in done.stdout
    assert "already satisfied" in done.stdout
