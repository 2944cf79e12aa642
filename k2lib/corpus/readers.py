"""A user's own text: $K2_CORPUS names a folder (or a file) of text, Markdown, HTML, JSON lines or parquet; it joins the corpus.

Streaming, in the order of sorted paths, compressed files as they are; memory does not grow with a file. A file that should be
readable and is not ends the build with its name and what to do: silently training on half of somebody's corpus would be
worse. What is no text by its name is skipped, and so are texts without a word; both are counted in the manifest.
"""

import bz2
import codecs
import gzip
import json
import lzma
import os
from collections.abc import Callable, Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import BinaryIO

from k2lib.corpus.documents import Document

TEXT_FIELDS = ("text", "content")
LICENCE = "user's own"
LONGEST = 1 << 18  # characters of one document; a longer text becomes several, cut at a line's or a word's end
BLOCK = 1 << 20  # bytes read at a time

Skip = Callable[[str, str], None]  # (file or place in it, why it was skipped)


def user_documents(skip: Skip) -> Iterator[Document]:
    """Documents of $K2_CORPUS; none if it is not set."""
    place = os.environ.get("K2_CORPUS")
    if place:
        yield from read_corpus(place, skip)


def user_corpus_key() -> list:
    """What identifies the user's corpus: paths, sizes and times of its files."""
    place = os.environ.get("K2_CORPUS")
    if not place:
        return []
    return [[str(p), p.stat().st_size, p.stat().st_mtime_ns] for p in _files(Path(place), _ignore)]


def read_corpus(
    path: Path | str, skip: Skip = lambda place, why: None, *, what: str = "K2_CORPUS", strict: bool = True
) -> Iterator[Document]:
    """Documents of a file or folder; `skip` is told of each thing left out, and why.

    FileNotFoundError or ValueError name the file (and line) and the remedy; `what` names the setting. Without `strict` a file
    that cannot be read on is skipped from there.
    """
    for file in _files(Path(path), skip, what):
        found = False
        try:
            for text in _reader(file)(file):
                for part in split(text):
                    found = True
                    yield Document(part, str(file), "user", LICENCE)
        except ValueError as error:
            if strict:
                raise
            skip(str(file), str(error))
            continue
        if not found:
            skip(str(file), "no word in it")


def split(text: str) -> Iterator[str]:
    """Parts of at most LONGEST characters that together are `text`; those without a word are left out."""
    at = 0
    while at < len(text):
        end = _end(text, at)
        if text[at:end].strip():
            yield text[at:end]
        at = end


def _end(text: str, at: int = 0) -> int:
    """Where the document that begins at `at` ends: after a line or a word in its second half, or at LONGEST."""
    most = at + LONGEST
    if len(text) <= most:
        return len(text)
    cut = max(text.rfind(mark, at + LONGEST // 2, most) for mark in "\n ")
    return cut + 1 if cut > 0 else most


def _ignore(_place: str, _why: str) -> None:
    pass


def _files(path: Path, skip: Skip, what: str = "K2_CORPUS") -> list[Path]:
    if not path.exists():
        raise FileNotFoundError(f"{what} points to {path}, which does not exist; set it to a folder of {_kinds()}")
    files = []
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if not file.is_file():
            continue
        if path != file and any(part.startswith(".") for part in file.relative_to(path).parts):
            skip(str(file), "hidden")
        elif _reader(file) is None:
            skip(str(file), f"of a kind that is not read: {''.join(file.suffixes[-2:]).lower() or 'no suffix'}")
        else:
            files.append(file)
    if not files:
        raise ValueError(f"{what}: {path} holds no file that can be read; give {_kinds()}")
    return files


def _reader(file: Path) -> Callable[[Path], Iterator[str]] | None:
    """What reads files of this name, a compression's suffix aside."""
    name = file.with_suffix("") if file.suffix.lower() in COMPRESSED else file
    if name != file and name.suffix.lower() == ".parquet":
        return None  # it has a compression of its own
    return READERS.get(name.suffix.lower())


def _kinds() -> str:
    return f"{', '.join(READERS)}, also as {', '.join(COMPRESSED)}"


def _plain(file: Path) -> Iterator[str]:
    pending = ""
    for block in _text_blocks(file):
        pending += block
        while len(pending) > LONGEST:
            end = _end(pending)
            yield pending[:end]
            pending = pending[end:]
    yield pending


def _html(file: Path) -> Iterator[str]:
    """The words of a page, without markup, scripts and styles."""
    page = _Page()
    for block in _text_blocks(file):
        page.feed(block)
    page.close()
    yield page.text()


class _Page(HTMLParser):
    SILENT = frozenset(("script", "style", "template", "noscript"))
    BLOCKS = frozenset(
        "p div section article li tr td th h1 h2 h3 h4 h5 h6 br pre blockquote title header footer".split()
    )

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self._said, self._silent = [], 0

    def handle_starttag(self, tag: str, _attributes) -> None:
        self._silent += tag in self.SILENT
        self._said += ["\n"] if tag in self.BLOCKS else []

    def handle_endtag(self, tag: str) -> None:
        self._silent = max(0, self._silent - (tag in self.SILENT))
        self._said += ["\n"] if tag in self.BLOCKS else []

    def handle_data(self, data: str) -> None:
        self._said += [] if self._silent else [data]

    def text(self) -> str:
        lines = (" ".join(line.split()) for line in "".join(self._said).split("\n"))
        return "\n".join(line for line in lines if line)


def _json_lines(file: Path) -> Iterator[str]:
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        place = f"{file}, line {number}"
        written = _decode(line, place)
        try:
            row = json.loads(written)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{place}: not JSON ({error}); mend or remove the line") from None
        text = next(
            (row[name] for name in TEXT_FIELDS if isinstance(row, dict) and isinstance(row.get(name), str)), None
        )
        if text is None:
            raise ValueError(f"{place}: no field {' or '.join(TEXT_FIELDS)} with text; rename the field")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            bad = text[error.start]
            raise ValueError(f"{place}: {bad!a} is half a character and no text; mend or remove the line") from None
        yield text


def _parquet(file: Path) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        column = next((name for name in TEXT_FIELDS if name in table.schema_arrow.names), None)
        if column is None:
            raise ValueError(f"no column {' or '.join(TEXT_FIELDS)}")
        kind = table.schema_arrow.field(column).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise ValueError(f"column {column} holds {kind}, not one string a row")
        for batch in table.iter_batches(columns=[column], batch_size=256):
            yield from (value for value in batch.column(0).to_pylist() if value is not None)
    except (ValueError, OSError) as error:
        raise ValueError(f"{file} cannot be read as parquet ({error}); mend or remove it") from None


def _text_blocks(file: Path) -> Iterator[str]:
    """The file's text, block by block. ValueError for what is binary or not UTF-8."""
    decoder, done = codecs.getincrementaldecoder("utf-8")(), 0
    for block in _blocks(file, lambda handle: iter(lambda: handle.read(BLOCK), b"")):
        if b"\0" in block:
            raise ValueError(f"{file} is binary; remove it from the corpus or convert it to text")
        waiting = len(decoder.getstate()[0])
        yield _decoded(decoder.decode, block, file, done - waiting)
        done += len(block)
    _decoded(lambda data: decoder.decode(data, final=True), b"", file, done - len(decoder.getstate()[0]))


def _lines(file: Path) -> Iterator[bytes]:
    return _blocks(file, lambda handle: handle)


def _blocks(file: Path, of: Callable[[BinaryIO], Iterable[bytes]]) -> Iterator[bytes]:
    """What `of` takes from the open file, uncompressed. ValueError if it cannot be read."""
    try:
        with COMPRESSED.get(file.suffix.lower(), open)(file, "rb") as handle:
            yield from of(handle)
    except (OSError, EOFError, lzma.LZMAError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"{file} cannot be read ({why}); mend it, check its permissions, or remove it") from None


def _zstd(file: Path, _mode: str) -> BinaryIO:
    import io

    import pyarrow as pa

    return io.BufferedReader(pa.input_stream(str(file), compression="zstd"))


def _decode(data: bytes, place: str) -> str:
    return _decoded(lambda given: given.decode("utf-8"), data, place, 0)


def _decoded(decode: Callable[[bytes], str], data: bytes, place: Path | str, before: int) -> str:
    try:
        return decode(data)
    except UnicodeDecodeError as error:
        at = before + error.start
        raise ValueError(f"{place} is not UTF-8 (byte {at}); convert it, e.g. with iconv -t UTF-8") from None


COMPRESSED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": _zstd}
READERS = dict.fromkeys((".txt", ".md", ".rst"), _plain) | dict.fromkeys((".html", ".htm"), _html)
READERS |= {".jsonl": _json_lines, ".parquet": _parquet}
