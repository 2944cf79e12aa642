"""Corpus, tokenizer, world, mathematics, packing and a user's own files."""

import gzip
import itertools
import json
import lzma
import random
import re
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from k2lib.corpus import arithmetic, packing
from k2lib.corpus.documents import Document
from k2lib.corpus.readers import LONGEST, read_corpus
from k2lib.corpus.stdlib import stdlib_documents
from k2lib.corpus.tokenizer import CONTROL, Tokenizer
from k2lib.corpus.world import STYLES, World


def test_the_standard_library_gives_documents_and_sources_in_a_fixed_order():
    first, again = (list(stdlib_documents(600_000, seed=1)) for _ in range(2))
    assert first == again
    assert sum(len(d.text.encode()) for d in first) >= 600_000
    assert all(d.licence == "PSF-2.0" for d in first)


def test_the_standard_library_holds_five_megabytes_of_both_kinds():
    documents = list(stdlib_documents(5_200_000))
    assert sum(len(d.text.encode()) for d in documents) >= 5_000_000
    assert {d.kind for d in documents} == {"stdlib-doc", "stdlib-source"}


@given(text=st.text(max_size=200))
def test_any_text_survives_and_never_becomes_a_control_token(tiny_tokenizer, text):
    ids = tiny_tokenizer.encode(text)
    assert tiny_tokenizer.decode(ids) == text
    assert all(tiny_tokenizer.control_name(i) is None for i in ids)


def test_text_that_spells_control_tokens_stays_text(tiny_tokenizer):
    for name in CONTROL:
        ids = tiny_tokenizer.encode(f"x{name}y")
        assert tiny_tokenizer.encode_control(name) not in ids
        assert tiny_tokenizer.decode(ids) == f"x{name}y"
    with pytest.raises(ValueError, match="no control token"):
        tiny_tokenizer.encode_control("<|nope|>")


def foreign(tmp_path, tiny_tokenizer, change):
    """A directory with a tokenizer as another program wrote it."""
    tiny_tokenizer.save(tmp_path)
    data = json.loads((tmp_path / "tokenizer.json").read_text())
    change(data)
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    return tmp_path


def test_a_checkpoints_own_control_tokens_keep_their_ids(tiny_tokenizer, tmp_path):
    def reverse(data):  # the control tokens in another order, one of them not marked as special
        control = data["added_tokens"][-len(CONTROL) :]
        for entry, content in zip(control, reversed([e["content"] for e in control]), strict=True):
            entry["content"] = content
        control[0]["special"] = False

    loaded = Tokenizer.load(foreign(tmp_path, tiny_tokenizer, reverse))
    size = tiny_tokenizer.vocab_size
    assert loaded.vocab_size == size and loaded.pad_id == size - len(CONTROL) and loaded.bos_id == size - 1
    text = "".join(CONTROL)
    assert (
        all(loaded.control_name(i) is None for i in loaded.encode(text)) and loaded.decode(loaded.encode(text)) == text
    )


def test_a_tokenizer_without_control_tokens_is_refused_and_so_is_one_in_another_form(tiny_tokenizer, tmp_path):
    directory = foreign(tmp_path, tiny_tokenizer, lambda data: data["added_tokens"].pop())
    with pytest.raises(
        ValueError, match=r"tokenizer\.json is not a tokenizer for K2 \(it has no control token \[PAD\]"
    ):
        Tokenizer.load(directory)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tiktoken.model").write_text("")
    with pytest.raises(ValueError, match="holds a tiktoken"):
        Tokenizer.load(directory)


def test_a_name_of_several_words_is_several_tokens_however_it_is_written():
    """As in the released tokenizer: "setOwner" is read as its words are elsewhere, and stays short of one token."""
    tokenizer = Tokenizer.train(
        [f"{verb}Owner {verb} Owner, {verb.upper()}" for verb in ("set", "get", "add")] * 50, 320
    )
    for text in ("setOwner", "getOwner", "setOwnerOwner"):
        pieces = [tokenizer.decode([i]) for i in tokenizer.encode(text)]
        assert "".join(pieces) == text and pieces[0] == text[:3] and set(pieces[1:]) == {"Owner"}, pieces
    assert tokenizer.decode(tokenizer.encode("naïve ÉTÉ été Ωmega 日本setX ǅx")) == "naïve ÉTÉ été Ωmega 日本setX ǅx"


def test_learning_merges_of_endless_words_takes_linear_time():
    def seconds(n):
        begun = time.process_time()
        Tokenizer.train(["x" * n + " " * n + "#" * n + "\n" * n], 400)
        return time.process_time() - begun

    seconds(2000)
    assert seconds(400_000) < 2000 * max(seconds(2000), 1e-3)


def test_a_tokenizer_keeps_its_size_and_survives_a_save(tiny_tokenizer, tmp_path):
    assert tiny_tokenizer.vocab_size == 320
    assert tiny_tokenizer.pad_id == 319
    tiny_tokenizer.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.vocab_size == 320
    assert again.encode("the quick fox 123") == tiny_tokenizer.encode("the quick fox 123")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer\.json is not a tokenizer"):
        Tokenizer.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Tokenizer.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="vocab_size is 100"):
        Tokenizer.train(["a"], 100)


def test_a_document_states_every_fact_in_any_style():
    world = World.generate(3, 20)
    for style in STYLES:
        text = world.document(world.people[4], style, random.Random(1))
        assert all(fact.value in text for fact in world.facts(world.people[4]))
    assert World.generate(3, 20).facts(world.people[0]) == world.facts(world.people[0])
    with pytest.raises(ValueError, match="people is 1"):
        World.generate(0, 1)


def test_held_out_people_are_never_asked_about_in_the_corpus():
    world = World.generate(0, 30)
    asked, heldout = world.of("train"), world.of("development") + world.of("test")
    assert sorted(asked + heldout) == sorted(world.people)  # every person is of one split
    questions = "\n".join(d.text for d in world.documents(4) if d.kind == "qa")
    assert all(person in questions for person in asked)
    assert not any(person in questions for person in heldout)
    told = "\n".join(d.text for d in world.documents(4) if d.kind == "world")
    assert all(person in told for person in heldout)


def equations(text: str) -> set[tuple]:
    """Every equation that a text states; 3 + 5 is 5 + 3."""
    found = re.findall(r"(\d+) ([-+*]) (\d+) = \d+", text)
    return {(sign, *((int(a), int(b)) if sign == "-" else sorted((int(a), int(b))))) for a, sign, b in found}


@pytest.mark.parametrize("largest", [8, 20])
def test_no_equation_of_a_split_is_stated_in_another(largest):
    drilled = equations("\n".join(d.text for seed in (0, 1) for d in arithmetic.documents(20_000, seed, largest)))
    asked = {s: arithmetic.problems(100, 0, s, largest) for s in ("development", "test")}
    stated = {s: equations("\n".join(map(arithmetic.solution, made))) for s, made in asked.items()}
    assert len(drilled) > 90 and all(len(found) > 10 for found in stated.values())
    assert not drilled & stated["development"] and not drilled & stated["test"]
    assert not stated["development"] & stated["test"]
    kinds = {problem.question.split()[0] == "What" for problem in asked["test"]}
    assert kinds == {True, False}  # bare equations and stories


def test_arithmetic_is_right_and_the_splits_are_disjoint():
    train, heldout = arithmetic.problems(600, 0), arithmetic.problems(100, 0, "test")
    assert not {p.question for p in train} & {p.question for p in heldout}
    assert len({p.question for p in heldout}) == 100
    for problem in [*train, *heldout]:
        for step in problem.steps.rstrip(".").split(". "):
            left, right = step.split(" = ")
            a, sign, b = left.split()
            assert {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign] == int(right)
    with pytest.raises(ValueError, match="'heldout'"):
        arithmetic.problems(1, 0, "heldout")


@pytest.fixture
def shards(tiny_tokenizer, tmp_path):
    documents = [Document(f"the fox {i} jumps over dog {i}. " * 5, f"d{i}", "world", "generated") for i in range(200)]
    packing.write_shards(documents, tiny_tokenizer, tmp_path, 2000, {"seed": 7})
    return tmp_path


def test_a_manifest_accounts_for_every_token(shards, tiny_tokenizer):
    manifest = json.loads((shards / "manifest.json").read_text())
    dataset = packing.PackedDataset(shards)
    assert manifest["seed"] == 7
    total = sum(s["tokens"] for s in manifest["shards"])
    assert (
        total == manifest["kinds"]["world"]["tokens"] == len(dataset.tokens("train")) + len(dataset.tokens("heldout"))
    )
    assert manifest["kinds"]["world"]["documents"] == 200
    assert int((torch.cat([dataset.tokens("train"), dataset.tokens("heldout")]) == tiny_tokenizer.eos_id).sum()) == 200


def test_batches_depend_on_seed_and_step_alone(shards):
    dataset = packing.PackedDataset(shards)
    five = list(itertools.islice(dataset.batches(4, 16, seed=1), 5))
    later = next(dataset.batches(4, 16, seed=1, start_step=4))
    assert torch.equal(five[4], later)
    assert five[0].shape == (4, 17)
    assert not torch.equal(five[0], next(dataset.batches(4, 16, seed=2)))
    stream = dataset.tokens("train")
    assert any(torch.equal(five[0][0], stream[i : i + 17]) for i in range(len(stream) - 17))


def test_a_damaged_or_missing_shard_is_named(shards, tmp_path_factory):
    with pytest.raises(FileNotFoundError, match=r"manifest\.json"):
        packing.PackedDataset(tmp_path_factory.mktemp("empty"))
    shard = shards / "train-000.npy"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=r"train-000\.npy is missing or damaged"):
        packing.PackedDataset(shards)


def zstd(data: bytes) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def parquet(column: list, path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": column}), path)


def test_a_users_files_are_read_in_order_and_what_is_not_is_counted(tmp_path):
    page = "<html><style>p {}</style><script>if (a < b) {}</script><p>Seven &amp; a<br>half</p></html>"
    files = {
        "a.txt": b"plain",
        "b.md": b"# title",
        "c.jsonl": b'{"text": "one"}\n\n{"content": "two"}\n',
        "e.rst": b"Rest",
        "f.html": page.encode(),
        "g.txt.gz": gzip.compress(b"gz", mtime=0),
        "h.jsonl.zst": zstd(b'{"text": "zst"}\n' * 2),
        "i.MD.xz": lzma.compress(b"xz"),
        "empty.txt": b"",
        "blank.jsonl": b'{"text": " "}\n',
        "x.png": b"\0",
        ".git": b"",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    parquet(["three", None, "four"], tmp_path / "d.parquet")
    skipped = {}
    texts = [d.text for d in read_corpus(tmp_path, skipped.__setitem__)]
    html = "Seven & a\nhalf"
    assert texts == ["plain", "# title", "one", "two", "three", "four", "Rest", html, "gz", "zst", "zst", "xz"]
    why = {Path(name).name: reason for name, reason in skipped.items()}
    none = "no word in it"
    kind = "of a kind that is not read: .png"
    assert why == {".git": "hidden", "blank.jsonl": none, "empty.txt": none, "x.png": kind}


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("a.txt", b"ab\0cd", "is binary"),
        ("a.txt", "é".encode("latin-1"), r"not UTF-8 \(byte 0\)"),
        ("a.txt", b"x" * (1 << 20) + "é".encode()[:1] + b"y", r"not UTF-8 \(byte 1048576\)"),
        ("a.txt", b"ab" + "é".encode()[:1], r"not UTF-8 \(byte 2\)"),
        ("a.jsonl", b'{"text": 1}\n', "line 1: no field"),
        ("a.jsonl", b'{"text": "x"}\n{oops\n', "line 2: not JSON"),
        ("a.jsonl", b'{"text": "x"}\n' + b"[" * 100_000, "line 2: not JSON"),
        ("a.jsonl", b'{"text": "x"}\n{"text": "\\ud800"}\n', r"line 2: '\\ud800' is half a character"),
        ("a.parquet", b"PAR1 not really", "cannot be read as parquet"),
        ("a.txt.gz", b"not gzip", r"a\.txt\.gz cannot be read"),
        ("a.txt.gz", gzip.compress(b"x" * 999, mtime=0)[:-9], r"a\.txt\.gz cannot be read"),
        ("a.txt.zst", b"not zstd", r"a\.txt\.zst cannot be read"),
        ("a.txt.xz", b"not xz", r"a\.txt\.xz cannot be read"),
        ("a.pdf", b"%PDF", r"holds no file that can be read; give \.txt, \.md, "),
    ],
)
def test_unreadable_files_are_named_with_a_remedy(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        list(read_corpus(tmp_path))


def test_a_column_of_lists_is_refused_by_name(tmp_path):
    parquet([["a", "b"]], tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet .*column text holds list<.*>, not one string a row"):
        list(read_corpus(tmp_path))


@pytest.mark.parametrize("unit", ["word ", "line\n", "x", "é"])
def test_a_long_text_becomes_documents_that_together_are_it(tmp_path, unit):
    text = unit * (3 * LONGEST // len(unit)) + "end"
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": text}) + "\n")
    documents = list(read_corpus(tmp_path))
    assert max(len(d.text) for d in documents) <= LONGEST
    assert "".join(d.text for d in documents) == 2 * text
    ends = {d.text[-1] for d in documents if not d.text.endswith("end")}
    assert ends == {unit[-1]}  # cut after a word or a line where there is one


def test_a_missing_corpus_is_said_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="K2_CORPUS points to"):
        list(read_corpus(tmp_path / "nowhere"))
