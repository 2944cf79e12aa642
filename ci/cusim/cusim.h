// Runs CUDA C++ kernels on the CPU, so that a reader without a GPU can run kernels/*.cu and a test can check their numerics.
//
// Each thread of a block is a fiber, so barriers, shuffles, shared memory and atomics mean what they mean on the device;
// blocks run on a few OS threads. bf16 and FP8 are NVIDIA's own headers, which convert on the host as well. What goes wrong
// is reported with block and thread: a deadlock, a divergent or mixed collective, an exited lane, a write past the dynamic
// shared memory; uninitialised dynamic shared memory is NaN.
// Not modelled: time, races between blocks, grid-wide sync, clusters, TMA, inline PTX (give it an #ifdef __CUDA_ARCH__ twin).
#pragma once
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __grid_constant__
#define __constant__ const
#define __launch_bounds__(...)
#define __shared__ thread_local  // one OS thread runs a block at a time; g++ needs -fno-extern-tls-init for it
#include <cuda_bf16.h>
#include <cuda_fp8.h>

#include "fibers.h"
// Fibers before what runs on them.
#include "collectives.h"
#include "intrinsics.h"

// CUSIM_EXPORT(symbol, kernel<…>): a C function that launches the kernel, and the sizes of its arguments.
#define CUSIM_EXPORT(symbol, ...)                                                                       \
    extern "C" const char* symbol(const unsigned* dims, size_t shared, int step, void** args) {         \
        return cusim::Kernel<__VA_ARGS__>::launch(dims, shared, step, args);                            \
    }                                                                                                   \
    extern "C" const int* symbol##_sizes() { return cusim::Kernel<__VA_ARGS__>::sizes; }
