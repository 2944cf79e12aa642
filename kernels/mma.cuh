// A tensor core's product of one warp: PTX on the device, the same layout of fragments spelt out on the CPU.
#pragma once
#include "common.cuh"

struct Fragments {
    unsigned a[4], b[2];  // two bf16 each
    float c[4];
};

// c += A [16, 16] · B [16, 8], bf16 in, float out. Lane l holds of A the rows l/4 and l/4 + 8, of B the column l/4, of c the
// rows of A's and the columns l%4 · 2 and + 1.
__device__ inline void mma_m16n8k16(Fragments& f) {
#ifdef __CUDA_ARCH__
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(f.c[0]), "+f"(f.c[1]), "+f"(f.c[2]), "+f"(f.c[3])
        : "r"(f.a[0]), "r"(f.a[1]), "r"(f.a[2]), "r"(f.a[3]), "r"(f.b[0]), "r"(f.b[1]));
#elif !defined(__CUDACC__)
    cusim::collective("mma", ~0u, f, [](Fragments** lane, unsigned) {
        float a[16][16], b[16][8];
        for (int l = 0; l < 32; ++l)
            for (int i = 0; i < 2; ++i) {
                const auto value = [i](unsigned pair) { return __uint_as_float(pair >> 16 * i << 16); };
                const int row = l / 4, k = l % 4 * 2 + i;
                for (int r = 0; r < 4; ++r) a[row + r % 2 * 8][k + r / 2 * 8] = value(lane[l]->a[r]);
                for (int r = 0; r < 2; ++r) b[k + r * 8][row] = value(lane[l]->b[r]);
            }
        for (int l = 0; l < 32; ++l)
            for (int r = 0; r < 4; ++r)
                for (int k = 0; k < 16; ++k) lane[l]->c[r] += a[l / 4 + r / 2 * 8][k] * b[k][l % 4 * 2 + r % 2];
    });
#endif
}
