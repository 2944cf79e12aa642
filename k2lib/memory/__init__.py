"""Memory: FP8 storage, recomputation and offload of activations, and the meter that counts their bytes."""

from k2lib.memory.activations import ActivationStore, MemoryMeter
from k2lib.memory.fp8 import dequantize_fp8, quantize_fp8
from k2lib.memory.policy import Policy, k2_policy, recompute
from k2lib.memory.swiglu import swiglu_fp8

__all__ = [
    "ActivationStore",
    "MemoryMeter",
    "Policy",
    "dequantize_fp8",
    "k2_policy",
    "quantize_fp8",
    "recompute",
    "swiglu_fp8",
]
