"""What leaves a run: the page, the committed results, README's table."""

import dataclasses
import re
from pathlib import Path

import pytest

from k2lib import closure
from k2lib.publish import commit, html, pages, study, table
from k2lib.report import claims, picture, start
from k2lib.report.ledger import Ledger, Record
from k2lib.report.results import evidence, machine_folder, published
from k2lib.runner import reproduce
from k2lib.runner.plan import steps

NOTEBOOK = "02_moe_architecture"
VALUES = {
    "architecture-parity": "3e-6",
    "deepseek-total-parameters": "671.03",
    "k2-total-parameters": "1.026",
    "k2-activated-parameters": "40.0",
    "heads-cost-at-128k": "0.84",
    "selection-bias-balances": "[0.3], of='seeds'",
}
pytestmark = pytest.mark.usefixtures("artifacts")


@pytest.fixture
def run(artifacts, monkeypatch):
    """A finished run of notebook 02 with one figure, as if `k2 reproduce` had made it."""
    monkeypatch.setattr("IPython.display.display", lambda data, **_: None)
    book = start("02_moe_architecture", "smoke", 0)
    book.bars("shapes", {"a": 1.0}, unit="numbers")
    book.record("architecture-parity", 3e-6, detail="largest of <8> batches")
    book.record("deepseek-total-parameters", 671.03)
    book.record("k2-total-parameters", 1.026)
    book.record("k2-activated-parameters", 40.0)
    book.record("heads-cost-at-128k", 0.84)
    book.record("selection-bias-balances", [0.3], of="seeds")
    book.finish()
    (artifacts / "notebooks").mkdir()
    (artifacts / "notebooks" / "02_moe_architecture.done").write_text("{}")
    return artifacts


def test_the_page_shows_ours_beside_the_papers_and_needs_no_network(run):
    page = html.write("smoke").read_text()
    row = re.search(r"<tr id='k2-total-parameters'>.*?</tr>", page)[0]
    assert "1.026" in row and "<td>1.04</td>" in row and ">differs by 1.3%<" in row
    assert ">differs by 22.7%<" in re.search(r"<tr id='k2-activated-parameters'>.*?</tr>", page)[0]
    assert ">holds<" in re.search(r"<tr id='architecture-parity'>.*?</tr>", page)[0]
    assert "to test: " in re.search(r"<tr id='sparsity-lowers-loss'>.*?</tr>", page)[0]
    assert ">not run<" in re.search(r"<tr id='rl-raises-success'>.*?</tr>", page)[0]
    assert "largest of &lt;8&gt; batches" in page
    assert "Plotly.newPlot" in page and 1_000_000 < len(page) < 5_000_000
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)


@pytest.mark.slow
@pytest.mark.skipif(picture.browser() is None, reason="no Chromium (apt-get install chromium)")
def test_the_report_draws_its_figures_without_a_complaint_and_its_links_lead_somewhere(make, artifacts, monkeypatch):
    figure = "from k2lib.report import figures\nb.show(figures.bars(['a'], {'b': [1.0]}, unit='GB', title='x < y'), 'routing')"
    records = [
        f"b.record('{claim.id}', {VALUES[claim.id]})".replace("'", '"') for claim in claims.of_notebook(NOTEBOOK)
    ]
    path = make(NOTEBOOK, figure, "\n".join(records), finish=True)
    assert reproduce("smoke", notebooks=path.parent) == 0
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=picture.browser(), args=["--no-sandbox"])
        tab, complaints = chromium.new_page(), []
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        tab.goto((artifacts / "report.html").as_uri())
        tab.wait_for_selector("figure .main-svg")
        assert tab.get_attribute("figure > div", "aria-label") == "x < y. GB"
        links = tab.eval_on_selector_all("a", "links => links.map(link => link.href)")
        chromium.close()
    assert complaints == [] and links
    for link in links:
        page, _, cell = link.removeprefix("file://").partition("#")
        assert (Path(page).exists() and not cell) or f'id="{cell}"' in Path(page).read_text()
    assert any("#cell-id=" in link for link in links)


def test_the_page_marks_claims_measured_before_the_code_changed(run):
    assert "measured before the code changed" not in html.write("smoke").read_text()
    assert "measured before the code changed" in html.write("smoke", ["02_moe_architecture"]).read_text()


@pytest.mark.slow
def test_an_executed_notebook_becomes_a_page_with_interactive_figures(make, artifacts):
    path = make("00_a", "import plotly.graph_objects as go\nb.show(go.Figure(go.Bar(y=[1, 2])), 'line')", finish=True)
    assert reproduce("smoke", notebooks=path.parent) == 0
    page = (artifacts / "notebooks" / "00_a.html").read_text()
    assert "Plotly.newPlot" in page and 'src="plotly.min.js"' in page and "require.min.js" not in page
    assert (artifacts / "notebooks" / "plotly.min.js").stat().st_size > 3_000_000
    assert "notebooks/00_a.html" in (artifacts / "report.html").read_text()
    assert pages.write(artifacts, "01_none") is False
    assert steps("smoke", path.parent)[0].is_done()


def test_published_results_keep_their_provenance(run, tmp_path):
    written = commit.publish("smoke", tmp_path / "results")
    ledger = Ledger.load(written[0])
    assert written == [tmp_path / "results" / machine_folder(ledger.provenance) / "smoke" / "02.json"]
    assert {"command", "commit", "machine", "device", "versions", "seed", "date"} <= set(ledger.provenance)
    with pytest.raises(ValueError, match="publish the run of another profile"):
        commit.publish("published", tmp_path / "results")
    with pytest.raises(ValueError, match="the published profile measures nothing"):
        study.run("growth", "published", results=tmp_path / "results")
    assert evidence(tmp_path / "results")["architecture-parity"].run is None  # smoke is no evidence


def test_the_strongest_run_is_the_evidence(run, tmp_path):
    smoke = Ledger.load(commit.publish("smoke", tmp_path / "results")[0])

    def add(machine, profile, date, value):
        record = Record("muon-logits-explode", value, "seeds")
        provenance = smoke.provenance | {"date": date, "machine": machine}
        ledger = Ledger("03_muonclip", profile, records={record.id: record}, provenance=provenance)
        ledger.save(tmp_path / "results" / machine / profile / "clip.json")

    add("a", "study", "2026-01-02", [2.0, 2.1, 2.2])
    add("b", "study", "2026-01-03", [3.0, 3.1, 3.2])
    found = evidence(tmp_path / "results")["muon-logits-explode"]
    assert (found.run.machine, found.verdict.verdict) == ("b", claims.REPRODUCED)  # the newest
    add("a", "study", "2026-01-02", [1.0, 1.1, 1.2, 1.3])
    found = evidence(tmp_path / "results")["muon-logits-explode"]
    assert (found.run.machine, found.verdict.verdict) == ("a", claims.PARTLY)  # more seeds
    add("c", "gpu", "2026-01-01", [0.1, 0.2, 0.3])
    found = evidence(tmp_path / "results")["muon-logits-explode"]
    assert (found.run.profile, found.verdict.verdict) == ("gpu", claims.FAILED)  # the largest profile


def test_a_page_is_drawn_from_the_largest_run_that_measured_and_there_from_the_newest(tmp_path):
    def add(machine, profile, date, measured):
        ledger = Ledger("05_parallelism", profile, measured=measured, provenance={"date": date})
        ledger.save(tmp_path / machine / profile / "05.json")

    with pytest.raises(FileNotFoundError, match="no committed run of 05_parallelism"):
        published("05_parallelism", tmp_path)
    runs_value = {"runs": {"value": 1, "code": "c"}}
    for machine, profile, date, measured, chosen in (
        ("a", "smoke", "2026-01-09", runs_value, ("a", "smoke")),
        ("a", "laptop", "2026-01-02", runs_value, ("a", "laptop")),
        ("b", "laptop", "2026-01-03", runs_value, ("b", "laptop")),
        ("c", "laptop", "2026-01-01", runs_value, ("b", "laptop")),
        ("c", "gpu", "2026-01-09", {}, ("b", "laptop")),
        ("a", "study", "2026-01-01", runs_value, ("a", "study")),
    ):
        add(machine, profile, date, measured)
        run, ledger = published("05_parallelism", tmp_path)
        assert (run.machine, run.profile) == chosen and ledger.provenance["date"]


def test_a_page_takes_what_a_study_of_its_own_has_measured_no_earlier(tmp_path):
    source = {"device": "CPU", "machine": "a", "measured": {"dtype": "float32"}, "commit": "abc", "date": "2026-01-02"}

    def add(name, value, date, notebook="07_rl"):
        records = {"rl-raises-success": Record("rl-raises-success", value)}
        measured = {"second": {"value": value, "code": "c"}} | (
            {"arms": {"value": 1, "code": "c"}} if name == "07" else {}
        )
        ledger = Ledger(notebook, "study", records=records, measured=measured, provenance=source | {"date": date})
        ledger.save(tmp_path / "a" / "study" / f"{name}.json")

    add("07", 1.0, "2026-01-02")
    add("older", 2.0, "2026-01-01")
    add("of_another_page", 3.0, "2026-01-09", "06_sft")
    _, ledger = published("07_rl", tmp_path)
    assert ledger.measured["second"] == {"value": 1.0, "code": "c"} and ledger.records["rl-raises-success"].values == 1
    add("newest", 5.0, "2026-01-04")
    add("later", 4.0, "2026-01-03")
    _, ledger = published("07_rl", tmp_path)
    told = "a in float32, 2026-01-04, commit `abc`"
    assert ledger.measured["second"] == {"value": 5.0, "code": "c", "where": told} and "arms" in ledger.measured
    assert ledger.records["rl-raises-success"].values == 5 and ledger.provenance["date"] == "2026-01-02"


def test_a_study_leaves_what_its_page_shows_unless_other_seeds_are_asked_for(artifacts, tmp_path, monkeypatch):
    def shown(profile, seed, progress):
        return {"seen": [profile.name, seed]}

    monkeypatch.setattr(study.stages, "study", lambda *_, **how: [])
    monkeypatch.setitem(study.STUDIES, "growth", dataclasses.replace(study.STUDIES["growth"], values=lambda *_: {}))
    how = {"results": tmp_path, "shown": {"of_growth": shown}}
    _, ledger = study.run("growth", "smoke", **how)
    assert ledger.measured == {"of_growth": {"value": {"seen": ["smoke", 0]}, "code": closure.of_function(shown)}}
    assert study.run("growth", "smoke", 2, **how)[1].measured == {}


def test_a_machine_is_named_by_its_processor_or_gpu_and_its_arithmetic():
    old = {"machine": "Intel Xeon, 2 cores", "device": "CPU"}
    assert machine_folder(old) == "intel-xeon-2-cores"
    assert machine_folder(old | {"measured": {"dtype": "float32"}}) == "intel-xeon-2-cores-float32"
    assert machine_folder(old | {"device": "NVIDIA H200", "measured": {"dtype": "bfloat16"}}) == "nvidia-h200-bfloat16"


def test_nothing_half_done_is_published(run, tmp_path, artifacts):
    with pytest.raises(FileNotFoundError, match="run `k2 reproduce --profile gpu` first"):
        commit.publish("gpu", tmp_path / "results")
    (artifacts / "notebooks" / "02_moe_architecture.done").unlink()
    with pytest.raises(ValueError, match="02_moe_architecture did not finish"):
        commit.publish("smoke", tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_readmes_table_is_generated_from_the_committed_results(run, tmp_path, monkeypatch):
    written = commit.publish("smoke", tmp_path / "results")[0]
    ledger = Ledger.load(written)
    ledger.profile = "laptop"
    ledger.save(written.parent.parent / "laptop" / "02.json")
    text = table.markdown(tmp_path / "results")
    assert "| 1.026 | **differs by 1.3%** | 1 |" in text and "| 40 | **differs by 22.7%** | 1 |" in text
    assert re.search(r"\| rounds to 1\.04 \(since \w+\) † \|", text)
    assert "(trillions).* Until 2026-11-25 within 2% of 1.04 (" in text  # in the list below both tables
    assert re.search(r"\| 0\.83 \| within 10% of 0\.83 \(since \w+\) \| 0\.84 \| \*\*reproduced\*\* \| 1 \|", text)
    assert "### Statements of the paper\n\n2 reproduced, 2 differs, " in text
    assert "### Checks of the kit\n\n1 holds, " in text and f"1. laptop, {ledger.provenance['machine']}" in text
    assert "| *to test: five arms, several seeds* | – | untested |  |" in text
    readme = tmp_path / "README.md"
    readme.write_text(f"# Kit\n{table.BEGIN}\nold\n{table.END}\nrest\n")
    monkeypatch.setattr("k2lib.report.results.RESULTS", tmp_path / "results")
    assert table.update_readme(readme) is True
    assert table.update_readme(readme) is False
    assert readme.read_text().endswith(f"{table.END}\nrest\n") and "1.026" in readme.read_text()
    readme.write_text("# Kit\n")
    with pytest.raises(ValueError, match="lacks the markers"):
        table.update_readme(readme)


def test_the_terminals_table_counts_the_verdicts(run):
    text = table.terminal("smoke")
    assert re.search(r"^architecture-parity +3e-06 +0 +holds$", text, re.MULTILINE)
    assert "smoke, statements of the paper: 2 reproduced, 2 differs, " in text
    assert "smoke, checks of the kit: 1 holds, " in text and "sparsity-lowers-loss" not in text


@pytest.mark.slow
def test_a_study_goes_on_where_it_was_and_leaves_every_seed_as_evidence(artifacts, tmp_path, monkeypatch):
    measured = []

    def measure(config, dataset, profile, seed, progress):
        measured.append(seed)
        answers = {"knowledge": -1.0, "mathematics": -2.0 - seed}
        return {"Muon": {"fresh": 3.0, "answers": answers}, "MuonClip": {"fresh": 3.0 + seed, "answers": answers}}

    monkeypatch.setitem(study.STUDIES, "harm", dataclasses.replace(study.STUDIES["harm"], measure=measure))
    study.run("harm", "smoke", 2, results=tmp_path)
    study.run("harm", "smoke", None, results=tmp_path)  # the profile's own number: nothing new
    path, ledger = study.run("harm", "smoke", 3, results=tmp_path)
    assert measured == [0, 1, 2] and path.parent.name == "smoke" and path.name == "harm.json"
    records = Ledger.load(path).records
    assert records["aggressive-clip-costs-no-loss"].values == [0.0, 1.0, 2.0] and ledger.provenance["commit"]
    assert records["qk-clip-costs-no-skill"].values == [0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="unknown study 'clap'; choose one of table1, chunks, notes"):
        study.run("clap", "smoke", results=tmp_path)
    with pytest.raises(ValueError, match="at least one seed, not 0"):
        study.run("harm", "smoke", 0, results=tmp_path)
