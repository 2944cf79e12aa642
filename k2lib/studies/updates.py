"""What do AdamW and Muon make of the same kind of gradient? Singular values, effective ranks and sizes of real updates.

After a short training with either optimizer one more batch is taken, and what the step does to each hidden matrix is
looked at, free of learning rate and weight decay (section 2.1, Appendix E; Moonlight, section 2.2).
"""

import statistics

import torch
from torch import Tensor, nn

from k2lib import machine
from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.model import K2Model
from k2lib.optim import MuonClip
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.studies.study import Study
from k2lib.studies.tokens import matrices
from k2lib.studies.training import ADAMW, Arm, trained
from k2lib.train import Batch
from k2lib.train.step import backward

KINDS = ("gradient", "momentum", "update")
SHOWN = "layers.{}.self_attn.o_proj.weight"  # whose singular values are kept, in the last layer


def measure(
    config: K2Config, dataset: PackedDataset, profile: Profile, run: int, progress: Progress
) -> dict[str, dict]:
    """{optimizer: {kind: {"rank": [effective rank of a matrix, share of the most], "spectrum": of one, falling}, "rms"}}."""
    size, seed = profile.updates, run + 1
    config = config.replace(**size.large.fields)
    arms = {"AdamW": Arm("AdamW", size.large.adamw, ADAMW), "MuonClip": Arm("MuonClip", size.large.muon, tau=size.tau)}
    found = {}
    for name, arm in arms.items():
        model, optimizer, _ = trained(config, dataset, size, arm, seed, progress)
        after = next(dataset.batches(size.batch_size, size.seq_len, seed, start_step=size.steps))
        backward(model.train(), Batch.from_sequences(after))
        found[name] = look(model, optimizer)
    return found


def look(model: K2Model, optimizer: MuonClip) -> dict[str, dict]:
    """Takes a step on the gradients that lie in `model` and describes what it did to the hidden matrices."""
    hidden = _hidden(model)
    before = {name: p.detach().clone() for name, (p, _) in hidden.items()}
    optimizer.qk_clip = None  # its scaling is no part of the update
    optimizer.step()
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    parts: dict[str, dict[str, Tensor]] = {kind: {} for kind in KINDS}
    for name, (parameter, _) in hidden.items():
        (lr, decay), state = rates[id(parameter)], optimizer.state[parameter]
        parts["gradient"][name] = parameter.grad
        parts["momentum"][name] = state.get("momentum", state.get("exp_avg"))
        parts["update"][name] = (before[name] * (1 - lr * decay) - parameter.detach()) / lr
    return {kind: _described(found, hidden, model.config.num_hidden_layers - 1) for kind, found in parts.items()}


def values(_profile: Profile, results: list[dict]) -> dict[str, list[float]]:
    """One number a seed: how many times higher the effective rank of Muon's updates is, in the middle of the matrices."""
    ranks = [{name: statistics.median(one["update"]["rank"]) for name, one in result.items()} for result in results]
    return {"muon-updates-have-full-rank": [rank["MuonClip"] / rank["AdamW"] for rank in ranks]}


def effective_rank(singular: Tensor) -> float:
    """exp of the entropy of singular values [r] over r: 1 if all are equal, 1/r if there is only one."""
    shares = singular.double() / singular.double().sum()
    return (torch.special.entr(shares).sum().exp() / len(singular)).item()


def _hidden(model: K2Model) -> dict[str, tuple[nn.Parameter, int]]:
    """{name: (parameter, equal matrices in its rows)} of what Muon takes."""
    groups = [g for g in MuonClip.for_model(model, lr=0.0, tau=None).param_groups if g["algorithm"] == "muon"]
    return {name: (p, g["blocks"]) for g in groups for name, p in zip(g["param_names"], g["params"], strict=True)}


def _described(found: dict[str, Tensor], hidden: dict[str, tuple[nn.Parameter, int]], last: int) -> dict:
    """Ranks and root mean squares of all matrices that are not zero, and the singular values of the one that is shown."""
    every = [matrix for name, tensor in found.items() for matrix in matrices(tensor, hidden[name][1]) if matrix.any()]
    ranks = [effective_rank(torch.linalg.svdvals(matrix)) for matrix in every]
    shown = torch.linalg.svdvals(found[SHOWN.format(last)].detach().to(machine.HOST).float()).tolist()
    return {"rank": ranks, "rms": [matrix.square().mean().sqrt().item() for matrix in every], "spectrum": shown}


STUDY = Study("03_muonclip", "updates", measure, values)
