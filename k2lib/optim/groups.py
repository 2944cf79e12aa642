"""Which parameter Muon takes and which AdamW, and why: by what a module is and how its weight is shaped, then by the user's rules.

Muon is for matrices that map one hidden state to another (Moonlight, section 2). Embeddings, heads and positions are tables,
convolutions are stencils, norms and biases are vectors: AdamW's. A fused projection is several matrices in one parameter.
"""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

# Parts of names: of fused projections, with the equal blocks in their rows; of learned positions and tokens; of heads.
FUSED = {"qkv": 3, "query_key_value": 3, "in_proj": 3, "c_attn": 3, "gate_up_proj": 2}
POSITIONS = ("pos_emb", "position", "pos_enc", "wpe", "cls_token", "class_token", "register_tokens")
HEADS = ("head", "unembed", "output", "logits")

Rules = Mapping[str, str | tuple[str, int]]  # a pattern of names -> "muon", "adamw", or ("muon", equal blocks of rows)


@dataclass(frozen=True)
class Place:
    """Where a parameter goes."""

    name: str
    parameter: nn.Parameter
    algorithm: str  # "muon" | "adamw"
    blocks: int  # equal matrices stacked in its rows
    why: str


def places(model: nn.Module, rules: Rules | None = None) -> list[Place]:
    """A place for each trainable parameter, once; `rules` are tried in order before the kit's own.

    ValueError for a rule that matches nothing, or blocks that do not fit.
    """
    owners = {id(p): (module, own) for module in model.modules() for own, p in module.named_parameters(recurse=False)}
    tables = _tables(model)
    unused, found = set(rules or {}), []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        module, own = owners[id(parameter)]
        algorithm, blocks, why = _place(name, own, parameter, module, tables)
        for pattern, wish in (rules or {}).items():
            if fnmatch.fnmatchcase(name, pattern):
                algorithm, blocks = (wish, 1) if isinstance(wish, str) else wish
                why = f"your rule {pattern!r}"
                unused.discard(pattern)
                break
        found.append(Place(name, parameter, algorithm, blocks, why))
    if unused:
        names = ", ".join(place.name for place in found[:4])
        raise ValueError(f"no parameter is named like {sorted(unused)[0]!r}; the first ones are {names}")
    return found


def summary(found: list[Place]) -> str:
    """A table: name, shape, who, why."""
    rows = []
    for place in found:
        who = place.algorithm if place.blocks == 1 else f"{place.algorithm}, {place.blocks} blocks"
        rows.append((place.name, "×".join(map(str, place.parameter.shape)) or "1", who, place.why))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join("  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[3]]) for row in rows)


def _place(
    name: str, own: str, parameter: nn.Parameter, module: nn.Module, tables: dict[int, str]
) -> tuple[str, int, str]:
    if id(parameter) in tables:
        return "adamw", 1, tables[id(parameter)]
    if parameter.ndim < 2 or own.endswith("bias"):
        return "adamw", 1, "a vector"
    if isinstance(module, nn.modules.conv._ConvNd) or parameter.ndim > 3:
        return "adamw", 1, "a convolution, or of more than three dimensions"
    if any(word in name for word in POSITIONS) or (parameter.ndim == 3 and len(parameter) == 1):
        return "adamw", 1, "positions, or a token that is learned"
    fused = next((blocks for word, blocks in FUSED.items() if word in name), 1)
    if fused == 1:
        return "muon", 1, "a matrix" if parameter.ndim == 2 else f"a stack of {len(parameter)} matrices"
    rows, columns = parameter.shape[-2:]
    if rows % fused == 0 and (fused == 2 or rows // fused == columns):
        return "muon", fused, f"{fused} matrices in one"
    return "adamw", 1, "a fused projection of unequal or transposed parts; name its blocks in a rule"


def _tables(model: nn.Module) -> dict[int, str]:
    """{id of a weight: why it is a table}: embeddings, and heads as wide as the vocabulary."""
    found = {id(m.weight): "an embedding" for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
    head = getattr(model, "get_output_embeddings", lambda: None)()
    if head is not None and getattr(head, "weight", None) is not None:
        found.setdefault(id(head.weight), "the output head")
    linear = {name: m.weight for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    heads = [weight for name, weight in linear.items() if "lm_head" in name.split(".")]
    vocabularies = [m.weight.shape for m in model.modules() if isinstance(m, nn.Embedding)]
    # A hidden layer may be as wide as the vocabulary by chance: then the name decides, or the place, since a head comes last.
    if vocabularies:
        alike = {name: weight for name, weight in linear.items() if weight.shape == max(vocabularies)}
        called = [name for name in alike if any(word in name for word in HEADS)] or list(alike)
        heads += [alike[name] for name in called[-1:]]
    for weight in heads:
        found.setdefault(id(weight), "the output head")
    return found
