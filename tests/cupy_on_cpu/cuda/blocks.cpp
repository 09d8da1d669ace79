// Threads that wait for each other have a stack each: where one waits, the next one runs.
#include "blocks.h"

#include <setjmp.h>
#include <ucontext.h>

#include <cstring>
#include <vector>

Index threadIdx, blockIdx, blockDim, gridDim;

static const unsigned WARP = 32;
static const unsigned STACK = 128 << 10;  // bytes; memory that is never touched costs nothing
static const unsigned SLOT = 16;          // bytes, of the widest number that is exchanged

struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    jmp_buf paused;
    bool started = false;
    Waiting waiting = NOT;
    Index index = {};
    alignas(SLOT) char slot[SLOT] = {};
};

static std::vector<Fiber *> fibers;  // kept from block to block
static unsigned running;                 // the number of the thread that runs
static jmp_buf scheduler;
static Thread body;
static void **kernel_arguments;

void wait_for(Waiting whom) {
    fibers[running]->waiting = whom;
    if (!_setjmp(fibers[running]->paused)) _longjmp(scheduler, 1);
}

void exchange(const void *mine, void *others, unsigned size, unsigned other) {
    std::memcpy(fibers[running]->slot, mine, size);
    wait_for(FOR_WARP);
    std::memcpy(others, fibers[other]->slot, size);
    wait_for(FOR_WARP);
}

// What runs on each stack: a thread of one block, then one of the next.
static void run_one_after_the_other() {
    for (;;) {
        body(kernel_arguments);
        wait_for(ENDED);
    }
}

static Fiber *new_fiber() {
    Fiber *fiber = new Fiber;
    fiber->stack.resize(STACK);
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack.data();
    fiber->context.uc_stack.ss_size = STACK;
    makecontext(&fiber->context, run_one_after_the_other, 0);
    return fiber;
}

static void resume(unsigned thread) {
    running = thread;
    Fiber *fiber = fibers[thread];
    threadIdx = fiber->index;
    if (_setjmp(scheduler)) return;
    if (fiber->started) _longjmp(fiber->paused, 1);
    fiber->started = true;
    setcontext(&fiber->context);
}

static bool release(unsigned first, unsigned end, Waiting from) {
    bool any = false;
    for (unsigned i = first; i < end; i++) {
        if (fibers[i]->waiting != from) continue;
        fibers[i]->waiting = NOT;
        any = true;
    }
    return any;
}

static unsigned number_waiting(unsigned first, unsigned end, Waiting why) {
    unsigned number = 0;
    for (unsigned i = first; i < end; i++) number += fibers[i]->waiting == why;
    return number;
}

// Lets the threads run whose whole warp or block has arrived; false when all have ended.
static bool released(unsigned threads) {
    unsigned ended = number_waiting(0, threads, ENDED);
    if (ended == threads) return false;
    bool any = false;
    for (unsigned first = 0; first < threads; first += WARP) {
        unsigned end = first + WARP < threads ? first + WARP : threads;
        unsigned arrived = number_waiting(first, end, FOR_WARP) + number_waiting(first, end, ENDED);
        if (arrived == end - first) any |= release(first, end, FOR_WARP);
    }
    if (any) return true;
    bool all = number_waiting(0, threads, FOR_BLOCK) + ended == threads;
    return release(0, threads, all ? FOR_BLOCK : FOR_WARP);  // a part of a warp may exchange among itself
}

static void run_together(Index block) {
    unsigned threads = block.x * block.y * block.z;
    while (fibers.size() < threads) fibers.push_back(new_fiber());
    for (unsigned i = 0; i < threads; i++) {
        fibers[i]->index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
        fibers[i]->waiting = NOT;
    }
    do {
        for (unsigned i = 0; i < threads; i++)
            if (fibers[i]->waiting == NOT) resume(i);
    } while (released(threads));
}

static void run_in_turn(Index block) {
    for (threadIdx.z = 0; threadIdx.z < block.z; threadIdx.z++)
        for (threadIdx.y = 0; threadIdx.y < block.y; threadIdx.y++)
            for (threadIdx.x = 0; threadIdx.x < block.x; threadIdx.x++) body(kernel_arguments);
}

void run_all(Thread thread, void **arguments, Index grid, Index block, Order order) {
    body = thread;
    kernel_arguments = arguments;
    if (order == ALONE) grid = block = {1, 1, 1};
    gridDim = grid;
    blockDim = block;
    for (blockIdx.z = 0; blockIdx.z < grid.z; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++)
                order == TOGETHER ? run_together(block) : run_in_turn(block);
}
