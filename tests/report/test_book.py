"""The notebook's side: what finish demands and prints, what show stores, who sees progress."""

import itertools
import json
import re

import numpy as np
import pytest
import torch

from k2lib import closure
from k2lib.report import claims, drawing, figures, picture, start, words
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
    monkeypatch.setattr("IPython.display.display", lambda data, **_: found.append(data))
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


def test_a_skipped_claim_is_not_run_and_a_strange_one_cannot_be_skipped(artifacts, capsys):
    book = start("03_muonclip", "smoke", 0)
    book.skip(*(claim.id for claim in claims.of_notebook("03_muonclip")))
    book.finish()
    assert capsys.readouterr().out.startswith("not run: ")
    assert Ledger.load(ledger_path("03_muonclip", "smoke")).records == {}
    with pytest.raises(ValueError, match="no-such-claim"):
        book.skip("no-such-claim")


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


def test_a_picture_is_told_in_words():
    content = picture.content(figures.curves(*CURVE, x="step", y="logit", title="Logits of <b>two</b>"))
    assert picture.alt(content) == "Logits of two. logit over step"
    assert picture.alt(picture.content(figures.bars(["a"], {"b": [1]}, unit="GB", title="Bytes"))) == "Bytes. GB"
    assert picture.alt({"layout": {}}) == "A figure"


def test_a_figure_is_named_once_and_takes_arrays_and_a_bar_a_label(artifacts, shown):
    book = start("03_muonclip", "smoke", 0)
    book.bars("pool", {"a": 1, "b": torch.tensor(2.0)}, unit="count")
    book.curves("line", torch.arange(2), {"x": np.array([1 / 3, 2.0])}, x="step", y="loss")
    book.heatmap("heat", {"row": torch.ones(2)}, x="x", y="y", unit="u")
    assert book._ledger.figures == ["pool", "line", "heat"]
    bars, line, heat = [data[picture.MIMETYPE]["data"][0] for data in shown]
    assert (bars["x"], line["x"], line["y"], heat["z"]) == ([1, 2.0], [0, 1], [0.3333, 2.0], [[1.0, 1.0]])
    with pytest.raises(ValueError, match="its own name"):
        book.bars("pool", {"a": 1}, unit="count")


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


def test_a_published_page_says_what_comes_from_a_study_of_its_own(committed, tmp_path, capsys):
    source = {"machine": "another, 2 cores", "device": "CPU", "measured": {"dtype": "bfloat16"}, "commit": "4d5e6f"}
    measured = {"given": {"value": {"seed": 9}, "code": closure.of_function(given)}}
    study = Ledger("05_parallelism", "laptop", measured=measured, provenance=source | {"date": "2026-02-01"})
    study.save(tmp_path / "another" / "laptop" / "of_its_own.json")
    book = start("05_parallelism", "published", 0)
    assert book.measure("given", given) == {"seed": 9}
    told = "(given: from a study of its own on another, 2 cores in bfloat16, 2026-02-01, commit 4d5e6f)\n"
    assert capsys.readouterr().out == told


def test_a_published_page_is_judged_at_the_profile_of_its_run(committed, artifacts, capsys):
    book = start("05_parallelism", "published", 0)
    for claim in claims.of_notebook("05_parallelism"):
        book.record(claim.id, 0.0)
    book.finish()
    assert capsys.readouterr().out.startswith("holds: ")
    found = claims.verdicts("published")
    assert {found[claim.id].verdict for claim in claims.of_notebook("05_parallelism")} == {"holds"}


def test_a_published_page_of_another_seed_is_refused(committed):
    with pytest.raises(ValueError, match="run of 05_parallelism is of seed 0, not 3; choose another profile"):
        start("05_parallelism", "published", 3)


def test_a_page_that_no_run_has_measured_says_what_to_run(committed):
    with pytest.raises(FileNotFoundError, match="no committed run of 06_sft: `k2 reproduce --profile laptop`"):
        start("06_sft", "published", 0)


def test_curves_draw_seeds_as_a_band_around_their_mean_and_the_papers_value_dashed():
    figure = figures.curves(*CURVE, x="step", y="logit", paper={"τ = 3": 3.0}, title="T")
    low, high, mean, other, paper = figure.data
    assert (list(low.y), list(high.y), list(mean.y)) == ([1.0, 2.0, 4.0], [1.0, 2.0, 5.0], [1.0, 2.0, 4.5])
    assert (high.fill, mean.name, other.name) == ("tonexty", "Muon", "MuonClip")
    assert (paper.name, paper.line.dash, list(paper.y)) == ("τ = 3", "dash", [3.0, 3.0])
    assert {"Muon", "MuonClip", "τ = 3"} <= {annotation.text for annotation in figure.layout.annotations}
    assert figure.layout.title.text == "<b>T</b>"
    assert figure.layout.title.subtitle.text == "n = 2: the mean, and the band from lowest to highest"
    assert figure.layout.yaxis.range[1] >= 5.0


def test_each_run_is_a_line_of_its_own_where_that_is_asked_for():
    figure = figures.curves(*CURVE, x="step", y="logit", each="head")
    assert [list(trace.y) for trace in figure.data] == [[1.0, 2.0, 4.0], [1.0, 2.0, 5.0], [1.0, 1.5, 1.6]]
    assert figure.layout.title.subtitle.text == "one line a head"
    alone = figures.curves([0, 1], {"a": [1.0, 2.0]}, x="x", y="y")
    assert len(alone.data) == 1 and not alone.layout.title.subtitle.text


@pytest.mark.parametrize(
    "value, text",
    [(0, "0"), (1026.4, "1,026"), (31.687, "31.7"), (0.0123, "0.0123"), (3.34e-6, "3.3×10⁻⁶"), (-2.5e-4, "-2.5×10⁻⁴")],
)
def test_numbers_are_written_as_people_write_them(value, text):
    assert drawing.short(value) == text


def test_axes_are_ticked_as_people_write_them():
    assert drawing.ticks([1024, 2048, 131072], log=True)["ticktext"] == ["1k", "2k", "128k"]
    assert drawing.ticks([256, 1024], log=True)["ticktext"] == ["256", "1024"]
    assert drawing.ticks(list(range(100)), log=True) == {} == drawing.ticks([1, 2], log=False)
    assert drawing.decades(-6.2, 3.1, True)["ticktext"] == ["10⁻⁶", "10⁻⁴", "0.01", "1", "100"]
    assert drawing.decades(2.9, 4.1, True)["ticktext"] == ["1k", "2k", "5k", "10k"]
    assert drawing.decades(0, 1, False) == {}


def test_long_lines_are_thinned_but_keep_their_extremes():
    values = [0.0] * 9000
    values[1234], values[4321] = 7.0, -7.0
    trace = figures.curves(list(range(9000)), {"a": values}, x="x", y="y").data[0]
    assert len(trace.x) <= drawing.MOST_POINTS and max(trace.y) == 7.0 and min(trace.y) == -7.0


def test_labels_at_the_ends_of_lines_do_not_overlap():
    lines = {name: [0.0, 1.0 + 0.001 * number] for number, name in enumerate("abcdef")}
    figure = figures.curves([0, 1], lines, x="x", y="y")
    heights = sorted(a.y for a in figure.layout.annotations if a.text in lines)
    inner = drawing.HEIGHT - drawing.TOP - drawing.BOTTOM
    assert all((upper - lower) * inner > 14 for lower, upper in itertools.pairwise(heights))
    assert heights[0] >= 0 and heights[-1] <= 1.0001


def test_bars_carry_intervals_their_values_and_the_papers_stroke():
    bars = {"MB": {"value": [3.0, 2.0], "low": [2.5, 1.0], "high": [3.1, 2.2]}}
    figure = figures.bars(["raw", "FP8"], bars, unit="MB", paper={"FP8": 1.8})
    drawn, words = figure.data
    assert list(drawn.x) == [3.0, 2.0] and drawn.error_x.arrayminus == (0.5, 1.0)
    assert [word.strip() for word in words.text] == ["3", "2, paper 1.8"] and list(words.x) == [3.1, 2.2]
    assert figure.layout.shapes[0].x0 == 1.8 and figure.layout.xaxis.title.text == "MB"
    shares = figures.bars(["a"], {"one": [0.25], "two": [1.0]}, unit="right", share=True)
    assert [word.strip() for trace in shares.data[1::2] for word in trace.text] == ["25%", "100%"]
    assert shares.layout.xaxis.tickformat == ".0%" and shares.data[0].showlegend


def test_dots_have_a_stroke_at_zero_or_at_labelled_marks():
    figure = figures.dots(["a", "b"], {"gap": [1, None]}, unit="nats")
    assert figure.layout.shapes[0].x0 == 0 and [word.strip() for word in figure.data[1].text] == ["1", ""]
    marked = figures.dots(["a"], {"error": [1e-6]}, unit="logit", log=True, marks={"limit": 1e-4})
    assert marked.layout.annotations[0].text == "limit" and marked.layout.annotations[0].x == -4
    assert marked.layout.xaxis.range[0] < -6 and marked.layout.xaxis.range[1] > -4


def test_a_waterfall_begins_with_the_whole_and_ends_with_what_is_left():
    (drawn,) = figures.waterfall({"all": 133.0, "norm": 124.4, "FP8": 21.6}, unit="GB").data
    assert drawn.measure == ("absolute", "relative", "relative", "total")
    assert drawn.x == pytest.approx((133.0, -8.6, -102.8, 21.6))


def test_words_stand_where_they_hide_nothing():
    crowd = [(100.0 + 20 * i, 100.0, "a word") for i in range(3)] + [(395.0, 100.0, "a word")]
    places = words.place_words(crowd, 400, 200)
    boxes = [words._box(x, y, words.LETTER * (len(word) + 2), p) for (x, y, word), p in zip(crowd, places, strict=True)]
    assert sum(words._shared(*pair) for pair in itertools.combinations(boxes, 2)) == 0
    assert all(words._outside(box, 400, 200) == 0 for box in boxes)


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
    ours = {"ours": {"x": [1, 10], "y": [2, 20], "text": ["a", "b"]}}
    roof = {"roof": {"x": [0.1, 1, 100], "y": [1, 10, 10]}}
    figure = figures.points(ours, x="x", y="y", lines=roof, log_x=True, log_y=True)
    line, points = figure.data
    assert (list(points.x), list(points.y), list(points.text)) == ([1, 10], [2, 20], [" a ", " b "])
    assert list(line.x) == [0.1, 1, 100] and set(points.textposition) <= set(words.PLACES)
    low, high = figure.layout.xaxis.range
    assert low < -1 and high > 2


def test_every_label_stands_whole_beside_its_row():
    many = [f"a benchmark of number {i}, reported in two lines" for i in range(44)]
    figure = figures.bars(many, {"points": [1.0] * 44}, unit="points")
    texts = figure.layout.yaxis.ticktext
    assert [text.replace("<br>", " ") for text in texts] == many and figure.layout.yaxis.automargin
    assert all(len(line) <= drawing.WORDS for text in texts for line in text.split("<br>"))
    assert figure.layout.height >= 44 * 2 * words.LINE


def test_a_cloud_draws_every_group_and_the_one_behind_first():
    drawn = figures.cloud({"a": [[0, 1], [2, 3]], "real": [[4, 5]], "b": []}, behind="real").data
    assert [trace.name for trace in drawn] == ["real (1)", "a (2)", "b (0)"]
    assert list(drawn[1].x) == [0, 2] and list(drawn[1].y) == [1, 3]
    assert drawn[0].marker.size < drawn[1].marker.size
