// Threads that wait for each other have a stack each: where one waits, the next one runs.
#include "blocks.h"

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

Index threadIdx, blockIdx, blockDim, gridDim;

static const unsigned WARP = 32;
static const unsigned STACK = 128 << 10;  // bytes; memory that is never touched costs nothing
static const unsigned APART = 192;        // bytes by which their tops differ, or all would share a few lines of the cache
static const unsigned SLOT = 16;          // bytes, of the widest number that is exchanged

struct Fiber {
    std::unique_ptr<char[]> stack;
    void *top;  // while it waits
    Index index = {};
    alignas(SLOT) char slot[SLOT] = {};
};

static std::vector<Fiber> fibers;    // kept from block to block
static std::vector<Waiting> waits;  // of each fiber; side by side, as they are counted at each turn
static unsigned running;            // the number of the thread that runs
static unsigned together;           // how many threads a block has
static void *scheduler;             // the top of its stack while threads run
static Thread body;
static void **kernel_arguments;

// Keeps what a function must keep on the stack that runs, and goes on with the other stack: setjmp takes ten times as long.
extern "C" void switch_stacks(void **mine, void *other);
asm(R"(
.text
.local switch_stacks
.type switch_stacks, @function
switch_stacks:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
static const unsigned REGISTERS = 6;

static unsigned next_from(unsigned thread) {
    while (thread < together && waits[thread] != NOT) thread++;
    return thread;
}

// From the thread that runs, or from the scheduler, to this thread; to the scheduler if there is no such thread.
static void go(void **mine, unsigned thread) {
    if (thread == together) return switch_stacks(mine, scheduler);
    running = thread;
    threadIdx = fibers[thread].index;
    switch_stacks(mine, fibers[thread].top);
}

void wait_for(Waiting whom) {
    waits[running] = whom;
    go(&fibers[running].top, next_from(running + 1));
}

void exchange(const void *mine, void *others, unsigned size, unsigned other) {
    std::memcpy(fibers[running].slot, mine, size);
    wait_for(FOR_WARP);
    std::memcpy(others, fibers[other].slot, size);
    wait_for(FOR_WARP);
}

// What runs on each stack: a thread of one block, then one of the next.
static void run_one_after_the_other() {
    for (;;) {
        body(kernel_arguments);
        wait_for(ENDED);
    }
}

// Its stack looks as if it had waited at the beginning of its function, which finds it as after a call.
static Fiber new_fiber(unsigned number) {
    Fiber fiber;
    fiber.stack.reset(new char[STACK]);
    uintptr_t end = (uintptr_t)fiber.stack.get() + STACK - number % WARP * APART;
    void **top = (void **)(end & ~(uintptr_t)15);
    *--top = nullptr;  // to which it never returns
    *--top = (void *)run_one_after_the_other;
    for (unsigned i = 0; i < REGISTERS; i++) *--top = nullptr;
    fiber.top = top;
    return fiber;
}

static bool release(unsigned first, unsigned end, Waiting from) {
    bool any = false;
    for (unsigned i = first; i < end; i++) {
        if (waits[i] != from) continue;
        waits[i] = NOT;
        any = true;
    }
    return any;
}

static unsigned number_waiting(unsigned first, unsigned end, Waiting why) {
    unsigned number = 0;
    for (unsigned i = first; i < end; i++) number += waits[i] == why;
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
    together = block.x * block.y * block.z;
    while (fibers.size() < together) fibers.push_back(new_fiber(fibers.size()));
    waits.assign(together, NOT);
    for (unsigned i = 0; i < together; i++) fibers[i].index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
    do go(&scheduler, next_from(0));
    while (released(together));
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
