// SwiGLU with an FP8 stash: h = silu(gate) · up for the next product, and gate, up as FP8 tiles for the backward pass, in
// one pass over them (sections 2.3 and 2.4.3 of the paper); and the backward pass from that stash.
//
// K2 keeps the SwiGLU's input as FP8 instead of bf16. Done apart, the input would be read twice, once for h and once to be
// quantised; here each number is read once and both results leave from registers.
//
// Layout. gate_up [rows, 2·width] contiguous, gate first; h [rows, width]; stash q [rows, 2·width] with scales
// [rows, 2·⌈width/128⌉] in tiles of 1 × 128: the tiles of gate, then those of up. width may be ragged.
// Sixteen lanes hold a tile of gate and the tile of up below it, eight numbers each.
//
// Bytes, a pair of numbers: forward 4 in, 2 + 2 + 8/128 out, 8.06; quantising apart would be 4 + 2 and 4 + 2: 12.1.
// Backward 2 (dh) + 2.06 (stash) in, 4 out: 8.06. FLOPs: about 15, exp included. 65,536 × 2048 pairs move 1.08 GB: a floor
// of 252 µs at 4.3 TB/s, for either way.
//
// What libraries do. vLLM and SGLang fuse SwiGLU with quantising its *output*, for inference; nobody ships this pair.
#include "fp8_tiles.cuh"

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// Grid of both: ⌈rows · ⌈width / 128⌉ / 16⌉ blocks of 256 threads.
template <class T>
__global__ void __launch_bounds__(kThreads)
swiglu_forward(const T* gate_up, T* h, fp8* q, float* scales, long long rows, long long width) {
    const Place at = place(rows, width);
    if (at.warp_is_idle) return;
    const long long across = (width + kTile - 1) / kTile;
    const long long gate_at = at.row * 2 * width + at.column, up_at = gate_at + width;

    const Values gate = load_floats(gate_up + gate_at, at.count, at.aligned);
    const Values up = load_floats(gate_up + up_at, at.count, at.aligned);
    Values product;
#pragma unroll
    for (int i = 0; i < kValues; ++i) product[i] = gate[i] * sigmoid(gate[i]) * up[i];
    if (at.exists) store_as(h + at.row * width + at.column, product, at.count, at.aligned);
    float* scale = scales + at.row * 2 * across + at.column / kTile;
    stash(q + gate_at, scale, gate, at);
    stash(q + up_at, scale + across, up, at);
}

// d_gate_up [rows, 2·width] of dh [rows, width] and the stash.
template <class T>
__global__ void __launch_bounds__(kThreads)
swiglu_backward(const T* dh, const fp8* q, const float* scales, T* d_gate_up, long long rows, long long width) {
    const Place at = place(rows, width);
    if (!at.exists) return;
    const long long across = (width + kTile - 1) / kTile;
    const long long gate_at = at.row * 2 * width + at.column, up_at = gate_at + width;
    const float* scale = scales + at.row * 2 * across + at.column / kTile;

    const Values gate = load_fp8(q + gate_at, scale[0], at.count, at.aligned);
    const Values up = load_fp8(q + up_at, scale[across], at.count, at.aligned);
    const Values d = load_floats(dh + at.row * width + at.column, at.count, at.aligned);
    Values d_gate, d_up;
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
        const float s = sigmoid(gate[i]);
        d_gate[i] = d[i] * up[i] * s * (1 + gate[i] * (1 - s));
        d_up[i] = d[i] * gate[i] * s;
    }
    store_as(d_gate_up + gate_at, d_gate, at.count, at.aligned);
    store_as(d_gate_up + up_at, d_up, at.count, at.aligned);
}
