"""The raw kernels of kernels/*.cu: compiled by NVRTC and launched through CuPy on a GPU, run by a simulator on any CPU.

`source` reads a kernel with its includes, `nvrtc` and `simulator` compile it, `kernel` checks arguments and launches, `fp8`
makes PyTorch operations of it. Without a GPU the operations run the same formula in PyTorch.
"""
