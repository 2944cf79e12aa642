"""What pages show as text: nothing of it is lost, and nothing of it acts."""

from k2lib.report import show


def test_questions_and_answers_of_several_lines_keep_them_apart(monkeypatch):
    shown: list[str] = []
    monkeypatch.setattr(show, "_display", shown.append)
    show.answers([{"asks": "a | b\n1 | 2", "before": "c\nd <|im_end|>"}], ["before"])
    (table,) = shown
    assert "\\| b ↵ 1 \\| 2" in table and "c ↵ d" in table and "<|" not in table and len(table.splitlines()) == 3
