// How the threads of a kernel take their turns.
#pragma once

struct Index {
    unsigned x, y, z;
};

// Where the thread is that runs now: CUDA's own names, which the sources of kernels read.
extern Index threadIdx, blockIdx, blockDim, gridDim;

using Thread = void (*)(void **arguments);

enum Order {
    ALONE,     // one thread, which goes through all entries in its loop
    IN_TURN,   // every thread, from its beginning to its end
    TOGETHER,  // the threads of a block wait for each other
};

void run_all(Thread thread, void **arguments, Index grid, Index block, Order order);

enum Waiting : char { NOT, FOR_WARP, FOR_BLOCK, ENDED };

// Called by a thread that waits for its warp or its block: the others go on until they wait, too.
void wait_for(Waiting whom);

// A value of a thread that is in the same warp; `other` is its number in the block.
void exchange(const void *mine, void *others, unsigned size, unsigned other);
