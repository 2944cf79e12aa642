"""The released layout on disk: config.json, safetensors shards with an index, one tensor per expert and projection.

This file alone knows those names. `save` builds a whole directory under a temporary name and swaps it in; `load`
compares names, shapes and types before it copies anything, then streams tensor by tensor, so memory peaks at one model
and one tensor. FP8 weights are multiplied out on the way. Only safetensors are read: a pickle could run code.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from k2lib.config import K2Config
from k2lib.model.rope import inverse_frequencies

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
FP8_BLOCK = (
    128,
    128,
)  # a released FP8 weight has one factor a block, in <name>_scale_inv; the config may say another size
READABLE = {"F32", "BF16", "F16", "F64", "F8_E4M3"}
_STACKED = re.compile(r"(layers\.\d+\.mlp\.experts)\.(gate_up_proj|down_proj)$")


class Stored(NamedTuple):
    """Where a tensor lies on disk."""

    file: Any  # an open safetensors file
    shape: tuple[int, ...]
    dtype: str


def names_on_disk(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The tensors of the released layout that one parameter of ours becomes; views, nothing is copied."""
    stacked = _STACKED.match(name)
    if not stacked:
        yield (name if name.startswith("lm_head.") else f"model.{name}"), tensor
        return
    prefix, kind = f"model.{stacked[1]}", stacked[2]
    for expert, weight in enumerate(tensor):
        if kind == "down_proj":
            yield f"{prefix}.{expert}.down_proj.weight", weight
        else:
            gate, up = weight.chunk(2)
            yield f"{prefix}.{expert}.gate_proj.weight", gate
            yield f"{prefix}.{expert}.up_proj.weight", up


def on_disk(model) -> dict[str, Tensor]:
    """Every tensor of the model under its released name, as views."""
    return {name: piece for own, value in model.state_dict().items() for name, piece in names_on_disk(own, value)}


def save(model, directory: Path, max_shard_bytes: int) -> None:
    """Write the model whole, or leave what was there. Files of other kinds in the directory (a tokenizer) stay."""
    directory = directory.resolve()
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = (directory.with_name(f".{directory.name}.{os.getpid()}.{end}") for end in ("new", "old"))
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        _write(model, temporary, max_shard_bytes)
        if directory.exists():
            _link_others(directory, temporary)
            directory.rename(old)
        temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def load(build: Callable[[K2Config], nn.Module], directory: Path, dtype: torch.dtype, device: torch.device | str):
    """The model that `build` makes, with the weights of `directory`; errors name the file, or list what does not fit."""
    config = K2Config.from_pretrained(directory)
    with torch.device("meta"):
        model = build(config).to(dtype)
    found, block = _locate(directory), _fp8_block(directory)
    _compare(directory, config, on_disk(model), found, block)
    model = model.to_empty(device=device)
    for module in model.modules():
        if hasattr(module, "e_score_correction_bias"):  # selection needs fp32, and nothing on disk holds the load
            module.e_score_correction_bias = module.e_score_correction_bias.float()
            module.load = torch.zeros_like(module.e_score_correction_bias)
    model.frequencies = inverse_frequencies(config).to(device)
    broken = []
    with torch.no_grad():
        for name, target in on_disk(model).items():
            weight = _read(found, name, block)
            target.copy_(weight)
            if not target.isfinite().all():
                what = (
                    "NaN" if weight.isnan().any() else "infinite" if weight.isinf().any() else f"too large for {dtype}"
                )
                broken.append(f"{name} ({what})")
    if broken:
        raise ValueError(
            f"{directory} holds weights that are no finite numbers: {_some(broken)}; copy it again from its source, or "
            "choose the checkpoint before the one that went wrong"
        )
    return model.eval()


def _write(model, directory: Path, max_shard_bytes: int) -> None:
    shards = list(_shards(on_disk(model), max_shard_bytes))
    place = {}
    for number, shard in enumerate(shards, 1):
        file = SINGLE if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file({name: value.contiguous() for name, value in shard.items()}, directory / file, {"format": "pt"})
        place |= dict.fromkeys(shard, file)
    if len(shards) > 1:
        total = sum(_bytes(value) for shard in shards for value in shard.values())
        (directory / INDEX).write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": place}, indent=1))
    (directory / "config.json").write_text(json.dumps(model.config.to_dict(), indent=1))


def _shards(tensors: dict[str, Tensor], limit: int) -> Iterator[dict[str, Tensor]]:
    shard, size = {}, 0
    for name, value in tensors.items():
        if shard and size + _bytes(value) > limit:
            yield shard
            shard, size = {}, 0
        shard[name] = value
        size += _bytes(value)
    yield shard


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _link_others(source: Path, target: Path) -> None:
    """Hard links to what `source` holds beside a model: no weights, so that none of an older model survive."""
    for path in source.iterdir():
        if path.name in (INDEX, "config.json") or path.suffix == ".safetensors":
            continue
        if path.is_dir():
            shutil.copytree(path, target / path.name, symlinks=True)
        else:
            os.link(path, target / path.name, follow_symlinks=False)


def _locate(directory: Path) -> dict[str, Stored]:
    """Every tensor on disk, from the shards that the index names or from the single file."""
    found = {}
    for file in _shard_files(directory):
        path = directory / file
        if not path.exists():
            pickled = sorted(p.name for p in directory.iterdir() if p.suffix in (".bin", ".pt", ".pth"))
            hint = f" ({pickled[0]} is a pickle, which is never read)" if pickled else ""
            raise FileNotFoundError(f"{path} does not exist{hint}; a checkpoint holds {SINGLE}, or shards and {INDEX}")
        try:
            handle = safe_open(path, framework="pt")
            slices = {name: handle.get_slice(name) for name in handle.keys()}  # noqa: SIM118 (not a dict)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is damaged ({error}); copy it again from the checkpoint's source") from None
        found |= {name: Stored(handle, tuple(s.get_shape()), s.get_dtype()) for name, s in slices.items()}
    return found


def _shard_files(directory: Path) -> list[str]:
    index = directory / INDEX
    if not index.exists():
        return [SINGLE]
    try:
        files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{index} is not a safetensors index ({type(error).__name__}: {error}); "
            "restore it from the checkpoint's source"
        ) from None
    outside = [file for file in files if not isinstance(file, str) or file in ("", "..") or Path(file).name != file]
    if outside:
        raise ValueError(f"{index} points outside its directory: {outside[0]!r}; do not load this checkpoint")
    return files


def _fp8_block(directory: Path) -> tuple[int, int]:
    """Rows and columns of a block that shares an FP8 factor, as config.json says. ValueError for another quantization."""
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    says = config.get("quantization_config") or {}
    kind = says.get("quant_method", "fp8") if isinstance(says, dict) else says
    if kind != "fp8":
        raise ValueError(
            f"{directory} is quantized by {kind!r}; only block FP8 can be read, so give a bf16 or FP8 release"
        )
    block = says.get("weight_block_size") or FP8_BLOCK
    if not isinstance(block, list | tuple) or len(block) != 2 or any(type(n) is not int or n < 1 for n in block):
        raise ValueError(
            f"{directory}: weight_block_size is {block!r}; give the two sides of a block, such as [128, 128]"
        )
    return tuple(block)


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f", … ({len(names)} in all)" if len(names) > 5 else "")


def _compare(
    directory: Path, config: K2Config, wanted: dict[str, Tensor], found: dict[str, Stored], block: tuple[int, int]
) -> None:
    """ValueError that lists everything in which the files differ from the config."""
    beyond = f"model.layers.{config.num_hidden_layers}."  # DeepSeek-V3's extra prediction layer, which no token needs
    both = [name for name in wanted if name in found]
    scales = {
        f"{name}_scale_inv": [-(-size // side) for size, side in zip(wanted[name].shape, block, strict=False)]
        for name in both
        if found[name].dtype == "F8_E4M3"
    }
    problems = {
        "missing": [name for name in (*wanted, *scales) if name not in found],
        "not in the model": [
            name
            for name in found
            if name not in wanted and name not in scales and not name.startswith(beyond) and 0 not in found[name].shape
        ],
        "misshapen": [
            f"{name}: {list(found[name].shape)} on disk, {list(shape)} in the model"
            for name, shape in [*((name, wanted[name].shape) for name in both), *scales.items()]
            if name in found and list(found[name].shape) != list(shape)
        ],
        "of a type that holds no weights": [
            f"{name}: {found[name].dtype}" for name in both if found[name].dtype not in READABLE
        ],
    }
    lines = [
        f"{len(names)} {label} ({', '.join(names[:5])}{', …' if len(names) > 5 else ''})"
        for label, names in problems.items()
        if names
    ]
    if lines:
        raise ValueError(f"{directory} does not fit its config.json. Tensors: {'; '.join(lines)}")


def _read(found: dict[str, Stored], name: str, block: tuple[int, int]) -> Tensor:
    """The tensor; block FP8 multiplied out to fp32."""
    tensor = found[name].file.get_tensor(name)
    if found[name].dtype != "F8_E4M3":
        return tensor
    scale = found[f"{name}_scale_inv"].file.get_tensor(f"{name}_scale_inv").float()
    if not scale.isfinite().all():
        raise ValueError(f"{name}_scale_inv is not finite; copy the checkpoint again")
    for dim, (size, side) in enumerate(zip(tensor.shape, block, strict=False)):
        scale = scale.repeat_interleave(side, dim).narrow(dim, 0, size)
    return tensor.float() * scale
