"""The released layout on disk: config.json, safetensors shards with an index, one tensor per expert and projection.

This file alone knows those names. `save` writes every file under a temporary directory and renames it; `load` streams tensor by
tensor into the model, so memory peaks at one model and one shard, and compares names and shapes before anything is copied.
Only safetensors are read: a pickle could run code.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from k2lib.config import K2Config

INDEX = "model.safetensors.index.json"
FP8_BLOCK = 128  # a released FP8 weight has one fp32 factor per 128×128 block, in <name>_scale_inv
_STACKED = re.compile(r"(layers\.\d+\.mlp\.experts)\.(gate_up_proj|down_proj)$")


def names_on_disk(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The tensors of the released layout that one parameter of ours becomes."""
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


def save(model, directory: Path, max_shard_bytes: int) -> None:
    """Write the model whole, or leave what was there."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}.saving")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        tensors = (pair for name, value in model.state_dict().items() for pair in names_on_disk(name, value.detach()))
        shards = list(_shards(tensors, max_shard_bytes))
        place, total = {}, 0
        for number, shard in enumerate(shards, 1):
            single = len(shards) == 1
            file = "model.safetensors" if single else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
            save_file({name: value.contiguous() for name, value in shard.items()}, temporary / file, {"format": "pt"})
            place |= dict.fromkeys(shard, file)
            total += sum(value.numel() * value.element_size() for value in shard.values())
        if len(shards) > 1:
            (temporary / INDEX).write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": place}, indent=1))
        (temporary / "config.json").write_text(json.dumps(model.config.to_dict(), indent=1))
        if directory.exists():
            for file in temporary.iterdir():  # the directory may hold other files, a tokenizer for one
                file.replace(directory / file.name)
        else:
            temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load(directory: Path, dtype: torch.dtype, device: torch.device | str):
    """A K2Model with the weights of `directory`; errors name the file, or list the tensors that do not fit."""
    from k2lib.model.transformer import K2Model

    config = K2Config.from_pretrained(directory)
    with torch.device("meta"):
        model = K2Model(config)
    wanted = {name: (own, piece.shape) for own, value in model.state_dict().items() for name, piece in names_on_disk(own, value)}
    found = _locate(directory)
    _compare(directory, config, wanted, found)
    model = model.to_empty(device=device).to(dtype)
    for module in model.modules():  # buffers that no file holds
        if hasattr(module, "load"):
            module.load.zero_()
        if hasattr(module, "e_score_correction_bias"):
            module.e_score_correction_bias = module.e_score_correction_bias.float()
    from k2lib.model.rope import inverse_frequencies

    model.frequencies = inverse_frequencies(config).to(device)
    targets = {name: piece for own, value in model.state_dict().items() for name, piece in names_on_disk(own, value)}
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(_read(found, name))
    return model.eval()


def _shards(tensors: Iterator[tuple[str, Tensor]], limit: int) -> Iterator[dict[str, Tensor]]:
    shard, size = {}, 0
    for name, value in tensors:
        bytes_ = value.numel() * value.element_size()
        if shard and size + bytes_ > limit:
            yield shard
            shard, size = {}, 0
        shard[name] = value
        size += bytes_
    yield shard


def _locate(directory: Path) -> dict[str, tuple]:
    """tensor name -> (open file, shape), from the index or the single file."""
    index = directory / INDEX
    if index.exists():
        try:
            files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            raise ValueError(f"{index} is not a safetensors index ({error}); restore it from the checkpoint's source") from None
        outside = [file for file in files if not isinstance(file, str) or Path(file).name != file]
        if outside:
            raise ValueError(f"{index} points outside its directory: {outside[0]!r}; this checkpoint is not safe to load")
    else:
        files = ["model.safetensors"]
    found = {}
    for file in files:
        path = directory / file
        if not path.exists():
            pickled = sorted(p.name for p in directory.glob("*.bin")) + sorted(p.name for p in directory.glob("*.pt"))
            hint = f" ({pickled[0]} is a pickle, which is never read)" if pickled else ""
            raise FileNotFoundError(f"{path} does not exist{hint}; a checkpoint holds {file} or {INDEX}")
        try:
            handle = safe_open(path, framework="pt")
            found |= {name: (handle, tuple(handle.get_slice(name).get_shape())) for name in handle.keys()}
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is damaged ({error}); copy it again from the checkpoint's source") from None
    return found


def _compare(directory: Path, config: K2Config, wanted: dict, found: dict) -> None:
    beyond = f"model.layers.{config.num_hidden_layers}."  # DeepSeek-V3's extra prediction layer is not part of the model
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted and not name.startswith(beyond)
             and name.removesuffix("_scale_inv") not in wanted]
    wrong = [f"{name}: {list(found[name][1])} on disk, {list(shape)} in the model"
             for name, (_, shape) in wanted.items() if name in found and found[name][1] != tuple(shape)]
    problems = [f"{label} {len(names)}: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
                for label, names in (("missing", missing), ("not in the model", extra), ("misshapen", wrong)) if names]
    if problems:
        raise ValueError(f"{directory} does not fit its config.json. Tensors {'; '.join(problems)}")


def _read(found: dict, name: str) -> Tensor:
    tensor = found[name][0].get_tensor(name)
    scale_name = f"{name}_scale_inv"
    if scale_name not in found:
        if tensor.dtype == torch.float8_e4m3fn:
            raise ValueError(f"{name} is FP8 but {scale_name} is missing; copy the whole checkpoint again")
        return tensor
    scale = found[scale_name][0].get_tensor(scale_name).float()
    if not scale.isfinite().all():
        raise ValueError(f"{scale_name} is not finite; copy the checkpoint again")
    rows, columns = tensor.shape
    full = scale.repeat_interleave(FP8_BLOCK, 0)[:rows].repeat_interleave(FP8_BLOCK, 1)[:, :columns]
    return tensor.float() * full
