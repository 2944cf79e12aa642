"""Orthogonalisation by Newton–Schulz: M = UΣVᵀ becomes roughly UVᵀ with matrix products alone (Moonlight, §2.1).

X₀ = M/‖M‖_F, then X ← aX + (bA + cA²)X with A = XXᵀ. Moonlight's coefficients trade exactness for speed: singular
values end between about 0.7 and 1.2, so an update meant to have a root mean square of 0.2 has about 0.19. A batch of
equal shapes is one batched product. What surprises: bf16 is enough, since the iteration corrects its own errors; a
wrong norm is not corrected, so the norm is taken in fp32. And A can run ahead of X (`_gram`), which saves products when
X is long, but only in fp32: in bf16 its errors are as large as what it computes.
"""

import torch
from torch import Tensor

from k2lib import machine

MOONLIGHT = ((3.4445, -4.7750, 2.0315),) * 5
# Amsel et al. 2025 (Polar Express): the best odd quintics for singular values in [0.001, 1], one a step.
POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
    (1.875, -1.25, 0.375),
)
SCHEDULES = {"moonlight": MOONLIGHT, "polar_express": POLAR_EXPRESS}
GRAM_ASPECT = 3.0  # m/n from which the Gram form is faster: measured 1.5 times at 4, level at 2
GRAM_RESTART = 2  # steps after which A is formed from X again; without it, small singular values are lost

Polynomials = list[tuple[float, float, float]]


def newton_schulz(
    G: Tensor,
    steps: int = 5,
    coefficients: str | tuple[float, float, float] = "moonlight",
    dtype: torch.dtype | None = None,
) -> Tensor:
    """G [..., n, m] -> a matrix of the same shape with singular values near 1, computed and returned in `dtype`.

    `dtype` defaults to bf16 where the machine multiplies it measurably faster, else fp32. A zero matrix stays exactly zero; entries
    near the ends of fp32's range are fine; a NaN or infinity makes its matrix NaN. Raises ValueError for fewer than two
    dimensions or an unknown schedule.
    """
    if G.ndim < 2:
        raise ValueError(
            f"newton_schulz wants matrices [..., n, m], got shape {tuple(G.shape)}; vectors belong to AdamW"
        )
    if isinstance(coefficients, str) and coefficients not in SCHEDULES:
        raise ValueError(f"unknown coefficients {coefficients!r}; choose {', '.join(SCHEDULES)} or a tuple (a, b, c)")
    schedule = SCHEDULES[coefficients] if isinstance(coefficients, str) else (coefficients,)
    polynomials = [schedule[min(step, len(schedule) - 1)] for step in range(steps)]
    x = _normalise(G.reshape(-1, *G.shape[-2:])).to(dtype or getattr(torch, machine.compute_dtype(G.device)))
    short, long = sorted(x.shape[-2:])
    if x.dtype != torch.float32 or long < GRAM_ASPECT * short:
        x = _iterate(x, polynomials)
    elif x.shape[-2] == short:
        x = _gram(x, polynomials)
    else:
        x = _gram(x.mT, polynomials).mT
    return x.reshape(G.shape)


def _normalise(x: Tensor) -> Tensor:
    """x / ‖x‖_F in fp32; by the largest entry first, so that tiny and huge ones stay in range when squared."""
    peak = torch.maximum(x.amax((-2, -1), keepdim=True), -x.amin((-2, -1), keepdim=True)).float()
    x = x.float() / peak.clamp_min(torch.finfo(torch.float32).tiny)
    return x.div_(torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True).clamp_min(1e-7))


def _iterate(x: Tensor, polynomials: Polynomials) -> Tensor:
    """X ← aX + (bA + cA²)X for x [N, n, m], A on the shorter side: 20n²m + 10n³ FLOPs in five steps, n ≤ m."""
    wide = x.shape[-2] <= x.shape[-1]
    for a, b, c in polynomials:
        gram = x @ x.mT if wide else x.mT @ x
        inner = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, *((inner, x) if wide else (x, inner)), beta=a)
    return x


def _gram(x: Tensor, polynomials: Polynomials) -> Tensor:
    """The same for wide x, touching X only at the ends: Q = aI + bA + cA² commutes with A, so A ← QAQ and X = (ΠQ)X.

    8n²m + 28n³ FLOPs in five steps with one restart.
    """
    for part in (polynomials[:GRAM_RESTART], polynomials[GRAM_RESTART:]):
        product, gram = None, x @ x.mT
        for index, (a, b, c) in enumerate(part):
            q = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
            q.diagonal(dim1=-2, dim2=-1).add_(a)
            product = q if product is None else q @ product
            if index + 1 < len(part):
                gram = q @ gram @ q
        x = x if product is None else product @ x
    return x
