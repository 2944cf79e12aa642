"""The wheel, installed into an empty environment: prompts, claims, tables and notebooks come along, no checkout is near."""

import importlib.util
import os
import subprocess
import sys
import sysconfig
import venv

import pytest

from k2lib.places import ROOT

pytestmark = pytest.mark.slow

USE = """
from k2lib import K2Config, K2Model, places
from k2lib.cuda import source
from k2lib.evaluate import published
from k2lib.llm import ScriptedChat
from k2lib.report import claims, results
from k2lib.synth import rephrase
assert not places.CHECKOUT and "site-packages" in str(places.DATA), places.DATA
assert "quantize_fp8" in source.names() and (places.CUSIM / "cusim.h").exists()
assert len(claims.load()) > 10 and published.load("table1").rows and results.published("03_muonclip")
assert rephrase.run(rephrase.rephrase(ScriptedChat(), "Ada Novak wrote a book.", "letter")).verdict.faithful
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An interpreter that has the wheel and nothing else of the kit; its dependencies are this environment's."""
    folder = tmp_path_factory.mktemp("wheel")
    built_here = [] if importlib.util.find_spec("setuptools") is None else ["--no-build-isolation"]
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", *built_here, "-w", str(folder), str(ROOT)]
    subprocess.run(build, check=True, timeout=1200)
    (wheel,) = folder.glob("k2lib-*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    site = sysconfig.get_path("purelib", vars={"base": str(folder / "env"), "platbase": str(folder / "env")})
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, str(wheel)]
    subprocess.run(install, check=True, timeout=1200)
    with open(os.path.join(site, "dependencies.pth"), "w") as path:
        path.write(sysconfig.get_path("purelib") + "\n")  # a .pth inside it, such as the checkout's, is not followed
    return python, folder


def run(environment, *arguments: str) -> str:
    python, folder = environment
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "K2_ARTIFACTS")}
    clean["JUPYTER_PATH"] = os.path.join(sys.prefix, "share", "jupyter")  # templates of the borrowed dependencies
    done = subprocess.run(
        [str(python), *arguments], cwd=folder, env=clean, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_the_library_finds_its_data(environment):
    run(environment, "-c", USE)


def test_a_notebook_runs_and_leaves_its_results_in_the_folder_where_it_was_called(environment):
    assert "00_overview" in run(environment, "-m", "k2lib.cli", "reproduce", "--profile", "published", "--only", "00")
    assert (environment[1] / "artifacts" / "published" / "report.html").exists()
