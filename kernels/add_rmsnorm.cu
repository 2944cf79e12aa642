// RMSNorm with the residual added on the way: h = x + r, y = w · h / √(mean h² + ε), and the gradient of both (section 2.3).
//
// Every layer does this twice. Apart, the sum would be written and read again; here a row waits in registers between the
// two things that need it: the sum of its squares, and the output.
//
// Layout. x, residual, h, y [rows, width] contiguous, weight [width], rstd [rows] fp32. A block holds a row, Pieces × 8
// numbers a thread: width at most 2048 · Pieces. Backward: block b takes the rows b, b + blocks, …, so that the weight's
// gradient stays in registers; partial [blocks, width] fp32 is summed afterwards. No atomics, so results repeat.
//
// Bytes a number, bf16: forward 2 + 2 in, 2 + 2 out. Backward 2 (dy) + 2 (dh) + 2 (h) in, 2 out. FLOPs: 4 and 9. Floor of
// [8192, 7168]: 470 MB, 109 µs at 4.3 TB/s, either way.
//
// What libraries do. QuACK and Liger ship it, torch.compile comes near: a tie is the honest goal.
#include "common.cuh"

constexpr int kThreads = 256;

// Grid: one block a row.
template <class T, int Pieces>
__global__ void __launch_bounds__(kThreads)
forward(const T* x, const T* residual, const T* weight, T* h, T* y, float* rstd, long long width, float eps) {
    const long long row = blockIdx.x * width;
    const bool aligned = width % kValues == 0;
    Vector<T, kValues> v[Pieces], b[Pieces];
#pragma unroll
    for (int p = 0; p < Pieces; ++p) {  // all is asked for before anything is written
        const int column = (p * kThreads + threadIdx.x) * kValues, count = int(width) - column;
        v[p] = load<kValues>(x + row + column, count, aligned);
        b[p] = load<kValues>(residual + row + column, count, aligned);
    }
    float squares = 0;
#pragma unroll
    for (int p = 0; p < Pieces; ++p) {
        const int column = (p * kThreads + threadIdx.x) * kValues;
#pragma unroll
        for (int i = 0; i < kValues; ++i) {
            v[p][i] = from_float<T>(to_float(v[p][i]) + to_float(b[p][i]));
            const float rounded = to_float(v[p][i]);  // as whoever reads h will see it
            squares += rounded * rounded;
        }
        store(h + row + column, v[p], int(width) - column, aligned);
    }
    const float inverse = rsqrtf(block_sum<kThreads>(squares) / width + eps);
#pragma unroll
    for (int p = 0; p < Pieces; ++p) {
        const int column = (p * kThreads + threadIdx.x) * kValues, count = int(width) - column;
        const auto w = load_floats(weight + column, count, aligned);
        Vector<T, kValues> out;
#pragma unroll
        for (int i = 0; i < kValues; ++i) out[i] = from_float<T>(to_float(v[p][i]) * inverse * w[i]);
        store(y + row + column, out, count, aligned);
    }
    if (threadIdx.x == 0) rstd[blockIdx.x] = inverse;
}

// dx [rows, width] is the gradient of x and of the residual; dh what reaches h from elsewhere. Grid: as many blocks as wanted.
// A row's dy and h are asked for before anything waits for them, and stay as they came, in half the registers: so two blocks
// of bf16 fit a multiprocessor, and while one waits at its sum the other's loads are under way.
template <class T, int Pieces>
__global__ void __launch_bounds__(kThreads, sizeof(T) == 2 ? 2 : 1)
backward(const T* dy, const T* dh, const T* h, const T* weight, const float* rstd, T* dx, float* partial, long long rows,
         long long width) {
    const bool aligned = width % kValues == 0;
    Values d_weight[Pieces] = {};
    for (long long r = blockIdx.x; r < rows; r += gridDim.x) {
        const long long row = r * width;
        const float inverse = rstd[r];
        Vector<T, kValues> d[Pieces], x[Pieces];
#pragma unroll
        for (int p = 0; p < Pieces; ++p) {
            const int column = (p * kThreads + threadIdx.x) * kValues, count = int(width) - column;
            d[p] = load<kValues>(dy + row + column, count, aligned);
            x[p] = load<kValues>(h + row + column, count, aligned);
        }
        float along = 0;  // the part of the gradient that only changes the length, which the norm removes
#pragma unroll
        for (int p = 0; p < Pieces; ++p) {
            const int column = (p * kThreads + threadIdx.x) * kValues;
            const auto w = load_floats(weight + column, int(width) - column, aligned);
#pragma unroll
            for (int i = 0; i < kValues; ++i) {
                const float unit = to_float(x[p][i]) * inverse;
                along += to_float(d[p][i]) * w[i] * unit;
                d_weight[p][i] += to_float(d[p][i]) * unit;
            }
        }
        along = block_sum<kThreads>(along) / width;
#pragma unroll
        for (int p = 0; p < Pieces; ++p) {
            const int column = (p * kThreads + threadIdx.x) * kValues, count = int(width) - column;
            const auto w = load_floats(weight + column, count, aligned), other = load_floats(dh + row + column, count, aligned);
            Vector<T, kValues> out;
#pragma unroll
            for (int i = 0; i < kValues; ++i) {
                const float g = to_float(d[p][i]) * w[i], unit = to_float(x[p][i]) * inverse;
                out[i] = from_float<T>((g - unit * along) * inverse + other[i]);
            }
            store(dx + row + column, out, count, aligned);
        }
    }
#pragma unroll
    for (int p = 0; p < Pieces; ++p) {
        const int column = (p * kThreads + threadIdx.x) * kValues;
        store(partial + blockIdx.x * width + column, d_weight[p], width - column, aligned);
    }
}
