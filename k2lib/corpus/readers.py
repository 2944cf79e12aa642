"""A user's own text: $K2_CORPUS names a folder (or a file) of .txt, .md, .jsonl or .parquet; it joins the corpus.

Streaming, in the order of sorted paths. A file that cannot be read ends the build with its name and what to do: silently
training on half of somebody's corpus would be worse.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from k2lib.corpus.documents import Document

SUFFIXES = (".txt", ".md", ".jsonl", ".parquet")
TEXT_FIELDS = ("text", "content")
LICENCE = "user's own"


def user_documents() -> Iterator[Document]:
    """Documents of $K2_CORPUS; none if it is not set."""
    place = os.environ.get("K2_CORPUS")
    if place:
        yield from read_corpus(place)


def user_corpus_key() -> list:
    """What identifies the user's corpus: paths, sizes and times of its files."""
    place = os.environ.get("K2_CORPUS")
    return [[str(p), p.stat().st_size, p.stat().st_mtime_ns] for p in _files(Path(place))] if place else []


def read_corpus(path: Path | str) -> Iterator[Document]:
    """Documents of a file or folder. FileNotFoundError or ValueError name the file (and line) and the remedy."""
    for file in _files(Path(path)):
        for text in {".jsonl": _json_lines, ".parquet": _parquet}.get(file.suffix.lower(), _plain)(file):
            if text.strip():
                yield Document(text, str(file), "user", LICENCE)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise FileNotFoundError(
            f"K2_CORPUS points to {path}, which does not exist; set it to a folder of {', '.join(SUFFIXES)}"
        )
    files = (
        [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    )
    if not files or files[0].suffix.lower() not in SUFFIXES:
        raise ValueError(f"K2_CORPUS: {path} holds no file that can be read; give {', '.join(SUFFIXES)}")
    return files


def _plain(file: Path) -> Iterator[str]:
    data = _bytes(file)
    if b"\0" in data:
        raise ValueError(f"{file} is binary; remove it from the corpus or convert it to text")
    yield _decode(data, file)


def _json_lines(file: Path) -> Iterator[str]:
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        text = _decode(line, f"{file}, line {number}")
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file}, line {number}: not JSON ({error}); mend or remove the line") from None
        text = next(
            (row[name] for name in TEXT_FIELDS if isinstance(row, dict) and isinstance(row.get(name), str)), None
        )
        if text is None:
            raise ValueError(f"{file}, line {number}: no field {' or '.join(TEXT_FIELDS)} with text; rename the field")
        yield text


def _parquet(file: Path) -> Iterator[str]:
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        column = next((name for name in TEXT_FIELDS if name in table.schema_arrow.names), None)
        if column is None:
            raise ValueError(f"no column {' or '.join(TEXT_FIELDS)}")
        for batch in table.iter_batches(columns=[column]):
            yield from (value for value in batch.column(0).to_pylist() if isinstance(value, str))
    except (ValueError, OSError) as error:
        raise ValueError(f"{file} cannot be read as parquet ({error}); mend or remove it") from None


def _lines(file: Path) -> Iterator[bytes]:
    """One line at a time: memory does not grow with the file."""
    try:
        with open(file, "rb") as handle:
            yield from handle
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror}); check its permissions or remove it") from None


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror}); check its permissions or remove it") from None


def _decode(data: bytes, place: Path | str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{place} is not UTF-8 (byte {error.start}); convert it, e.g. with iconv -t UTF-8") from None
