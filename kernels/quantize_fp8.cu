// FP8 (E4M3) storage of a matrix in tiles: q = x / scale, scale = amax / 448 of each tile (section 2.4.3 of the paper).
//
// K2 stores what the backward pass will need of the experts' inputs this way: one byte a number and one fp32 factor for a
// tile of 1 × 128 numbers. An outlier then spoils 127 neighbours and no more. Weights are better in tiles of 128 × 128.
//
// Layout. x [rows, columns] contiguous, q the same shape, scales [⌈rows/R⌉, ⌈columns/128⌉]; edges may be ragged.
// 1 × 128: sixteen lanes hold a tile, eight numbers each, so a warp holds two tiles and needs four shuffles for the largest
// magnitude; nothing is read twice and nothing shared. 128 × 128: a block holds a tile in registers, 64 numbers a thread.
//
// Bytes. bf16 in 2, out 1 + 4/128 a number: 3.03 bytes. FLOPs: about 4. On a GPU that copies 4.3 TB/s the floor of
// [8192, 7168] is 41 µs; arithmetic would take a hundredth of it. So all that counts is 16-byte accesses, enough of them
// in flight, and reading x once.
//
// What libraries do. vLLM and SGLang ship the same as per_token_group_quant; torch.compile fuses the formula into one
// kernel, too. What they do not do is write it beside another product, which is why the next kernels build on this one.
#include "fp8_tiles.cuh"

// Tiles of 1 × 128. Grid: ⌈tiles / 16⌉ blocks of 256 threads.
template <class T>
__global__ void __launch_bounds__(kThreads)
quantize_rows(const T* x, fp8* q, float* scales, long long rows, long long columns) {
    const Place at = place(rows, columns);
    if (at.warp_is_idle) return;
    const long long first = at.row * columns + at.column;
    stash(q + first, scales + at.tile, load_floats(x + first, at.count, at.aligned), at);
}

// Tiles of 128 × 128. Grid: ⌈columns / 128⌉ × ⌈rows / 128⌉ blocks of 256 threads.
template <class T>
__global__ void __launch_bounds__(kThreads)
quantize_blocks(const T* x, fp8* q, float* scales, long long rows, long long columns) {
    constexpr int kStep = kThreads / kLanes, kRounds = kTile / kStep;  // rows at a time, and how often
    __shared__ float warps[kThreads / 32];
    const long long top = blockIdx.y * (long long)kTile + threadIdx.x / kLanes;
    const long long column = blockIdx.x * (long long)kTile + threadIdx.x % kLanes * kValues;
    const bool aligned = columns % kValues == 0;

    Values v[kRounds];
    float amax = 0;
#pragma unroll
    for (int i = 0; i < kRounds; ++i) {
        const long long row = top + i * kStep;
        v[i] = load_floats(x + row * columns + column, row < rows ? columns - column : 0, aligned);
        amax = fmaxf(amax, largest(v[i]));
    }
    amax = lanes_max<32>(amax);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = amax;
    __syncthreads();
    for (int w = 0; w < kThreads / 32; ++w) amax = fmaxf(amax, warps[w]);
    const float scale = tile_scale(amax);
#pragma unroll
    for (int i = 0; i < kRounds; ++i) {
        const long long row = top + i * kStep;
        store_fp8(q + row * columns + column, v[i], scale, row < rows ? columns - column : 0, aligned);
    }
    if (threadIdx.x == 0) scales[blockIdx.y * (long long)gridDim.x + blockIdx.x] = scale;
}
