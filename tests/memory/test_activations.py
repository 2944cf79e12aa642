"""What a policy keeps, that nothing else changes, and that nothing stays behind."""

import gc
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from k2lib import K2Config, K2Model
from k2lib.memory import ActivationStore, MemoryMeter, Policy, full_recompute, k2_policy
from k2lib.memory.recompute import Recomputation
from k2lib.model.moe import Experts
from k2lib.model.regions import REGIONS, TENSORS, region
from k2lib.profiles import SMOKE
from k2lib.studies.kept import kept_bytes

CONFIG = K2Config.preset("nano").replace(**SMOKE.model)
RECOMPUTED = k2_policy().recompute
EXACT = {name: Policy({name}) for name in REGIONS if name != "down-projection"}  # which is never kept
EXACT |= {"all": Policy(RECOMPUTED), "offload": Policy(offload=True), "all, offload": Policy(RECOMPUTED, offload=True)}
EXACT |= {"layer, offload": Policy({"layer"}, offload=True), "layer and the rest": Policy(RECOMPUTED | {"layer"})}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return K2Model(CONFIG).train()


@pytest.fixture(scope="module")
def batch():
    return torch.randint(0, CONFIG.vocab_size, (4, 129), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", EXACT)
def test_recomputation_and_offload_leave_every_gradient_bit_identical(model, batch, name, dtype):
    plain, other = (kept_bytes(model, batch, policy, dtype) for policy in (Policy(), EXACT[name]))
    assert other.loss == plain.loss
    assert other.largest_gradient_difference(plain) == 0.0
    assert other.total < plain.total


def test_each_step_of_the_papers_policy_keeps_fewer_bytes(model, batch):
    steps = [Policy(), Policy(RECOMPUTED), k2_policy(offload=False), k2_policy()]
    sizes = [kept_bytes(model, batch, policy, "float32").total for policy in steps]
    assert sizes[0] > 2 * sizes[1] > sizes[1] > 1.3 * sizes[2] > sizes[2] > 4 * sizes[3]


def test_what_is_recomputed_is_not_kept_and_what_is_fp8_has_a_quarter(model, batch):
    plain = kept_bytes(model, batch, Policy(), "float32").by_name
    ours = kept_bytes(model, batch, k2_policy(offload=False), "float32").by_name
    assert not RECOMPUTED & set(ours) - {"up-projection"}  # whose rotation angles are small and kept
    assert ours["swiglu input"] == pytest.approx(
        plain["swiglu input"] * 1.03125 / 4, rel=0.05
    )  # narrow rows: ragged tiles
    assert {"residual", "latent", "attention output"} <= set(ours) and ours["residual"] == plain["residual"]
    assert set(plain) <= set(REGIONS) | set(TENSORS) | {"other"}


class Births(TorchDispatchMode):
    """Every storage that an operation made, without keeping it alive."""

    def __init__(self):
        super().__init__()
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **kwargs or {})
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and func._schema.name != "aten::detach":
                storage = tensor.untyped_storage()
                self.storages[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        return result

    def alive(self) -> int:
        return sum(size for storage, size in self.storages.values() if not storage.expired())


@pytest.mark.parametrize(
    "policy",
    [Policy(), Policy(RECOMPUTED), k2_policy(False), full_recompute()],
    ids=["keep", "recompute", "k2", "full"],
)
def test_the_counted_bytes_are_those_that_live_between_the_two_passes(model, batch, policy):
    where = {p.untyped_storage()._cdata for p in model.parameters()}
    gc.collect()
    with Births() as births, ActivationStore(policy) as store:
        loss = model.loss(batch[:, :-1], batch[:, 1:])
    gc.collect()
    for attention in (layer.self_attn for layer in model.layers):
        attention.max_logits = None
    alive = sum(s for key, (ref, s) in births.storages.items() if not ref.expired() and key not in where)
    assert alive == pytest.approx(store.total_bytes, rel=0.01)
    loss.backward()
    assert store.present_bytes == 0
    model.zero_grad(set_to_none=True)


def test_a_store_over_many_passes_counts_the_fullest_moment_and_ends_empty(model, batch):
    parts = batch.chunk(4)
    with ActivationStore(k2_policy()) as store:
        for part in parts:  # gradient accumulation: each pass is followed by its own backward pass
            model.loss(part[:, :-1], part[:, 1:]).backward()
    alone = [kept_bytes(model, part, k2_policy(), "float32") for part in parts]
    assert store.total_bytes == max(kept.total for kept in alone)
    assert store.host_bytes == max(kept.host for kept in alone)
    assert store.present_bytes == 0


@pytest.mark.parametrize("policy", [Policy(RECOMPUTED, offload=True), full_recompute()], ids=["k2", "full"])
def test_accumulated_gradients_are_bit_identical(model, batch, policy):
    def gradients(chosen):
        model.zero_grad(set_to_none=True)
        losses = []
        with ActivationStore(chosen):
            for part in batch.chunk(2):
                losses.append(model.loss(part[:, :-1], part[:, 1:]))
            for loss in losses:  # both forward passes first, as in a pipeline
                loss.backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    assert all(map(torch.equal, gradients(Policy()), gradients(policy)))
    model.zero_grad(set_to_none=True)


def test_the_second_run_counts_no_token_twice(model, batch):
    loads = []
    for policy in (Policy(), full_recompute()):
        for layer in model.layers[1:]:
            layer.mlp.gate.load.zero_()
        kept_bytes(model, batch, policy)
        loads.append([layer.mlp.gate.load.clone() for layer in model.layers[1:]])
    assert all(map(torch.equal, *loads))
    assert loads[0][0].sum() == 4 * 128 * CONFIG.num_experts_per_tok


def test_a_graph_that_is_kept_gives_the_same_gradient_twice(model, batch):
    with ActivationStore(k2_policy()) as store:
        loss = model.loss(batch[:, :-1], batch[:, 1:])
    weight = model.layers[1].self_attn.q_b_proj.weight
    (first,) = torch.autograd.grad(loss, weight, retain_graph=True)
    (second,) = torch.autograd.grad(loss, weight)
    assert torch.equal(first, second)
    del loss
    gc.collect()
    assert store.present_bytes == 0


def test_second_derivatives_are_refused():
    x = torch.randn(70, 70, requires_grad=True)
    with ActivationStore(Policy(offload=True)):
        y = x.exp().sin().sum()
    with pytest.raises(RuntimeError, match="create_graph=True"):
        torch.autograd.grad(y, x, create_graph=True)


def test_a_kept_tensor_that_changes_is_noticed():
    x = torch.randn(70, 70, requires_grad=True)
    with MemoryMeter():
        y = x.exp()
        z = y.sin().sum()
    with torch.no_grad():
        y.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        z.backward()


def test_a_part_that_does_something_else_the_second_time_is_noticed():
    x, factors = torch.randn(70, 70, requires_grad=True), iter((2, 1))

    def fickle(x):
        return x.exp() if next(factors) == 1 else x.exp().sin()

    with ActivationStore(Policy({"norm"})):
        y = region("norm", fickle, x).cos().sum()
    with pytest.raises(RuntimeError, match="'norm' saved 2 tensors the first time and 1 the second"):
        y.backward()


class Dropping(torch.nn.Module):
    """Some parts with dropout, one of which is marked."""

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(64, 256), torch.nn.Linear(256, 64)

    def forward(self, x):
        hidden = region("swiglu", lambda x: F.dropout(F.silu(self.first(x)), 0.5), x)
        return F.dropout(self.second(hidden), 0.5)


def test_what_is_recomputed_drops_the_same_numbers_and_leaves_the_generator_where_it_was():
    module, x, found = Dropping(), torch.randn(32, 64), []
    for policy in (Policy(), Policy(recompute={"swiglu"})):
        torch.manual_seed(3)
        module.zero_grad()
        with ActivationStore(policy):
            loss = module(x).square().mean()
        torch.rand(7)  # somebody draws between the passes
        loss.backward()
        found.append([*(p.grad.clone() for p in module.parameters()), torch.rand(3)])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_policy_that_changes_nothing_of_a_foreign_model_says_so():
    foreign, x = (
        torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.GELU(), torch.nn.Linear(256, 64)),
        torch.randn(32, 64),
    )
    with (
        pytest.warns(UserWarning, match="marked none of them, so nothing was recomputed"),
        ActivationStore(k2_policy()),
    ):
        foreign(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with ActivationStore(Policy(offload=True)) as store:
            foreign(x).sum().backward()
        with ActivationStore(k2_policy()), torch.no_grad():
            foreign(x)
    assert store.host_bytes > 0


def test_a_meter_that_is_used_again_counts_anew():
    meter, layer = MemoryMeter(), torch.nn.Linear(64, 64)
    for rows in (64, 32):
        with meter:
            F.silu(layer(torch.randn(rows, 64))).sum().backward()
        assert meter.total_bytes == 2 * rows * 64 * 4


def test_a_name_that_no_model_uses_is_refused():
    with pytest.raises(ValueError, match="no 'nrom' for a memory policy; choose from layer, norm"):
        Policy({"nrom"})
    with pytest.raises(ValueError, match="no 'experts' for a memory policy; choose from residual"):
        Policy(fp8={"experts"})


def test_bytes_are_counted_exactly_and_a_tensor_saved_twice_counts_once():
    x = torch.randn(64, 100, requires_grad=True)
    with MemoryMeter() as meter:
        y = x.exp()  # saves its result
        (y * y.view(100, 64).view(64, 100)).sum()  # saves y twice, which is the result again
    assert meter.total_bytes == 64 * 100 * 4


def test_weights_and_their_casts_are_not_activations():
    layer = torch.nn.Linear(128, 128, bias=False)
    x = torch.randn(64, 128)
    with MemoryMeter() as meter, torch.autocast("cpu", torch.bfloat16):
        layer(x)
    assert meter.total_bytes == 64 * 128 * 2  # the cast input


def test_a_freed_tensors_address_is_not_mistaken_for_it():
    x = torch.randn(70, 70, requires_grad=True)
    with ActivationStore(Policy(offload=True)):
        total = sum(((x * i).exp() * 1.0).sin().sum() for i in range(1, 6))
    total.backward()
    (expected,) = torch.autograd.grad(sum((x * i).exp().sin().sum() for i in range(1, 6)), x)
    torch.testing.assert_close(x.grad, expected)


def test_the_store_keeps_no_graph_alive(model, batch):
    with ActivationStore(k2_policy()) as store:
        loss = model.loss(batch[:, :-1], batch[:, 1:])
        assert store.present_bytes > 0
        del loss
        gc.collect()
        assert store.present_bytes == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fp8_changes_an_experts_gradients_no_more_than_the_format_allows(dtype):
    torch.manual_seed(1)
    experts = Experts(CONFIG)
    for weight in experts.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    x = torch.randn(512, CONFIG.hidden_size).to(dtype)
    chosen = torch.stack([torch.randperm(CONFIG.n_routed_experts)[: CONFIG.num_experts_per_tok] for _ in x])
    gates, direction = torch.rand(chosen.shape) + 0.1, torch.randn(512, CONFIG.hidden_size).to(dtype)

    def gradient(policy):
        experts.zero_grad(set_to_none=True)
        with ActivationStore(policy):
            output = experts(x, gates, chosen)
        output.backward(direction)
        return experts.gate_up_proj.grad.double(), experts.down_proj.grad.double()

    (up, _), (stored_up, _) = gradient(Policy()), gradient(Policy(fp8={"expert input"}))
    (_, down), (_, stored_down) = gradient(Policy()), gradient(Policy(fp8={"swiglu input"}))
    bound_up, bound_down = torch.zeros_like(up), torch.zeros_like(down)
    for e, (w_up, w_down) in enumerate(zip(experts.gate_up_proj.double(), experts.down_proj.double(), strict=True)):
        token, slot = (chosen == e).nonzero(as_tuple=True)
        rows, d_y, weigh = x[token].double(), direction[token].double(), gates[token, slot, None].double()
        pre = (rows @ w_up.t()).detach().requires_grad_()
        gate, up_ = pre.chunk(2, -1)
        ((F.silu(gate) * up_ * weigh) @ w_down.t()).backward(d_y)
        bound_up[e] = pre.grad.abs().t() @ step(rows)
        d_gate, d_up = step(pre.detach()).chunk(2, -1)
        moved = 1.1 * d_gate * (up_.abs() + d_up) + F.silu(gate).abs() * d_up  # |silu'| ≤ 1.1
        bound_down[e] = d_y.abs().t() @ (moved * weigh)
    loose = 1.001 if dtype == torch.float32 else 1.2  # bf16's own rounding of the products comes on top
    for a, b, bound in ((up, stored_up, bound_up), (down, stored_down, bound_down)):
        slack = 1e-6 if dtype == torch.float32 else 0.02 * b.abs() + 1e-2 * b.abs().mean()
        assert (a - b).norm() > 0
        assert ((a - b).abs() <= loose * bound + slack).all()
        assert (a - b).norm() < 0.05 * b.norm()


def step(x: torch.Tensor) -> torch.Tensor:
    """How far E4M3 in tiles of 1×128 may move each number: a sixteenth, or half a subnormal step of its tile."""
    width = x.shape[-1]
    tiles = F.pad(x.abs(), (0, -width % 128)).unflatten(-1, (-1, 128)).amax(-1, keepdim=True)
    floor = (tiles / 448 * 2**-10).expand(*tiles.shape[:-1], 128).flatten(-2)[..., :width]
    return torch.maximum(x.abs() / 16, floor)


@pytest.mark.slow
def test_a_model_compiled_whole_gives_the_same_gradients():
    """The compiler decides what it keeps and forms again; what it keeps is still moved away, and rounded in the experts."""
    torch.manual_seed(0)
    small = K2Model(CONFIG.replace(num_hidden_layers=2)).train()
    tokens = torch.randint(0, CONFIG.vocab_size, (4, 65))
    small.loss = torch.compile(small.loss, backend="aot_eager")
    plain, moved, stored = (
        kept_bytes(small, tokens, policy, "float32")
        for policy in (Policy(), Policy(offload=True), Policy(fp8={"swiglu input"}))
    )
    assert moved.largest_gradient_difference(plain) == 0.0
    assert moved.total < 0.2 * plain.total and moved.host > 0.8 * plain.total
    assert plain.total > stored.total and 0 < stored.largest_gradient_difference(plain) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", ["layer", "offload", "fp8"])
def test_compiled_layers_give_the_same_gradients(name):
    torch.manual_seed(0)
    small = K2Model(CONFIG.replace(num_hidden_layers=2)).train()
    tokens = torch.randint(0, CONFIG.vocab_size, (4, 65))
    policy = {**EXACT, "fp8": Policy(fp8={"swiglu input"})}[name]
    eager = kept_bytes(small, tokens, policy, "float32")
    for layer in small.layers:
        layer.compile(backend="aot_eager")
    plain, compiled = (kept_bytes(small, tokens, chosen, "float32") for chosen in (Policy(), policy))
    assert compiled.total < plain.total
    if name == "fp8":
        a, b = (torch.cat([g.flatten() for g in kept.gradients.values()]) for kept in (compiled, plain))
        assert 0 < (a - b).norm() / b.norm() < 0.03
    else:
        assert compiled.largest_gradient_difference(plain) == 0.0
        assert compiled.largest_gradient_difference(eager) < 1e-5


def test_nothing_of_a_pass_is_held_once_its_gradients_are_taken(model, batch):
    store = ActivationStore(Policy(RECOMPUTED))
    with store:
        loss = model.loss(batch[:, :-1], batch[:, 1:])
    loss.backward()
    del loss
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing) is Recomputation]
    model.zero_grad()
