"""What a result depends on: the code that its maker stands on, neither more nor less."""

import shutil

import pytest

from k2lib import closure, stages

pytestmark = pytest.mark.usefixtures("artifacts")


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the package whose files a test may edit."""
    shutil.copytree(closure.PACKAGE, tmp_path / "k2lib", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(closure, "PACKAGE", tmp_path / "k2lib")
    return tmp_path / "k2lib"


MAKERS = {name: f"k2lib.stages.{name}" for name in ("corpus", "base", "sft_data", "sft", "rl")}


def keys() -> dict[str, str]:
    closure._bare.cache_clear()
    return {name: closure.digest(closure.closure(module)) for name, module in MAKERS.items()}


def changed(path, right: str, wrong: str) -> set[str]:
    """The stages whose key an edit changes."""
    before, text = keys(), path.read_text(encoding="utf-8")
    assert right in text
    path.write_text(text.replace(right, wrong, 1), encoding="utf-8")
    after = keys()
    return {name for name in MAKERS if after[name] != before[name]}


@pytest.mark.parametrize(
    ("file", "right", "wrong", "stages"),
    [
        ("llm/terminal.py", "HELP = ", "# a comment\nHELP = ", set()),  # nobody's training needs the terminal
        ("llm/terminal.py", "HELP = ", "HELP = 'more' + ", set()),
        ("train/loop.py", "    model.train()", "    model.train()  # a comment", set()),
        ("train/loop.py", '"""The training loop', '"""Another loop', set()),
        ("stages/sft_data.py", "// 2]", "// 3]", {"sft_data", "sft", "rl"}),  # the data mixture
        ("gym/tool_use.py", "budget = 96", "budget = 97", {"sft_data", "sft", "rl"}),
        ("train/step.py", "BIAS_RATE = 1e-3", "BIAS_RATE = 2e-3", {"base", "sft", "rl"}),
        ("rl/objective.py", "tau * ratio", "2 * tau * ratio", {"rl"}),
        ("corpus/world/names.py", "FIRST", "X = 1\nFIRST", set(MAKERS)),
        ("report/figures.py", "import", "X = 1\nimport", set()),
    ],
)
def test_an_edit_makes_again_what_depends_on_it_and_nothing_else(copy, file, right, wrong, stages):
    assert changed(copy / file, right, wrong) == stages


def test_a_packages_init_hands_names_on_without_what_else_it_imports():
    files = {str(path.relative_to(closure.PACKAGE)) for path in closure.closure("k2lib.gym.play")}
    assert "llm/chat.py" in files and "llm/openai.py" not in files and "llm/__init__.py" not in files


def test_a_notebooks_cells_stand_on_what_they_take_from_a_package():
    base = closure.of_source("from k2lib import stages\nmodel = stages.base(profile)")
    assert base == closure.digest(closure.closure("k2lib.stages.base"))
    assert base != closure.of_source("from k2lib import stages\nmodel = stages.rl(profile)")
    assert closure.of_source("x = (") == ""


def test_a_function_that_is_not_the_kits_own_stands_on_nothing_of_it():
    assert closure.of_function(changed) == closure.digest(set())
    assert closure.of_function(stages.base) == closure.digest(closure.closure("k2lib.stages.base"))
