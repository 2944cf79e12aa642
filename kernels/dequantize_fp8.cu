// Back from FP8 tiles: x = q · scale of the number's tile (section 2.4.3 of the paper); the inverse of quantize_fp8.cu.
//
// Layout. q [rows, columns] contiguous, scales [⌈rows/R⌉, ⌈columns/128⌉] for tiles of R × 128, R = 1 or 128; x as q.
// A thread moves eight numbers of one row, which lie in one tile: one factor serves them all.
//
// Bytes. In 1 + 4/128, out 2 (bf16) a number: 3.03 bytes, as the way in; the same floor of 41 µs for [8192, 7168] at
// 4.3 TB/s. torch.compile should tie here: there is nothing to fuse but what comes after.
#include "fp8_tiles.cuh"

// Grid: ⌈rows · ⌈columns / 8⌉ / 256⌉ blocks of 256 threads.
template <class T, int R>
__global__ void __launch_bounds__(kThreads)
dequantize(const fp8* q, const float* scales, T* x, long long rows, long long columns) {
    const long long pieces = (columns + kValues - 1) / kValues, across = (columns + kTile - 1) / kTile;
    const long long piece = blockIdx.x * (long long)kThreads + threadIdx.x;
    if (piece >= rows * pieces) return;
    const long long row = piece / pieces, column = piece % pieces * kValues;
    const long long at = row * columns + column, count = columns - column;
    const bool aligned = columns % kValues == 0;
    const float scale = scales[row / R * across + column / kTile];

    store_as(x + at, load_fp8(q + at, scale, count, aligned), count, aligned);
}
