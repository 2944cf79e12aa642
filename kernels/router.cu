// The router's choice: scores = sigmoid(logits), the K largest of score + bias, gates = their scores over their sum times a
// factor (section 2.3; 8 of 384 experts in K2). The bias selects and does not weigh.
//
// Layout. logits [tokens, E] fp32 contiguous, bias [E]; gates [tokens, K] fp32 and chosen [tokens, K] int64, best first; of
// equal ones the expert of the lower number. A NaN comes last and makes its gates NaN; chosen holds experts whatever the
// logits. A warp holds a token, PerLane experts a lane (lane, lane + 32, …): E at most 32 · PerLane. K rounds of a maximum
// over lanes, five shuffles each; no sorting, no shared memory.
//
// Bytes. 4·E in, 12·K out a token: 1.6 kB for 384 and 8, so 8192 tokens move 13 MB: 3 µs, less than a launch costs.
//
// What libraries do. SGLang ships kimi_k2_moe_fused_gate for the same choice; torch.compile leaves a sort in it.
#include "common.cuh"

constexpr int kThreads = 128, kWarp = 32;

// Grid: ⌈tokens / 4⌉ blocks of 128 threads.
template <int PerLane>
__global__ void __launch_bounds__(kThreads)
choose(const float* logits, const float* bias, float* gates, long long* chosen, long long tokens, long long experts,
       long long active, float factor) {
    const long long token = blockIdx.x * (long long)(kThreads / kWarp) + threadIdx.x / kWarp;
    if (token >= tokens) return;  // the whole warp
    const int lane = threadIdx.x % kWarp;
    const float none = __int_as_float(0xff800000);  // minus infinity
    float score[PerLane], biased[PerLane];
#pragma unroll
    for (int i = 0; i < PerLane; ++i) {
        const long long expert = i * kWarp + lane;
        const bool exists = expert < experts;
        score[i] = exists ? 1.0f / (1.0f + expf(-logits[token * experts + expert])) : 0.0f;
        biased[i] = exists ? fmaxf(score[i] + bias[expert], -kLargestFloat) : none;  // of a NaN, too
    }
    float sum = 0, kept = 0;  // of the chosen scores; lane k keeps the k-th
    for (int k = 0; k < active; ++k) {
        float best = none, own = 0;
        int where = PerLane * kWarp;
#pragma unroll
        for (int i = 0; i < PerLane; ++i)
            if (biased[i] > best) best = biased[i], own = score[i], where = i * kWarp + lane;
#pragma unroll
        for (int distance = kWarp / 2; distance; distance /= 2) {
            const float other = __shfl_xor_sync(~0u, best, distance), its = __shfl_xor_sync(~0u, own, distance);
            const int there = __shfl_xor_sync(~0u, where, distance);
            if (other > best || (other == best && there < where)) best = other, own = its, where = there;
        }
#pragma unroll
        for (int i = 0; i < PerLane; ++i)
            if (where == i * kWarp + lane) biased[i] = none;
        sum += own;
        if (lane == k % kWarp) kept = own;
        if (lane == 0) chosen[token * active + k] = where;
        if (lane == k % kWarp) gates[token * active + k] = kept;
    }
    __syncwarp();
    for (int k = lane; k < active; k += kWarp) gates[token * active + k] *= factor / (sum + 1e-20f);
}
