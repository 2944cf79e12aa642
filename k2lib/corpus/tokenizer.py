"""Byte-level BPE with K2's control tokens at the end of the vocabulary.

A control token is an id that only the kit's own code can write: `encode` never yields one, whatever the text spells, so a user
or a tool result that contains "<|im_end|>" stays text. A tokenizer that comes with a checkpoint keeps the ids of its own
control tokens; one that lacks some of them is refused, since no weights were ever trained for ids that we would add.
"""

import itertools
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Engine

CONTROL = (
    "[BOS] [EOS] <|im_end|> <|im_user|> <|im_assistant|> <|im_system|> <|im_middle|> <|tool_calls_section_begin|> "
    "<|tool_calls_section_end|> <|tool_call_begin|> <|tool_call_argument_begin|> <|tool_call_end|> [PAD]"
).split()
# Words with their leading space, numbers in groups of at most three digits, "setOwner" in two (both as the released one),
# punctuation, white space.
# None is longer than 256 characters: learning merges takes the square of a word's length.
SPLIT = (
    r"\p{N}{1,3}| ?\p{Lu}{0,255}\p{Ll}{1,256}| ?\p{L}{1,256}| ?[^\s\p{L}\p{N}]{1,256}[\r\n]{0,256}"
    r"|\s{0,256}[\r\n]{1,256}|\s{1,256}(?!\S)|\s{1,256}"
)


class Tokenizer:
    def __init__(self, engine: Engine):
        """ValueError for an engine that lacks one of the control tokens."""
        vocabulary = engine.get_vocab()
        missing = [name for name in CONTROL if name not in vocabulary]
        if missing:
            raise ValueError(f"it has no control token {', '.join(missing)}; give one of K2's family")
        engine.add_special_tokens(list(CONTROL))  # keeps their ids, and marks those that were not marked
        engine.encode_special_tokens = True  # as text, when a text spells them
        self._engine = engine
        self.vocab_size = max(vocabulary.values()) + 1
        self._text = frozenset(vocabulary.values())
        added = engine.get_added_tokens_decoder()
        self._names = {i: token.content for i, token in added.items() if token.special}
        self._control = {name: vocabulary[name] for name in CONTROL}

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "Tokenizer":
        """Merges learned from `texts`; `vocab_size` counts 256 bytes, the merges and the control tokens."""
        if vocab_size < 256 + len(CONTROL):
            raise ValueError(
                f"vocab_size is {vocab_size}; 256 bytes and {len(CONTROL)} control tokens need {256 + len(CONTROL)}"
            )
        engine = Engine(models.BPE())
        words = pre_tokenizers.Split(Regex(SPLIT), "isolated")
        spelt = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        engine.pre_tokenizer = pre_tokenizers.Sequence([words, spelt])
        engine.decoder = decoders.ByteLevel()
        alphabet, merges = sorted(pre_tokenizers.ByteLevel.alphabet()), vocab_size - len(CONTROL)
        trainer = trainers.BpeTrainer(vocab_size=merges, show_progress=False, initial_alphabet=alphabet)
        engine.train_from_iterator(texts, trainer)
        return cls._padded(engine, vocab_size)

    @classmethod
    def _padded(cls, engine: Engine, vocab_size: int) -> "Tokenizer":
        missing = vocab_size - len(CONTROL) - engine.get_vocab_size()
        names = [f"[unused{i}]" for i in range(missing)]  # a small text has few merges; they keep the size as asked
        engine.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in [*names, *CONTROL]])
        return cls(engine)

    @classmethod
    def load(cls, directory: Path | str) -> "Tokenizer":
        """Read `tokenizer.json` of a directory; FileNotFoundError or ValueError name it."""
        path = Path(directory) / "tokenizer.json"
        if not path.exists() and (path.parent / "tiktoken.model").exists():
            raise ValueError(
                f"{path.parent} holds a tiktoken.model and no tokenizer.json, which alone is read; load it with transformers' "
                "AutoTokenizer, of the fast kind, and save it there"
            )
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist; give the directory of a checkpoint or of a corpus")
        try:
            return cls(Engine.from_file(str(path)))
        except Exception as error:  # the engine raises bare Exception
            raise ValueError(
                f"{path} is not a tokenizer for K2 ({error}); restore it, or build the corpus again"
            ) from None

    def save(self, directory: Path | str) -> None:
        Path(directory).mkdir(parents=True, exist_ok=True)
        self._engine.save(str(Path(directory) / "tokenizer.json"))

    def to_json(self) -> str:
        """What `save` writes."""
        return self._engine.to_str()

    @property
    def bos_id(self) -> int:
        return self._control["[BOS]"]

    @property
    def eos_id(self) -> int:
        return self._control["[EOS]"]

    @property
    def pad_id(self) -> int:
        return self._control["[PAD]"]

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; never a control token. ValueError for what is no text, half a character among it."""
        try:
            return self._engine.encode(text, add_special_tokens=False).ids
        except TypeError:
            raise ValueError(
                f"{text[:40]!a} is no text that can be encoded; remove half characters (lone surrogates)"
            ) from None

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [e.ids for e in self._engine.encode_batch(texts, add_special_tokens=False)]

    def encode_control(self, name: str) -> int:
        """The id of a control token; ValueError for another name."""
        if name not in self._control:
            raise ValueError(f"{name!r} is no control token; there are {', '.join(CONTROL)}")
        return self._control[name]

    def control_name(self, token: int) -> str | None:
        """The name of an id that stands for no text: a control token, an unused id, an id that there is not; else None."""
        return self._names.get(token) or (None if token in self._text else f"[no token {token}]")

    def decode(self, ids: Iterable[int], control: bool = True) -> str:
        """Text of the ids; what stands for no text is written by name, or left out."""
        parts = []
        for name, run in itertools.groupby(ids, key=self.control_name):
            tokens = list(run)
            parts.append(self._engine.decode(tokens) if name is None else name * len(tokens) * control)
        return "".join(parts)
