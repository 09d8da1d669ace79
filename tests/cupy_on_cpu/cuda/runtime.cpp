// CUDA's runtime as far as CuPy asks for it: devices with the host's memory, and streams that do everything at once.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "counts.h"
#include "graphs.h"

// --- Devices -----------------------------------------------------------------------------------------------------

thread_local int current_device = 0;  // of each thread of the host, as in CUDA

static int devices() { return (int)setting("CUPY_ON_CPU_DEVICES", 2); }
static size_t memory() { return (size_t)setting("CUPY_ON_CPU_MEMORY", 4096) << 20; }

API cudaError_t cudaGetDevice(int *device) {
    *device = current_device;
    return cudaSuccess;
}

API cudaError_t cudaSetDevice(int device) {
    if (device < 0 || device >= devices()) return cudaErrorInvalidDevice;
    current_device = device;
    return cudaSuccess;
}

API cudaError_t cudaGetDeviceCount(int *number) {
    *number = devices();
    return cudaSuccess;
}

API cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int) {
    static const std::map<int, int> known = {
        {cudaDevAttrComputeCapabilityMajor, 9},   {cudaDevAttrMultiProcessorCount, 132},
        {cudaDevAttrWarpSize, 32},                {cudaDevAttrMaxThreadsPerBlock, 1024},
        {cudaDevAttrMaxSharedMemoryPerBlock, 48 << 10},
    };
    auto entry = known.find(attribute);
    *value = entry == known.end() ? 0 : entry->second;
    return cudaSuccess;
}

API cudaError_t cudaGetDeviceProperties(cudaDeviceProp *all, int device) {
    *all = {};
    std::snprintf(all->name, sizeof all->name, "the host as GPU %d", device);
    all->totalGlobalMem = memory();
    all->major = 9;
    all->warpSize = 32;
    all->multiProcessorCount = 132;
    all->maxThreadsPerBlock = 1024;
    all->maxThreadsPerMultiProcessor = 2048;
    all->sharedMemPerBlock = 48 << 10;
    all->regsPerBlock = 64 << 10;
    all->maxGridSize[0] = 0x7fffffff;
    all->maxGridSize[1] = all->maxGridSize[2] = 0xffff;
    return cudaSuccess;
}

// No device reads another one's memory: CuPy then refuses arrays of the wrong one, as it does on most machines.
API cudaError_t cudaDeviceCanAccessPeer(int *can, int, int) {
    *can = 0;
    return cudaSuccess;
}

API cudaError_t cudaDriverGetVersion(int *version) {
    *version = 13000;
    return cudaSuccess;
}

API cudaError_t cudaRuntimeGetVersion(int *version) { return cudaDriverGetVersion(version); }
API cudaError_t cudaGetLastError() { return cudaSuccess; }
API cudaError_t cudaPeekAtLastError() { return cudaSuccess; }

API const char *cudaGetErrorName(cudaError_t error) {
    return error == cudaErrorMemoryAllocation                          ? "cudaErrorMemoryAllocation"
           : error >= cudaErrorStreamCaptureUnsupported && error < 910 ? "cudaErrorStreamCapture"
                                                                       : "cudaError";
}

API const char *cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorMemoryAllocation                          ? "out of memory"
           : error == cudaErrorInvalidDevice                           ? "invalid device ordinal"
           : error >= cudaErrorStreamCaptureUnsupported && error < 910 ? "not permitted while a stream is captured"
                                                                       : "refused by the stand-in for CUDA";
}

// --- Memory ------------------------------------------------------------------------------------------------------

struct Block {
    size_t size;
    int device;  // -1: memory of the host that CUDA knows
};

static std::map<uintptr_t, Block> blocks;
static std::map<int, size_t> used;  // bytes of each device
static std::mutex lock;

static const Block *block_of(const void *pointer) {
    auto next = blocks.upper_bound((uintptr_t)pointer);
    if (next == blocks.begin()) return nullptr;
    const auto &[start, block] = *--next;
    return (uintptr_t)pointer - start < block.size ? &block : nullptr;
}

static cudaError_t allocate(void **pointer, size_t size, int device) {
    std::lock_guard<std::mutex> held(lock);
    if (device >= 0 && used[device] + size > memory()) return cudaErrorMemoryAllocation;
    if (posix_memalign(pointer, 512, size ? size : 1)) return cudaErrorMemoryAllocation;
    std::memset(*pointer, 0xff, size);  // no numbers, so that nothing relies on fresh memory
    blocks[(uintptr_t)*pointer] = {size, device};
    if (device >= 0) {
        used[device] += size;
        count("allocations");
    }
    return cudaSuccess;
}

static cudaError_t release(void *pointer) {
    if (!pointer) return cudaSuccess;
    std::lock_guard<std::mutex> held(lock);
    auto entry = blocks.find((uintptr_t)pointer);
    if (entry == blocks.end()) return cudaErrorInvalidValue;
    if (entry->second.device >= 0) used[entry->second.device] -= entry->second.size;
    blocks.erase(entry);
    std::free(pointer);
    return cudaSuccess;
}

API cudaError_t cudaMalloc(void **pointer, size_t size) { return allocate(pointer, size, current_device); }
API cudaError_t cudaHostAlloc(void **pointer, size_t size, unsigned) { return allocate(pointer, size, -1); }
API cudaError_t cudaFree(void *pointer) { return release(pointer); }
API cudaError_t cudaFreeHost(void *pointer) { return release(pointer); }

API cudaError_t cudaMemGetInfo(size_t *left, size_t *all) {
    std::lock_guard<std::mutex> held(lock);
    *all = memory();
    *left = memory() - used[current_device];
    return cudaSuccess;
}

API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *attributes, const void *pointer) {
    std::lock_guard<std::mutex> held(lock);
    const Block *block = block_of(pointer);
    *attributes = {};
    attributes->type = !block               ? cudaMemoryTypeUnregistered
                  : block->device >= 0 ? cudaMemoryTypeDevice
                                       : cudaMemoryTypeHost;
    attributes->device = block && block->device >= 0 ? block->device : 0;
    attributes->devicePointer = attributes->hostPointer = const_cast<void *>(pointer);
    return cudaSuccess;
}

static bool on_device(const void *pointer) {
    std::lock_guard<std::mutex> held(lock);
    const Block *block = block_of(pointer);
    return block && block->device >= 0;
}

static cudaError_t copy(void *to, const void *from, size_t size) {
    count(on_device(from) ? on_device(to) ? "copies" : "copies to the host" : "copies from the host");
    std::memmove(to, from, size);
    return cudaSuccess;
}

static cudaError_t copy_in(cudaStream_t stream, void *to, const void *from, size_t size) {
    if (is_implicit(stream)) return cudaErrorStreamCaptureImplicit;
    if (!captured(stream, [=] { std::memmove(to, from, size); })) return copy(to, from, size);
    bool on_devices = on_device(to) && on_device(from);  // else the host would have to wait
    return on_devices ? cudaSuccess : cudaErrorStreamCaptureUnsupported;
}

static cudaError_t wait(cudaStream_t stream) {
    if (is_implicit(stream)) return cudaErrorStreamCaptureImplicit;
    if (captured(stream, [] {})) return cudaErrorStreamCaptureUnsupported;
    count("waits");
    return cudaSuccess;
}

static cudaError_t copy_and_wait(void *to, const void *from, size_t size) {
    cudaError_t status = wait(nullptr);
    return status ? status : copy(to, from, size);
}

API cudaError_t cudaMemcpy(void *to, const void *from, size_t size, cudaMemcpyKind) {
    return copy_and_wait(to, from, size);
}

API cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, cudaMemcpyKind, cudaStream_t stream) {
    return copy_in(stream, to, from, size);
}

API cudaError_t cudaMemcpyPeer(void *to, int, const void *from, int, size_t size) {
    return copy_and_wait(to, from, size);
}

API cudaError_t cudaMemcpyPeerAsync(void *to, int, const void *from, int, size_t size, cudaStream_t stream) {
    return copy_in(stream, to, from, size);
}

API cudaError_t cudaMemsetAsync(void *pointer, int value, size_t size, cudaStream_t stream) {
    if (is_implicit(stream)) return cudaErrorStreamCaptureImplicit;
    if (captured(stream, [=] { std::memset(pointer, value, size); })) return cudaSuccess;
    count("fills");
    std::memset(pointer, value, size);
    return cudaSuccess;
}

API cudaError_t cudaMemset(void *pointer, int value, size_t size) {
    return cudaMemsetAsync(pointer, value, size, nullptr);
}

// --- Streams and events: whatever is asked for is done at once, but for streams that are being captured ------------

API cudaError_t cudaDeviceSynchronize() { return is_capturing() ? cudaErrorStreamCaptureUnsupported : wait(nullptr); }
API cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return wait(stream); }
API cudaError_t cudaEventSynchronize(cudaEvent_t) { return wait(nullptr); }
API cudaError_t cudaStreamQuery(cudaStream_t) { return cudaSuccess; }
API cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
API cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
API cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }

API cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
    *stream = (cudaStream_t) new Stream{!(flags & cudaStreamNonBlocking)};
    return cudaSuccess;
}

API cudaError_t cudaStreamCreate(cudaStream_t *stream) { return cudaStreamCreateWithFlags(stream, 0); }
API cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int) {
    return cudaStreamCreateWithFlags(stream, flags);
}

API cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    delete (Stream *)stream;
    return cudaSuccess;
}

API cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
    *event = (cudaEvent_t) new char;
    return cudaSuccess;
}

API cudaError_t cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, 0); }

API cudaError_t cudaEventDestroy(cudaEvent_t event) {
    delete (char *)event;
    return cudaSuccess;
}
