"""The notebook's side: what finish demands and prints, what show stores, who sees progress."""

import itertools
import json
import re

import numpy as np
import pytest
import torch

from k2lib import closure
from k2lib.report import claims, drawing, figures, picture, start
from k2lib.report.ledger import Ledger, Record, ledger_path
from k2lib.report.progress import progress
from k2lib.report.provenance import provenance

pytestmark = pytest.mark.usefixtures("artifacts")

CURVE = [0, 1, 2], {"Muon": [[1.0, 2.0, 4.0], [1.0, 2.0, 5.0]], "MuonClip": [1.0, 1.5, 1.6]}


def recorded(book):
    for claim in claims.of_notebook(book.notebook):
        book.record(claim.id, [1.0, 0.5, 1.5], of="seeds")
    return book


@pytest.fixture
def shown(monkeypatch):
    """What notebooks display, collected."""
    found = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: found.append(data))
    return found


def test_finish_writes_the_ledger_and_prints_a_verdict_for_every_claim(artifacts, shown, capsys):
    book = recorded(start("03_muonclip", "smoke", 3))
    book.curves("curve", *CURVE, x="step", y="logit")
    book.metric("loss", 2.5)
    book.finish()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 * len(claims.of_notebook("03_muonclip")) - 1  # verdict, numbers, an empty line
    assert lines[0].startswith("not tested at this size: ")
    assert re.match(r" +measured 1 \[.*, 2\.\d+\], n = 3 \(95%, .*\); paper: .*; holds if ", lines[1])
    ledger = Ledger.load(ledger_path("03_muonclip", "smoke"))
    assert ledger.seed == 3 and ledger.metrics == {"loss": 2.5} and ledger.figures == ["curve"]
    assert {"command", "commit", "machine", "device", "measured", "versions", "seed", "date"} <= set(ledger.provenance)


def test_finish_refuses_while_a_claim_is_unrecorded(artifacts):
    book = start("03_muonclip", "smoke", 0)
    book.record("qk-clip-caps-logits", [1.0, 1.1, 1.2], of="seeds")
    with pytest.raises(ValueError, match="has not recorded muon-logits-explode"):
        book.finish()
    assert not ledger_path("03_muonclip", "smoke").exists()


def test_a_foreign_unknown_repeated_or_unjudgeable_record_is_refused(artifacts):
    book = start("03_muonclip", "smoke", 0)
    with pytest.raises(ValueError, match="belongs to 02_moe_architecture"):
        book.record("architecture-parity", 1.0)
    with pytest.raises(ValueError, match="unknown claim"):
        book.record("no-such-claim", 1.0)
    book.record("muon-logits-explode", [2.0], of="seeds")
    with pytest.raises(ValueError, match="already recorded"):
        book.record("muon-logits-explode", [2.0], of="seeds")
    with pytest.raises(ValueError, match="record the raw values"):
        start("03_muonclip", "laptop", 0).record("qk-clip-caps-logits", 1.0)


def test_the_module_function_records_into_the_open_book(artifacts):
    book = start("03_muonclip", "smoke", 0)
    assert claims.record("muon-logits-explode", [2.0], of="seeds") == "not tested at this size"
    with pytest.raises(ValueError, match="already recorded"):
        book.record("muon-logits-explode", [2.0], of="seeds")


def test_start_refuses_an_unknown_profile_and_a_bad_name():
    with pytest.raises(ValueError, match="unknown profile 'huge'"):
        start("03_muonclip", "huge", 0)
    with pytest.raises(ValueError, match="named like '03_muonclip'"):
        start("muonclip", "smoke", 0)


def test_start_seeds_every_generator(artifacts):
    draws = []
    for seed in (0, 0, 1):
        start("00_a", "smoke", seed)
        draws.append((torch.rand(1).item(), np.random.rand()))
    assert draws[0] == draws[1] != draws[2]


def test_show_displays_plain_rounded_json_and_needs_a_new_name(artifacts, shown):
    book = start("00_a", "smoke", 0)
    import plotly.graph_objects as go

    book.show(go.Figure(go.Scatter(y=np.array([1 / 3, 2 / 3]))), "thirds")
    assert shown[0]["text/plain"] == "<figure 00_a/thirds>"
    assert shown[0][picture.MIMETYPE]["data"][0]["y"] == [0.3333, 0.6667]
    assert "image/png" not in shown[0]
    assert json.loads((artifacts / "figures" / "00_a" / "thirds.json").read_text()) == shown[0][picture.MIMETYPE]
    with pytest.raises(ValueError, match="its own name"):
        book.show(go.Figure(), "thirds")


@pytest.mark.skipif(picture.browser() is None, reason="no Chromium: figures have no pictures")
def test_a_picture_is_drawn_when_asked_for(monkeypatch):
    monkeypatch.setenv("K2_PNG", "1")
    png = picture.png(picture.content(figures.curves(*CURVE, x="step", y="logit")))
    assert png.startswith("iVBORw0KGgo")


def test_a_figure_is_named_once_and_takes_arrays_and_a_bar_a_label(artifacts, shown):
    book = start("03_muonclip", "smoke", 0)
    book.bars("pool", {"a": 1, "b": torch.tensor(2.0)}, y="count")
    book.curves("line", torch.arange(2), {"x": np.array([1 / 3, 2.0])}, x="step", y="loss")
    book.heatmap("heat", {"row": torch.ones(2)}, x="x", y="y", unit="u")
    assert book._ledger.figures == ["pool", "line", "heat"]
    bars, line, heat = [data[picture.MIMETYPE]["data"][0] for data in shown]
    assert (bars["y"], line["x"], line["y"], heat["z"]) == ([1, 2.0], [0, 1], [0.3333, 2.0], [[1.0, 1.0]])
    with pytest.raises(ValueError, match="its own name"):
        book.bars("pool", {"a": 1}, y="count")


def test_what_is_measured_is_plain_rounded_and_kept_with_the_hash_of_its_code(artifacts):
    book = start("05_parallelism", "smoke", 3)
    assert book.measure("given", given) == {"seed": 3, "third": 0.333333, "pair": [1.0, 2.0]}
    kept = book._ledger.measured["given"]
    assert kept == {"value": {"seed": 3, "third": 0.333333, "pair": [1.0, 2.0]}, "code": closure.of_function(given)}
    with pytest.raises(ValueError, match="its own name"):
        book.measure("given", given)
    with pytest.raises(ValueError, match="not a function of k2lib; move it there"):
        book.measure("inside", lambda profile, seed, progress: 1)


def given(profile, seed, progress):
    assert list(progress(range(3), "look", 3)) == [0, 1, 2]
    return {"seed": seed, "third": 1 / 3, "pair": torch.tensor([1.0, 2.0])}


given.__module__ = "k2lib.intervals"  # as if it stood there


@pytest.fixture
def committed(tmp_path, monkeypatch):
    """A laptop's committed run of notebook 05, and what a page displayed."""
    monkeypatch.setattr("k2lib.report.results.RESULTS", tmp_path)
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **_: shown.append(data))
    provenance = {"machine": "a machine, 2 cores", "device": "CPU", "measured": {"dtype": "float32"}}
    provenance |= {"date": "2026-01-31", "commit": "1a2b3c"}
    entry = {"value": {"seed": 7}, "code": closure.of_function(given)}
    claim = claims.of_notebook("05_parallelism")[0]
    for profile, more in (("smoke", {"seed": 5}), ("laptop", {"seed": 7})):
        measured = {"given": entry | {"value": more}, "old": entry | {"code": "another"}}
        one = Ledger("05_parallelism", profile, measured=measured, provenance=provenance)
        one.records[claim.id] = Record(claim.id, 0.0)
        one.save(tmp_path / "a-machine" / profile / "05.json")
    return shown


def test_a_published_page_reads_the_largest_committed_run_and_says_where_it_was_measured(committed, capsys):
    book = start("05_parallelism", "published", 0)
    assert "profile `laptop` on a machine, 2 cores in float32, 2026-01-31, commit `1a2b3c`" in committed[0].data
    assert book.profile.name == "laptop"
    assert book.measure("given", given) == {"seed": 7} and capsys.readouterr().out == ""
    assert book.measure("old", given) == {"seed": 7}
    assert capsys.readouterr().out == "(old: the code that measured this has changed since)\n"
    with pytest.raises(
        ValueError, match="has not measured 'new'; `k2 reproduce --profile laptop --only 05` and `k2 pub"
    ):
        book.measure("new", given)


def test_a_published_page_is_judged_at_the_profile_of_its_run(committed, artifacts, capsys):
    book = start("05_parallelism", "published", 0)
    for claim in claims.of_notebook("05_parallelism"):
        book.record(claim.id, 0.0)
    book.finish()
    assert capsys.readouterr().out.startswith("holds: ")
    found = claims.verdicts("published")
    assert {found[claim.id].verdict for claim in claims.of_notebook("05_parallelism")} == {"holds"}


def test_a_page_that_no_run_has_measured_says_what_to_run(committed):
    with pytest.raises(FileNotFoundError, match="no committed run of 06_sft: `k2 reproduce --profile laptop`"):
        start("06_sft", "published", 0)


def test_curves_draw_seeds_thin_and_the_papers_value_dashed():
    figure = figures.curves(*CURVE, x="step", y="logit", paper={"τ = 3": 3.0}, title="T")
    styles = [(trace.name, trace.line.dash, trace.line.width) for trace in figure.data]
    assert styles[:3] == [("Muon", "solid", 0.7), ("Muon", "solid", 0.7), ("Muon", "solid", 2.2)]
    assert list(figure.data[2].y) == [1.0, 2.0, 4.5]
    assert ("τ = 3", "dash", 1.3) in styles
    texts = [annotation.text for annotation in figure.layout.annotations]
    assert {"Muon", "MuonClip", "τ = 3", "<b>T</b>"} <= set(texts)
    assert figure.layout.yaxis.range[1] >= 5.0


def test_long_lines_are_thinned_but_keep_their_extremes():
    values = [0.0] * 5000
    values[1234], values[4321] = 7.0, -7.0
    trace = figures.curves(list(range(5000)), {"a": values}, x="x", y="y").data[0]
    assert len(trace.x) <= 160 and max(trace.y) == 7.0 and min(trace.y) == -7.0


def test_labels_at_the_ends_of_lines_do_not_overlap():
    lines = {name: [0.0, 1.0 + 0.001 * number] for number, name in enumerate("abcdef")}
    figure = figures.curves([0, 1], lines, x="x", y="y")
    heights = sorted(a.y for a in figure.layout.annotations if a.text in lines)
    inner = drawing.HEIGHT - drawing.TOP - drawing.BOTTOM
    assert all((upper - lower) * inner > 14 for lower, upper in itertools.pairwise(heights))
    assert heights[0] >= 0 and heights[-1] <= 1.0001


def test_bars_carry_intervals_and_the_papers_stroke():
    bars = {"MB": {"value": [3.0, 2.0], "low": [2.5, 1.0], "high": [3.1, 2.2]}}
    figure = figures.bars(["raw", "FP8"], bars, y="MB", paper={"FP8": 1.8})
    assert list(figure.data[0].y) == [3.0, 2.0]
    assert figure.data[0].error_y.arrayminus == (0.5, 1.0)
    assert figure.layout.shapes[0].y0 == 1.8


def test_progress_goes_to_the_runners_file_and_is_silent_without_one(tmp_path, monkeypatch, capsys):
    assert list(progress(range(3), "work")) == [0, 1, 2]
    monkeypatch.setenv("K2_PROGRESS_FILE", str(tmp_path / "p.json"))
    seen = [json.loads((tmp_path / "p.json").read_text()) for _ in progress(iter(range(2)), "work", total=2)]
    assert seen[0] == {"desc": "work", "done": 0, "total": 2}
    assert not (tmp_path / "p.json").exists()
    assert capsys.readouterr() == ("", "")


def test_a_person_in_jupyterlab_gets_a_bar(monkeypatch):
    calls = []
    monkeypatch.setenv("JPY_SESSION_NAME", "x.ipynb")
    monkeypatch.setattr("tqdm.auto.tqdm", lambda iterable, **options: calls.append(options) or iterable)
    assert list(progress([1, 2], "work")) == [1, 2]
    assert calls == [{"desc": "work", "total": 2, "leave": False}]


def test_provenance_names_no_host(monkeypatch):
    import platform

    found = provenance(0)
    assert "cores" in found["machine"] and found["measured"]["threads"] == torch.get_num_threads()
    assert found["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert platform.node() not in json.dumps(found)


def test_points_carry_their_words_over_a_roof():
    ours = {"ours": {"x": [1, 10], "y": [2, 20], "text": ["a", "b"], "place": ["top left", "bottom right"]}}
    roof = {"roof": {"x": [0.1, 1, 100], "y": [1, 10, 10]}}
    figure = figures.points(ours, x="x", y="y", lines=roof, log_x=True, log_y=True)
    line, points = figure.data
    assert (list(points.x), list(points.y), list(points.text)) == ([1, 10], [2, 20], [" a ", " b "])
    assert list(points.textposition) == ["top left", "bottom right"] and list(line.x) == [0.1, 1, 100]
    alone = figures.points(ours, x="x", y="y")
    assert alone.layout.xaxis.range[0] < 1 - 2 and alone.layout.xaxis.range[1] > 10 + 2  # room for words


def test_every_label_of_a_category_stands_whole_beneath_its_bar():
    few = [
        "faithful, accepted",
        "changed relation, rejected",
        "quantity in words, rejected",
        "hedged fact, rejected",
    ] * 2
    figure = figures.bars(few, {"share": [1.0] * 8}, y="share")
    texts, room = figure.layout.xaxis.ticktext, (drawing.WIDTH - drawing.LEFT) / 8
    assert [text.replace("<br>", " ") for text in texts] == few and figure.layout.xaxis.tickangle == 0
    assert all(len(line) * drawing.LETTER <= room for text in texts for line in text.split("<br>"))
    lines = max(text.count("<br>") for text in texts)
    assert figure.layout.margin.b == drawing.BOTTOM + drawing.LINE * lines
    many = [f"a benchmark of number {i}" for i in range(44)]
    figure = figures.bars(many, {"points": [1.0] * 44}, y="points")
    assert list(figure.layout.xaxis.ticktext) == many and figure.layout.xaxis.tickangle == -90
    assert figure.layout.margin.b >= drawing.BOTTOM + len(many[-1]) * drawing.LETTER
    assert (
        figure.layout.height - figure.layout.margin.b == drawing.HEIGHT - drawing.BOTTOM
    )  # the bars keep their height
