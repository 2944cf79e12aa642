// Kernels with one planted fault each: the simulator must report every one of them.
#include "common.cuh"

extern "C" __global__ void missing_barrier(float* out) {
    __shared__ float s[64];
    s[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = s[63 - threadIdx.x];
}
extern "C" __global__ void with_barrier(float* out) {
    __shared__ float s[64];
    s[threadIdx.x] = threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = s[63 - threadIdx.x];
}
extern "C" __global__ void divergent_shuffle(float* out) {
    float v = threadIdx.x;
    if (threadIdx.x % 32 < 16) v = __shfl_xor_sync(~0u, v, 1);
    else __syncthreads();
    out[threadIdx.x] = v;
}
extern "C" __global__ void divergent_barrier(float* out) {
    if (threadIdx.x < 48) __syncthreads();
    else __syncwarp();
    out[threadIdx.x] = 1;
}
extern "C" __global__ void mixed_collectives(float* out) {
    out[threadIdx.x] = threadIdx.x & 1 ? __shfl_xor_sync(~0u, 1.0f, 1) : float(__ballot_sync(~0u, 1));
}
extern "C" __global__ void wrong_mask(float* out) {
    out[threadIdx.x] = __shfl_xor_sync(0xffffu, float(threadIdx.x), 1);
}
extern "C" __global__ void reads_exited_lane(float* out) {
    if (threadIdx.x % 32 >= 20) return;
    out[threadIdx.x] = __shfl_xor_sync(~0u, float(threadIdx.x), 16);
}
extern "C" __global__ void traps(float* out) {
    if (threadIdx.x == 3) __trap();
    out[threadIdx.x] = 1;
}
extern "C" __global__ void shared_overflow(float* out) {
    extern __shared__ unsigned char smem[];
    float* s = reinterpret_cast<float*>(smem);
    s[threadIdx.x + 1] = 1;
    __syncthreads();
    out[threadIdx.x] = s[threadIdx.x + 1];
}
extern "C" __global__ void uninitialised_shared(float* out) {
    extern __shared__ unsigned char smem[];
    out[threadIdx.x] = reinterpret_cast<float*>(smem)[threadIdx.x];
}
extern "C" __global__ void half_warps(float* out) {  // legal: the two halves shuffle apart, then meet
    float v = threadIdx.x;
    const unsigned half = threadIdx.x % 32 < 16 ? 0x0000ffffu : 0xffff0000u;
    if (threadIdx.x % 32 < 16) v += __shfl_xor_sync(half, v, 1);
    v += __shfl_xor_sync(half, v, 2);
    __syncwarp();
    out[threadIdx.x] = __shfl_sync(~0u, v, 31) + __popc(__ballot_sync(~0u, threadIdx.x & 1));
}
extern "C" __global__ void counts(float* out, long long n, float step) {
    for (long long i = 0; i < n; ++i) atomicAdd(out, step);
}
