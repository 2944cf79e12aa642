"""Byte-level BPE with K2's control tokens at the end of the vocabulary.

A control token is an id that only the kit's own code can write: `encode` never yields one, whatever the text spells, so a user
or a tool result that contains "<|im_end|>" stays text. The released tokenizer keeps its control ids in the last block too.
"""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Engine

CONTROL = (
    "[BOS] [EOS] <|im_end|> <|im_user|> <|im_assistant|> <|im_system|> <|im_middle|> <|tool_calls_section_begin|> "
    "<|tool_calls_section_end|> <|tool_call_begin|> <|tool_call_argument_begin|> <|tool_call_end|> [PAD]"
).split()
# Words with their leading space, numbers in groups of at most three digits (as the released one), punctuation, white space.
SPLIT = r"\p{N}{1,3}| ?\p{L}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


class Tokenizer:
    def __init__(self, engine: Engine):
        self._engine = engine
        self._first_control = engine.get_vocab_size()
        self._control = {name: self._first_control + i for i, name in enumerate(CONTROL)}
        self._names = {i: name for name, i in self._control.items()}

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
        if missing:  # a small text has few merges; unused ids keep the size as asked
            engine.add_tokens([f"[unused{i}]" for i in range(missing)])
        return cls(engine)

    @classmethod
    def load(cls, directory: Path | str) -> "Tokenizer":
        """Read `tokenizer.json` of a directory; FileNotFoundError or ValueError name it."""
        path = Path(directory) / "tokenizer.json"
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist; give the directory of a checkpoint or of a corpus")
        try:
            return cls(Engine.from_file(str(path)))
        except Exception as error:  # the engine raises bare Exception
            raise ValueError(f"{path} is not a tokenizer ({error}); restore it, or build the corpus again") from None

    def save(self, directory: Path | str) -> None:
        Path(directory).mkdir(parents=True, exist_ok=True)
        self._engine.save(str(Path(directory) / "tokenizer.json"))

    @property
    def vocab_size(self) -> int:
        return self._first_control + len(CONTROL)

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
        """Ids of plain text; never a control token."""
        return self._engine.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [e.ids for e in self._engine.encode_batch(texts, add_special_tokens=False)]

    def encode_control(self, name: str) -> int:
        """The id of a control token; ValueError for another name."""
        if name not in self._control:
            raise ValueError(f"{name!r} is no control token; there are {', '.join(CONTROL)}")
        return self._control[name]

    def control_name(self, token: int) -> str | None:
        """The control token of this id, or None for text."""
        return self._names.get(token)

    def decode(self, ids: Iterable[int], control: bool = True) -> str:
        """Text of the ids; control tokens are written by name, or left out."""
        parts, plain = [], []
        for token in ids:
            if token in self._names:
                parts += [self._engine.decode(plain), self._names[token] if control else ""]
                plain = []
            else:
                plain.append(token)
        return "".join([*parts, self._engine.decode(plain)])
