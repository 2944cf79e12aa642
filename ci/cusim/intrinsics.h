// Atomics, cache hints and scalar intrinsics, as far as the kernels use them.
#pragma once
#include <bit>
#include <cmath>
#include <type_traits>

namespace cusim {
template <class T, class F>
T atomic(T* p, F change) {
    std::atomic_ref<T> shared(*p);
    T old = shared;
    while (!shared.compare_exchange_weak(old, change(old))) {
    }
    return old;
}
}  // namespace cusim

template <class T>
T atomicAdd(T* p, std::type_identity_t<T> v) {
    return cusim::atomic(p, [v](T old) { return T(old + v); });
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> v) {
    return cusim::atomic(p, [v](T old) { return old < v ? v : old; });
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> v) {
    return cusim::atomic(p, [v](T old) { return v < old ? v : old; });
}
template <class T>
T __ldg(const T* p) {
    return *p;
}
template <class T>
T __ldcs(const T* p) {
    return *p;
}
template <class T>
void __stcs(T* p, std::type_identity_t<T> v) {
    *p = v;
}
[[noreturn]] inline void __trap() { cusim::fail("__trap"); }
inline void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
#define __expf expf  // glibc keeps these names to itself
#define __logf logf
using std::max, std::min;
