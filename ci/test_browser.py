"""JupyterLab as a person uses it: opened in Chromium, "Run All Cells" chosen from the menu, every cell ends well.

This is the only place where progress bars, hover figures and the extension's rendering really run; nbval never sees
them. Needs Chromium (apt-get install chromium fonts-dejavu-core); without it the run is skipped, and says so.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from k2lib.places import ROOT
from k2lib.report.picture import MIMETYPE, browser

NOTEBOOKS = ("00_overview", "02_moe_architecture", "04_memory")
LONGEST_RUN = 1_500_000  # milliseconds for one notebook on a loaded machine
FAR = 240_000  # milliseconds for anything else; only a broken page takes so long
KERNEL = "window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status"
STARTED = """() => [...window.jupyterapp.shell.currentWidget.content.model.cells].some(
    cell => cell.type === 'code' && (cell.executionCount !== null || cell.executionState === 'running'))"""
FINISHED = """() => {
    const panel = window.jupyterapp.shell.currentWidget, cells = panel?.content?.model?.cells;
    if (!cells) return false;
    let last = null, failed = false;
    for (const cell of cells) if (cell.type === 'code') {
        last = cell;
        for (let i = 0; i < cell.outputs.length; i++) failed ||= cell.outputs.get(i).type === 'error';
    }
    return KERNEL === 'idle' && (failed || (last.executionCount !== null && last.executionState !== 'running'));
}""".replace("KERNEL", KERNEL)
OUTPUTS = """() => {
    const found = [];
    let index = -1;
    for (const cell of window.jupyterapp.shell.currentWidget.content.model.cells) {
        index += 1;
        if (cell.type !== 'code') continue;
        const outputs = [];
        for (let i = 0; i < cell.outputs.length; i++) outputs.push(cell.outputs.get(i).toJSON());
        found.push({index: index, count: cell.executionCount, outputs: outputs});
    }
    return found;
}"""
pytestmark = pytest.mark.skipif(
    browser() is None, reason="NO CHROMIUM: JUPYTERLAB WAS NOT TESTED (apt-get install chromium fonts-dejavu-core)"
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab over a copy of the notebooks, with settings of its own."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        f"JUPYTER{name}": str(folder / name.strip("_"))
        for name in ("_CONFIG_DIR", "LAB_SETTINGS_DIR", "LAB_WORKSPACES_DIR", "_RUNTIME_DIR")
    }
    environment = {name: value for name, value in os.environ.items() if name != "K2_PROGRESS_FILE"} | settings
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--IdentityProvider.token=",
        f"--ServerApp.root_dir={folder / 'notebooks'}",
        "--expose-app-in-browser",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    with open(folder / "server.log", "w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address, server, folder / "server.log")
        yield address
    finally:
        server.terminate()
        server.wait(FAR / 1000)


@pytest.fixture(scope="module")
def page():
    """One tab of Chromium; whatever its scripts complain about is collected in page.complaints."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=browser(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        tab = chromium.new_page(viewport={"width": 1300, "height": 1000})
        tab.complaints = []
        tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
        yield tab
        chromium.close()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_run_all_in_jupyterlab_ends_without_an_error(lab, page, name):
    page.goto(f"{lab}/lab/workspaces/auto-{name}/tree/{name}.ipynb?reset", wait_until="domcontentloaded")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=FAR)
    page.wait_for_function(f"() => {KERNEL} === 'idle'", timeout=FAR)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(STARTED, timeout=FAR)
    page.wait_for_function(FINISHED, timeout=LONGEST_RUN, polling=250)
    cells = page.evaluate(OUTPUTS)
    errors = [output["evalue"] for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
    assert errors == []
    assert all(cell["count"] for cell in cells)
    assert any(output.get("name") == "stdout" for output in cells[-1]["outputs"]), "b.finish() printed no verdict"
    figures = [cell["index"] for cell in cells if any(MIMETYPE in output.get("data", {}) for output in cell["outputs"])]
    assert all(_draws(page, index) for index in figures), "a figure was not drawn"
    assert page.complaints == []


def _draws(page, cell: int) -> bool:
    """Whether the figure of that cell is interactive once a person scrolls to it and points at it."""
    from playwright.sync_api import TimeoutError

    notebook = "window.jupyterapp.shell.currentWidget.content"
    page.evaluate(f"() => {notebook}.scrollToItem({cell}, 'start')")
    page.evaluate(f"() => {notebook}.widgets[{cell}].node.setAttribute('data-shown', {cell})")
    figure = page.locator(f"[data-shown='{cell}'] .jp-RenderedPlotly").first
    try:
        figure.hover(timeout=FAR)  # until then JupyterLab shows a picture of it
        figure.locator(".main-svg").first.wait_for(state="attached", timeout=FAR)
    except TimeoutError:
        return False
    return True


def _wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + FAR / 1000
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(f"{address}/api/status", timeout=1).close()
            return
        except (urllib.error.URLError, OSError):
            assert server.poll() is None, re.sub(r"\s+", " ", log.read_text())[-500:]
            time.sleep(0.25)
    raise TimeoutError(f"JupyterLab did not come up: {log.read_text()[-500:]}")
