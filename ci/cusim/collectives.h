// What threads do together: barriers, and the warp's shuffles, votes and reductions.
#pragma once
#include <bit>
#include <functional>

namespace cusim {

inline int lane() { return b->current % 32; }
template <class T>
inline char tag;  // its address tells one kind of collective from another

template <class Slot, class Combine>  // the last lane to arrive runs combine(slots, lanes) for all of them
void collective(const char* name, unsigned mask, Slot& mine, Combine combine) {
    Warp& w = b->warp[b->current / 32];
    const int self = lane();
    if (!(mask >> self & 1)) fail("%s: mask %08x leaves the calling lane out", name, mask);
    w.slot[self] = &mine, w.operation[self] = &tag<Combine>, w.mask[self] = mask, w.arrived |= 1u << self;
    park(name, [&] {
        const unsigned lanes = mask & w.live;
        if (!(w.arrived >> self & 1)) return true;
        if ((w.arrived & lanes) != lanes) return false;
        for (int l = 0; l < 32; ++l)
            if ((lanes >> l & 1) && (w.operation[l] != w.operation[self] || w.mask[l] != mask))
                fail("%s: lane %d waits in another collective or under another mask", name, l);
        combine(reinterpret_cast<Slot**>(w.slot), lanes);
        w.arrived &= ~lanes;
        return true;
    });
}

template <class T>
T shuffle(unsigned mask, T value, int source) {
    struct Slot {
        T in, out;
        int source;
    } mine{value, value, source};
    collective("a shuffle", mask, mine, [](Slot** slot, unsigned lanes) {
        for (int l = 0; l < 32; ++l) {
            if (!(lanes >> l & 1)) continue;
            if (!(lanes >> slot[l]->source & 1)) fail("a shuffle reads lane %d, which takes no part", slot[l]->source);
            slot[l]->out = slot[slot[l]->source]->in;
        }
    });
    return mine.out;
}

template <class T, class F>
T reduce(unsigned mask, T value, F) {
    struct Slot {
        T in, out;
    } mine{value, value};
    collective("a warp reduction", mask, mine, [](Slot** slot, unsigned lanes) {
        T result = slot[std::countr_zero(lanes)]->in;
        for (unsigned m = lanes & (lanes - 1); m; m &= m - 1) result = F()(result, slot[std::countr_zero(m)]->in);
        for (unsigned m = lanes; m; m &= m - 1) slot[std::countr_zero(m)]->out = result;
    });
    return mine.out;
}

}  // namespace cusim

inline void __syncthreads() {
    using cusim::b;
    const unsigned mine = b->generation;
    ++b->arrived;
    cusim::park("__syncthreads", [&] {
        if (b->generation == mine && b->arrived == b->live) b->arrived = 0, ++b->generation;
        return b->generation != mine;
    });
}
inline void __syncwarp(unsigned mask = ~0u) {
    int nothing = 0;
    cusim::collective("__syncwarp", mask, nothing, [](int**, unsigned) {});
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    return cusim::shuffle(mask, value, (cusim::lane() & -width) | (source & (width - 1)));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int x, int width = 32) {
    const int l = cusim::lane(), s = l ^ x;
    return cusim::shuffle(mask, value, (s & -width) > (l & -width) ? l : s);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, int distance, int width = 32) {
    const int l = cusim::lane();
    return cusim::shuffle(mask, value, l % width + distance < width ? l + distance : l);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, int distance, int width = 32) {
    const int l = cusim::lane();
    return cusim::shuffle(mask, value, l % width >= distance ? l - distance : l);
}
inline unsigned __ballot_sync(unsigned mask, int vote) {
    return cusim::reduce(mask, vote ? 1u << cusim::lane() : 0u, std::bit_or<>());
}
inline int __any_sync(unsigned mask, int vote) { return __ballot_sync(mask, vote) != 0; }
inline int __all_sync(unsigned mask, int vote) { return __ballot_sync(mask, !vote) == 0; }
