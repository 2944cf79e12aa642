"""Newton–Schulz at its edges: the Gram form, tall matrices, Polar Express, and inputs that are not nice."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from k2lib.optim import newton_schulz
from k2lib.optim.newton_schulz import MOONLIGHT, POLAR_EXPRESS, _gram, _iterate, _normalise


def matrix(kind: str, n: int, m: int, seed: int = 0) -> torch.Tensor:
    g = torch.randn(3, n, m, generator=torch.Generator().manual_seed(seed))
    u, s, v = torch.linalg.svd(g, full_matrices=False)
    if kind == "rank-deficient":
        s[:, (n + 3) // 4 :] = 0
    if kind == "ill-conditioned":
        s = torch.logspace(0, -4, min(n, m)).expand_as(s)
    return u @ torch.diag_embed(s) @ v


@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(1, 24),
    ratio=st.integers(1, 6),
    seed=st.integers(0, 99),
    kind=st.sampled_from(["full", "rank-deficient", "ill-conditioned"]),
    polar=st.booleans(),
)
def test_the_gram_form_is_the_same_polynomial(n, ratio, seed, kind, polar):
    x = _normalise(matrix(kind, n, n * ratio, seed))
    schedule = list(POLAR_EXPRESS[:5] if polar else MOONLIGHT)
    plain = _iterate(x.double(), schedule)
    tolerance = 2e-2 if polar else 2e-3  # Polar Express magnifies rounding errors of singular values near 1
    assert (_gram(x, schedule) - plain).norm() < tolerance * plain.norm()


@pytest.mark.parametrize("shape", [(24, 40), (10, 60)])  # the second takes the Gram form
def test_a_tall_matrix_is_the_transpose_of_a_wide_one(shape):
    g = matrix("full", *shape)
    wide, tall = newton_schulz(g, dtype=torch.float32), newton_schulz(g.mT, dtype=torch.float32)
    torch.testing.assert_close(tall.mT, wide, atol=1e-5, rtol=1e-4)


def test_polar_express_comes_closer_to_one_than_moonlight():
    g = matrix("full", 48, 64)
    spread = {
        name: (torch.linalg.svdvals(newton_schulz(g, coefficients=name, dtype=torch.float32)) - 1).abs().mean()
        for name in ("moonlight", "polar_express")
    }
    assert spread["polar_express"] < 0.5 * spread["moonlight"]


def test_many_steps_of_the_classical_cubic_give_the_exact_polar_factor():
    g = matrix("full", 8, 40)
    u, _, v = torch.linalg.svd(g, full_matrices=False)
    ours = newton_schulz(g, steps=30, coefficients=(1.5, -0.5, 0.0), dtype=torch.float32)
    torch.testing.assert_close(ours, u @ v, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-37, 1e-20, 1e20, 1e37])
def test_the_scale_of_the_input_does_not_matter(scale):
    g = matrix("full", 12, 20)
    assert (newton_schulz(g * scale, dtype=torch.float32) - newton_schulz(g, dtype=torch.float32)).abs().max() < 1e-3


def test_a_matrix_that_is_not_finite_spoils_no_other():
    g = matrix("full", 8, 12)
    clean = newton_schulz(g, dtype=torch.float32)
    g[1, 0, 0] = torch.inf
    spoiled = newton_schulz(g, dtype=torch.float32)
    assert spoiled[1].isnan().all()
    assert torch.equal(spoiled[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize("shape", [(1, 7), (7, 1), (1, 1), (2, 3, 4, 5)])
def test_thin_matrices_and_any_leading_dimensions_are_fine(shape):
    g = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(newton_schulz(g, dtype=torch.float32))
    assert newton_schulz(g).shape == shape
    assert values.min() > 0.3 and values.max() < 1.3


def test_small_singular_values_are_lifted_a_hundred_times_and_none_ends_far_above_one():
    update = newton_schulz(
        matrix("ill-conditioned", 64, 64), dtype=torch.float32
    )  # the smallest is 1e-4 of the largest
    found = torch.linalg.svdvals(update)
    assert (
        found.max() < 1.25 and (found.min(-1).values > 100 * 1e-4 / 8).all()
    )  # 8: the norm that it is divided by, at most
