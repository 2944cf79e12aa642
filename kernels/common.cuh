// What the kernels share: the number formats, vector loads and stores, and reductions over lanes.
// Compiles under NVRTC, nvcc, and g++ with ci/cusim/cusim.h, which brings the two headers itself.
#pragma once
#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp8.h>
#endif

using bf16 = __nv_bfloat16;
using fp8 = __nv_fp8_storage_t;  // E4M3: largest 448, three bits of mantissa, no infinity
constexpr float kLargestFp8 = 448.0f;
constexpr float kLargestFloat = 3.402823466e38f;

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(bf16 x) { return __bfloat162float(x); }
template <class T> __device__ T from_float(float x);
template <> __device__ inline float from_float<float>(float x) { return x; }
template <> __device__ inline bf16 from_float<bf16>(float x) { return __float2bfloat16(x); }

template <int Bytes> struct Word { using type = uint4; };  // the widest access that fits
template <> struct Word<8> { using type = uint2; };
template <> struct Word<4> { using type = unsigned; };

template <class T, int N> struct alignas(16) Vector {  // N numbers in registers
    T value[N];
    __device__ T& operator[](int i) { return value[i]; }
    __device__ const T& operator[](int i) const { return value[i]; }
};

// N values from p on in one go, where p is aligned for it; else one by one, and of a ragged edge the first `count`,
// with zeros behind them. Word by word, and stored by name: the compiler cuts a struct, and some plain stores, into their
// numbers again.
template <int N, class T> __device__ Vector<T, N> load(const T* p, long long count, bool aligned) {
    using W = typename Word<sizeof(T) * N>::type;
    Vector<T, N> v = {};
    if (aligned && count >= N) {
#pragma unroll
        for (int i = 0; i < int(sizeof(T) * N / sizeof(W)); ++i)
            reinterpret_cast<W*>(&v)[i] = reinterpret_cast<const W*>(p)[i];
        return v;
    }
#pragma unroll
    for (int i = 0; i < N; ++i)
        if (i < count) v[i] = p[i];
    return v;
}
template <int N, class T> __device__ void store(T* p, const Vector<T, N>& v, long long count, bool aligned) {
    using W = typename Word<sizeof(T) * N>::type;
    if (aligned && count >= N) {
#pragma unroll
        for (int i = 0; i < int(sizeof(T) * N / sizeof(W)); ++i)
            __stcs(reinterpret_cast<W*>(p) + i, reinterpret_cast<const W*>(&v)[i]);  // written once, not read soon
        return;
    }
#pragma unroll
    for (int i = 0; i < N; ++i)
        if (i < count) p[i] = v[i];
}

constexpr int kValues = 8;  // numbers that a thread holds at a time
using Values = Vector<float, kValues>;
template <class T> __device__ Values load_floats(const T* p, long long count, bool aligned) {
    const auto in = load<kValues>(p, count, aligned);
    Values out;
#pragma unroll
    for (int i = 0; i < kValues; ++i) out[i] = to_float(in[i]);
    return out;
}

template <int Lanes> __device__ float lanes_max(float x) {  // over each aligned group of Lanes lanes
#pragma unroll
    for (int distance = Lanes / 2; distance; distance /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, distance));
    return x;
}

__device__ inline float warp_sum(float x) {
#pragma unroll
    for (int distance = 16; distance; distance /= 2) x += __shfl_xor_sync(~0u, x, distance);
    return x;
}
template <int Threads> __device__ float block_sum(float x) {  // every thread gets the sum; may be called again at once
    __shared__ float warps[Threads / 32];
    x = warp_sum(x);
    __syncthreads();  // whoever still reads the sum before
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = 0;
#pragma unroll
    for (int w = 0; w < Threads / 32; ++w) sum += warps[w];
    return sum;
}

// The factor of a tile whose largest magnitude, NaN aside, is amax: amax/448; 1 for a tile of zeros or of next to nothing.
__device__ inline float tile_scale(float amax) {
    const float scale = fminf(amax, kLargestFloat) / kLargestFp8;
    return scale > 0 ? scale : 1.0f;
}

// Eight values as E4M3. Too large saturates, an infinity too; NaN stays NaN, with its sign as PyTorch's cast keeps it.
__device__ inline fp8 to_fp8(float x) {
    const fp8 sign = __float_as_uint(x) >> 31 << 7;
    return x == x ? __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3) : fp8(0x7f | sign);
}
__device__ inline float from_fp8(fp8 x) { return __half2float(__half(__nv_cvt_fp8_to_halfraw(x, __NV_E4M3))); }
