// The world that the source of a kernel finds: CUDA's words, CuPy's headers, and how its threads are called.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "blocks.h"

#define __device__
#define __host__
#define __global__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __restrict__
#define __constant__ static const
#define __shared__ static  // one block after the other, one kernel at a time
#define warpSize 32

using namespace std;  // CUDA has the mathematical functions without a prefix

template <class To, class From>
inline To same_bits(From x) {
    static_assert(sizeof(To) == sizeof(From));
    To y;
    std::memcpy(&y, &x, sizeof y);
    return y;
}

inline unsigned short __float2half_rn(float x) { return same_bits<unsigned short>((_Float16)x); }
inline float __half2float(unsigned short x) { return same_bits<_Float16>(x); }
inline float __int_as_float(int x) { return same_bits<float>(x); }
inline int __float_as_int(float x) { return same_bits<int>(x); }
inline double __longlong_as_double(long long x) { return same_bits<double>(x); }
inline long long __double_as_longlong(double x) { return same_bits<long long>(x); }
inline float rsqrt(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
inline void __threadfence() {}
inline void __threadfence_block() {}

// Nothing comes between: threads take turns only where they wait.
template <class T>
using Plain = std::common_type_t<T>;
template <class T>
inline T atomicExch(T *target, Plain<T> x) { return std::exchange(*target, x); }
template <class T>
inline T atomicAdd(T *target, Plain<T> x) { return std::exchange(*target, T(*target + x)); }
template <class T>
inline T atomicSub(T *target, Plain<T> x) { return std::exchange(*target, T(*target - x)); }
template <class T>
inline T atomicMin(T *target, Plain<T> x) { return std::exchange(*target, std::min(*target, x)); }
template <class T>
inline T atomicMax(T *target, Plain<T> x) { return std::exchange(*target, std::max(*target, x)); }
template <class T>
inline T atomicAnd(T *target, Plain<T> x) { return std::exchange(*target, T(*target & x)); }
template <class T>
inline T atomicOr(T *target, Plain<T> x) { return std::exchange(*target, T(*target | x)); }
template <class T>
inline T atomicXor(T *target, Plain<T> x) { return std::exchange(*target, T(*target ^ x)); }
template <class T>
inline T atomicCAS(T *target, Plain<T> expected, Plain<T> x) {
    return std::exchange(*target, *target == expected ? x : *target);
}

inline void __syncthreads() { wait_for(FOR_BLOCK); }
inline void __syncwarp(unsigned = 0) { wait_for(FOR_WARP); }

template <class T>
inline T value_of(T mine, int lane, int width) {  // of the thread with this number in a part of the warp
    int me = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    T value;
    exchange(&mine, &value, sizeof mine, lane >= 0 && lane < width ? me - me % width + lane : me);
    return value;
}

inline int lane_in(int width) { return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % width; }

template <class T>
inline T __shfl_sync(unsigned, T x, int lane, int width = 32) {
    return value_of(x, lane % width, width);
}
template <class T>
inline T __shfl_up_sync(unsigned, T x, unsigned by, int width = 32) {
    return value_of(x, lane_in(width) - (int)by, width);
}
template <class T>
inline T __shfl_down_sync(unsigned, T x, unsigned by, int width = 32) {
    return value_of(x, lane_in(width) + (int)by, width);
}
template <class T>
inline T __shfl_xor_sync(unsigned, T x, int by, int width = 32) {
    return value_of(x, lane_in(width) ^ by, width);
}

#include <cupy/complex.cuh>
#include <cupy/carray.cuh>
#include <cupy/atomics.cuh>
#include <cupy/math_constants.h>
struct half;
inline unsigned short __half_as_ushort(const half &x);
inline half __ushort_as_half(unsigned short x);
#include <cupy/float16.cuh>
inline unsigned short __half_as_ushort(const half &x) { return same_bits<unsigned short>(x); }
inline half __ushort_as_half(unsigned short x) {
    half y;
    std::memcpy(&y, &x, sizeof y);
    return y;
}

// CUDA hands the arguments over by their addresses.
template <class... A, size_t... I>
inline void call_with(void (*kernel)(A...), void **arguments, index_sequence<I...>) {
    kernel(*(remove_cv_t<remove_reference_t<A>> *)arguments[I]...);
}

template <class... A>
inline void call(void (*kernel)(A...), void **arguments) {
    call_with(kernel, arguments, index_sequence_for<A...>{});
}

template <class... A>
struct Sizes {
    static constexpr size_t of_each[] = {sizeof(remove_cv_t<remove_reference_t<A>>)..., 0};
};
template <class... A>
constexpr Sizes<A...> sizes(void (*)(A...)) { return {}; }

#define EXPORTED extern "C" __attribute__((visibility("default")))
#define EXPORTED_ORDER(number) EXPORTED const Order order = (Order)number;
#define EXPORTED_KERNEL(name)                                                    \
    EXPORTED void thread_of_##name(void **arguments) { call(name, arguments); } \
    EXPORTED const size_t *const sizes_of_##name = decltype(sizes(name))::of_each;
