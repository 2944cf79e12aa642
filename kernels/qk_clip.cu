// QK-Clip's rescale: the query and key rows of every clipped head, of all layers, in one launch (Algorithm 1, section 2.1).
//
// Most heads are not clipped in most steps: their factor is 1, and then nothing of them is read or written. What remains
// is a read and a write of the rows of a few heads; done layer by layer in PyTorch it is three launches a layer.
//
// Layout. parts [P, 6] int64, one row for each slice of a weight: address, heads, rows a head in the weight, first and
// last + 1 row of the slice in a head, columns. factors [P, most heads] fp32: what to multiply by, 1 leaves alone. Weights
// contiguous, all of one dtype; rows of a head start anywhere, so vector access needs columns % 8 = 0.
//
// Bytes. 2 in, 2 out a number of a clipped head (bf16; 4 and 4 for fp32 masters). All 61 layers of K2 with every head
// clipped: 92 MB, 22 µs at 4.3 TB/s; with one head in eight, 3 µs.
#include "common.cuh"

constexpr int kThreads = 256;

// Grid: blocks × P; the blocks of a part share its rows.
template <class T>
__global__ void __launch_bounds__(kThreads)
rescale(const long long* parts, const float* factors, long long most_heads) {
    const long long* part = parts + blockIdx.y * 6;
    T* const weight = reinterpret_cast<T*>(part[0]);
    const long long heads = part[1], per_head = part[2], start = part[3], slice = part[4] - part[3], columns = part[5];
    const bool aligned = columns % kValues == 0;
    for (long long r = blockIdx.x; r < heads * slice; r += gridDim.x) {
        const long long head = r / slice, row = head * per_head + start + r % slice;
        const float factor = factors[blockIdx.y * most_heads + head];
        if (factor == 1.0f) continue;
        for (long long column = threadIdx.x * kValues; column < columns; column += kThreads * kValues) {
            T* const p = weight + row * columns + column;
            auto v = load<kValues>(p, columns - column, aligned);
#pragma unroll
            for (int i = 0; i < kValues; ++i) v[i] = from_float<T>(to_float(v[i]) * factor);
            store(p, v, columns - column, aligned);
        }
    }
}
