// Blocks of fibers: how threads of a block take turns on one OS thread, and how a launch is cut into blocks.
#pragma once
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

inline thread_local uint3 threadIdx, blockIdx;
inline thread_local dim3 blockDim, gridDim;

namespace cusim {

constexpr size_t kShared = 227 << 10;  // bytes of dynamic shared memory that a block may ask for, as on Hopper
constexpr size_t kFence = 64;          // bytes behind it that nobody may touch
constexpr size_t kStack = 256 << 10;   // of a fiber
constexpr int kThreads = 1024;         // of a block

struct Fiber {
    void* resume[5];  // __builtin_setjmp's buffer
    ucontext_t start;
    uint3 index;
    bool alive;
};
struct Warp {
    void* slot[32];  // what each waiting lane brought, on its own fiber's stack
    const void* operation[32];
    unsigned mask[32], arrived, live;
};
struct Block {  // the block that this OS thread is running
    void (*kernel)(void**);
    void** args;
    int threads, step, current, live, arrived;
    unsigned generation;  // barriers passed
    int idle;             // turns since a thread arrived anywhere or ended, by which a deadlock is seen
    std::string error;
    Fiber host, fiber[kThreads];
    Warp warp[32];
};
inline thread_local Block* b;

}  // namespace cusim

alignas(1024) inline thread_local unsigned char smem[cusim::kShared + cusim::kFence];  // extern __shared__ … smem[];

namespace cusim {

// __builtin_setjmp saves three words, so a switch costs nanoseconds. Both halves in one function make GCC loop for ever.
[[noreturn, gnu::noinline]] inline void resume(Fiber& f) { __builtin_longjmp(f.resume, 1); }
[[gnu::noinline]] inline void jump(Fiber& from, Fiber& to) {
    if (!__builtin_setjmp(from.resume)) resume(to);
}

// Whose turn is next: `step` further in the ring. Step 0 lets a warp run as far as it gets before another has a turn, as one
// may that runs ahead on a GPU: what it overwrites too early, the others then read.
inline int next_fiber() {
    int next = b->current;
    if (b->step) {
        do next = (next + b->step) % b->threads;
        while (!b->fiber[next].alive);
        return next;
    }
    int warp = next / 32;
    const unsigned later = b->warp[warp].live & ~((2u << next % 32) - 1);  // lanes of this warp after this one
    const bool stuck = b->idle && b->idle % 32 == 0;
    if (b->warp[warp].live && !stuck) return warp * 32 + std::countr_zero(later ? later : b->warp[warp].live);
    const int warps = (b->threads + 31) / 32;
    do warp = (warp + 1) % warps;
    while (!b->warp[warp].live);
    return warp * 32 + std::countr_zero(b->warp[warp].live);
}

inline void yield() {
    const int next = next_fiber();
    if (next == b->current) return;
    threadIdx = b->fiber[next].index;
    jump(b->fiber[std::exchange(b->current, next)], b->fiber[next]);
}

template <class... A>
[[noreturn]] void fail(const char* format, A... a) {  // abandon the launch
    char text[300];
    const int n = snprintf(text, sizeof text, "block (%u,%u,%u), thread (%u,%u,%u): ", blockIdx.x, blockIdx.y,
                           blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
    snprintf(text + n, sizeof text - n, format, a...);
    b->error = text;
    resume(b->host);
}

template <class Done>
void park(const char* where, Done done) {  // wait; two whole rounds without an arrival are a deadlock
    for (b->idle = 0; !done(); ++b->idle) {
        yield();
        if (b->idle > 2 * (b->threads + 32) && !done()) fail("deadlock: waits in %s for threads that never come", where);
    }
}

inline void fiber_main() {  // runs its thread of one block after another
    Fiber& self = b->fiber[b->current];
    if (!__builtin_setjmp(self.resume)) setcontext(&b->host.start);
    for (;;) {
        b->kernel(b->args);
        self.alive = false;
        b->warp[b->current / 32].live &= ~(1u << b->current % 32);
        b->idle = 0;
        if (--b->live) yield();
        else jump(self, b->host);
    }
}

inline void run_block(size_t shared) {
    b->live = b->threads, b->arrived = b->current = 0;
    std::fill_n(b->warp, 32, Warp{});
    for (int i = 0; i < b->threads; ++i) {
        b->fiber[i].alive = true;
        b->fiber[i].index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
        b->warp[i / 32].live |= 1u << i % 32;
    }
    memset(smem, 0xff, shared + kFence);  // NaNs, and the fence behind them
    threadIdx = b->fiber[0].index;
    jump(b->host, b->fiber[0]);
    const bool broken = std::any_of(smem + shared, smem + shared + kFence, [](int c) { return c != 0xff; });
    if (b->error.empty() && broken)
        b->error = "a thread of block " + std::to_string(blockIdx.x) + " wrote past the dynamic shared memory";
}

inline char* make_fibers(int threads) {  // each on a stack of its own, whose overflow faults; returns all stacks
    constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char* stacks = static_cast<char*>(mmap(nullptr, threads * kStack, PROT_READ | PROT_WRITE, flags, -1, 0));
    for (Fiber* f = b->fiber; f < b->fiber + threads; ++f, ++b->current) {
        getcontext(&f->start);
        mprotect(f->start.uc_stack.ss_sp = stacks + b->current * kStack, 4096, PROT_NONE);
        f->start.uc_stack.ss_size = kStack;
        makecontext(&f->start, fiber_main, 0);
        swapcontext(&b->host.start, &f->start);
    }
    return stacks;
}

template <auto K>
struct Kernel;
template <class... A, void (*K)(A...)>
struct Kernel<K> {
    static constexpr int sizes[] = {int(sizeof(A))..., 0};

    static void call(void** args) {
        [&]<size_t... I>(std::index_sequence<I...>) {
            K(*static_cast<std::remove_cvref_t<A>*>(args[I])...);
        }(std::index_sequence_for<A...>());
    }

    // dims: grid x y z, block x y z. step: how far apart threads are that run one after the other; -1 runs them backwards,
    // 0 warp by warp.
    static const char* launch(const unsigned* dims, size_t shared, int step, void** args) {
        static std::string error;
        const int threads = dims[3] * dims[4] * dims[5];
        const long blocks = long(dims[0]) * dims[1] * dims[2];
        if (threads > kThreads || shared > kShared) return "more than 1024 threads or 227 KiB of shared memory";
        std::atomic<long> next = 0;
        std::mutex failing;
        error.clear();
        auto worker = [&] {
            b = new Block{};
            b->kernel = call, b->args = args, b->threads = threads;
            b->step = (step % threads + threads) % threads;
            while (step && std::gcd(b->step, threads) != 1) ++b->step;
            char* stacks = make_fibers(threads);
            gridDim = {dims[0], dims[1], dims[2]}, blockDim = {dims[3], dims[4], dims[5]};
            for (long i; b->error.empty() && (i = next++) < blocks;) {
                blockIdx = {unsigned(i % dims[0]), unsigned(i / dims[0] % dims[1]), unsigned(i / dims[0] / dims[1])};
                run_block(shared);
            }
            if (std::scoped_lock lock(failing); !b->error.empty()) error = b->error, next = 1l << 62;
            delete b;
            munmap(stacks, threads * kStack);
        };
        std::vector<std::thread> workers;  // fresh ones: static __shared__ starts as zeros in every launch
        const long most = std::min<long>(std::thread::hardware_concurrency(), blocks);
        for (long i = 0; i < most; ++i) workers.emplace_back(worker);
        for (auto& w : workers) w.join();
        return error.empty() ? nullptr : error.c_str();
    }
};

}  // namespace cusim
