// The largest attention logit of each head, max q_i · k_j over j ≤ i, which QK-Clip needs; no T × T tensor (section 2.1).
//
// First a bound: no logit exceeds max|q| · max|k|. It costs one reading of q and k, and a head whose bound lies below τ
// cannot be clipped: nothing more has to be known of it. For the others the exact pass multiplies again on tensor cores and
// keeps nothing but a maximum. FlexAttention and TransformerEngine return the maximum from their forward pass instead,
// which is free where one can change it; this is for attention that one cannot change.
//
// Layout. q, k [N, T, D] bf16 contiguous, N (sequence, head) pairs, D a multiple of 16; maxima [N] fp32, set to minus
// infinity (exact) or zero (norms) before. A warp owns 16 queries and walks along the keys, eight at a time.
//
// Bytes and FLOPs. Norms: 4 bytes a pair of numbers, 403 MB for 128 pairs of 4096 × 192: 94 µs at 4.3 TB/s. Exact, causal:
// T²·D FLOPs a pair of q and k, 412 GFLOP: 522 µs at 790 TFLOP/s, of which mma.sync reaches about half.
#include "mma.cuh"

constexpr int kThreads = 128;

// fmaxf would leave a NaN out, and nobody would hear of it.
__device__ inline float nan_to_infinity(float x) { return x == x ? x : __int_as_float(0x7f800000); }

__device__ inline void atomic_max(float* p, float x) {  // of floats, by the order of their bits
    if (x >= 0) atomicMax(reinterpret_cast<int*>(p), __float_as_int(x));
    else atomicMin(reinterpret_cast<unsigned*>(p), __float_as_uint(x));
}

// norms [N]: the largest squared length of x's rows. Grid: N × ⌈T / 128⌉ blocks of 128 threads.
__global__ void __launch_bounds__(kThreads) largest_norm(const bf16* x, float* norms, long long length, long long width) {
    const long long row = blockIdx.y * (long long)kThreads + threadIdx.x;
    float squares = 0;
    if (row < length)
        for (long long c = 0; c < width; c += kValues) {
            const auto v = load<kValues>(x + (blockIdx.x * length + row) * width + c, width - c, true);
#pragma unroll
            for (int i = 0; i < kValues; ++i) squares += to_float(v[i]) * to_float(v[i]);
        }
    squares = lanes_max<32>(nan_to_infinity(squares));
    if (threadIdx.x % 32 == 0) atomic_max(norms + blockIdx.x, squares);
}

// Of the pairs that `which` [M] lists. Grid: M × ⌈T / 64⌉ blocks of 128 threads.
template <int D>
__global__ void __launch_bounds__(kThreads)
largest_logit(const bf16* q, const bf16* k, const long long* which, float* maxima, long long length) {
    const int lane = threadIdx.x % 32;
    const long long pair = which[blockIdx.x], first = (blockIdx.y * 4ll + threadIdx.x / 32) * 16;
    if (first >= length) return;  // the whole warp
    q += pair * length * D, k += pair * length * D;
    auto two = [&](const bf16* m, long long row, int column) {  // neighbours, or zeros behind the end
        return row < length ? *reinterpret_cast<const unsigned*>(m + row * D + column) : 0u;
    };
    float best = __int_as_float(0xff800000);
    for (long long key = 0; key <= first + 15; key += 8) {
        Fragments f = {};
#pragma unroll
        for (int d = 0; d < D; d += 16) {
            for (int r = 0; r < 4; ++r) f.a[r] = two(q, first + lane / 4 + r % 2 * 8, d + lane % 4 * 2 + r / 2 * 8);
            for (int r = 0; r < 2; ++r) f.b[r] = two(k, key + lane / 4, d + lane % 4 * 2 + r * 8);
            mma_m16n8k16(f);
        }
        for (int r = 0; r < 4; ++r) {
            const long long i = first + lane / 4 + r / 2 * 8, j = key + lane % 4 * 2 + r % 2;
            if (j <= i && i < length) best = fmaxf(best, nan_to_infinity(f.c[r]));
        }
    }
    best = lanes_max<32>(best);
    if (lane == 0) atomic_max(maxima + pair, best);
}
