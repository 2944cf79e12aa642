"""Rows to their experts and back: values and gradients against plain indexing, promises of the operations, wrong shapes."""

import pytest
import torch

from k2lib.model.permute import permute, unpermute


@pytest.fixture
def routed():
    """x [6, 10], token [18], place [6, 3], gates [6, 3] of a random order."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(18, generator=generator)
    x = torch.randn(6, 10, generator=generator).requires_grad_()
    gates = torch.rand(6, 3, generator=generator).requires_grad_()
    return x, order // 3, order.argsort().view(6, 3), gates


def test_there_and_back_is_the_token_times_its_gates(routed):
    x, token, place, gates = routed
    rows = permute(x, token, place)
    assert torch.equal(rows, x[token])
    torch.testing.assert_close(unpermute(rows, place, gates), x * gates.sum(1, keepdim=True))


def test_gradients_are_those_of_plain_indexing(routed):
    x, token, place, gates = routed
    weights = torch.linspace(0.5, 2.0, 18)[:, None]
    found = torch.autograd.grad(
        (unpermute(permute(x, token, place) * weights, place, gates)).square().sum(), (x, gates)
    )
    plain = ((x[token] * weights)[place] * gates[..., None]).sum(1)
    torch.testing.assert_close(found, torch.autograd.grad(plain.square().sum(), (x, gates)))


def test_the_operations_keep_their_promises_and_compile(routed):
    x, token, place, gates = routed
    torch.library.opcheck(torch.ops.k2.moe_permute.default, (x, token, place))
    torch.library.opcheck(torch.ops.k2.moe_unpermute.default, (x.detach()[token].requires_grad_(), place, gates))

    @torch.compile(fullgraph=True, backend="aot_eager")
    def there_and_back(x, gates):
        return unpermute(permute(x, token, place), place, gates)

    torch.testing.assert_close(there_and_back(x, gates), x * gates.sum(1, keepdim=True))


def test_shapes_that_do_not_fit_are_named(routed):
    x, token, place, gates = routed
    with pytest.raises(ValueError, match=r"permute takes x \[T, D\].* got \(6, 10\), \(17,\), \(6, 3\)"):
        permute(x, token[1:], place)
    with pytest.raises(ValueError, match=r"unpermute takes rows .* got \(18, 10\), \(6, 3\), \(6, 2\)"):
        unpermute(x[token], place, gates[:, 1:])
