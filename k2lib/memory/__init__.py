"""Memory: FP8 storage, recomputation and offload of activations, and the meter that counts their bytes."""

from k2lib.memory.activations import ActivationStore, MemoryMeter
from k2lib.memory.fp8 import dequantize_fp8, quantize_fp8
from k2lib.memory.policy import Policy, full_recompute, k2_policy
from k2lib.memory.swiglu import swiglu_fp8

__all__ = [
    "ActivationStore",
    "MemoryMeter",
    "Policy",
    "dequantize_fp8",
    "full_recompute",
    "k2_policy",
    "quantize_fp8",
    "swiglu_fp8",
]
