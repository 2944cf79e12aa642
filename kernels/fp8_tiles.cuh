// Tiles of 1 × 128 in a matrix: sixteen lanes hold one, eight numbers each, so a warp holds two and a block sixteen.
#pragma once
#include "common.cuh"

constexpr int kThreads = 256, kTile = 128;
constexpr int kLanes = kTile / kValues;

// Where a thread stands in a matrix [rows, columns]: its tile, and the first of its eight numbers.
struct Place {
    long long tile, row, column, count;  // count: of its numbers that exist
    bool exists, aligned;
    bool warp_is_idle;  // neither of the warp's two tiles exists; they leave together, for shuffles need all lanes
};
__device__ inline Place place(long long rows, long long columns) {
    // In 32 bits: 2^32 tiles would be half a terabyte, and dividing in 64 takes longer than moving the numbers.
    const unsigned across = (columns + kTile - 1) / kTile, tile = blockIdx.x * (kThreads / kLanes) + threadIdx.x / kLanes;
    const long long tiles = rows * across, row = tile / across;
    const long long column = (long long)(tile % across) * kTile + threadIdx.x % kLanes * kValues;
    return {tile, row, column, tile < tiles ? columns - column : 0, tile < tiles, columns % kValues == 0,
            tile / 2 * 2 >= tiles};
}

__device__ inline Values load_fp8(const fp8* p, float scale, long long count, bool aligned) {
    const auto in = load<kValues>(p, count, aligned);
    Values out;
#pragma unroll
    for (int i = 0; i < kValues; ++i) out[i] = from_fp8(in[i]) * scale;
    return out;
}
template <class T> __device__ void store_as(T* p, const Values& v, long long count, bool aligned) {
    Vector<T, kValues> out;
#pragma unroll
    for (int i = 0; i < kValues; ++i) out[i] = from_float<T>(v[i]);
    store(p, out, count, aligned);
}
__device__ inline void store_fp8(fp8* p, const Values& v, float scale, long long count, bool aligned) {
    Vector<fp8, kValues> out;
#pragma unroll
    for (int i = 0; i < kValues; ++i) out[i] = to_fp8(v[i] / scale);
    store(p, out, count, aligned);
}

__device__ inline float largest(const Values& v) {  // fmaxf leaves a NaN out
    float amax = 0;
#pragma unroll
    for (int i = 0; i < kValues; ++i) amax = fmaxf(amax, fabsf(v[i]));
    return amax;
}

// Quantises a tile that sixteen lanes hold: its numbers to q, its factor to scale.
__device__ inline void stash(fp8* q, float* scale, const Values& v, const Place& at) {
    const float factor = tile_scale(lanes_max<kLanes>(largest(v)));
    if (!at.exists) return;
    store_fp8(q, v, factor, at.count, at.aligned);
    if (threadIdx.x % kLanes == 0) *scale = factor;
}
