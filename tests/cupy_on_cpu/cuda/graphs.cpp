// CUDA's graphs: the work of a stream, captured once and launched at one call.
#include "graphs.h"

#include <cuda_runtime_api.h>

#include <map>
#include <mutex>
#include <vector>

#include "counts.h"

using Graph = std::vector<Work>;

static std::map<const void *, Graph *> capturing;  // by stream
static std::mutex lock;

bool captured(const void *stream, const Work &work) {
    std::lock_guard<std::mutex> held(lock);
    auto entry = capturing.find(stream);
    if (entry == capturing.end()) return false;
    entry->second->push_back(work);
    return true;
}

bool is_capturing() {
    std::lock_guard<std::mutex> held(lock);
    return !capturing.empty();
}

bool is_implicit(const void *stream) {
    std::lock_guard<std::mutex> held(lock);
    for (const auto &[each, graph] : capturing)
        if (!stream && ((const Stream *)each)->blocks) return true;
    return false;
}

API cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    std::lock_guard<std::mutex> held(lock);
    if (!stream) return cudaErrorStreamCaptureUnsupported;
    return capturing.emplace(stream, new Graph).second ? cudaSuccess : cudaErrorIllegalState;
}

API cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    std::lock_guard<std::mutex> held(lock);
    auto entry = capturing.find(stream);
    if (entry == capturing.end()) return cudaErrorIllegalState;
    *graph = (cudaGraph_t)entry->second;
    capturing.erase(entry);
    return cudaSuccess;
}

API cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status) {
    if (is_implicit(stream)) return cudaErrorStreamCaptureImplicit;
    std::lock_guard<std::mutex> held(lock);
    *status = capturing.count(stream) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

API cudaError_t cudaGraphInstantiate(cudaGraphExec_t *ready, cudaGraph_t graph, unsigned long long) {
    *ready = (cudaGraphExec_t) new Graph(*(Graph *)graph);
    return cudaSuccess;
}

API cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }

API cudaError_t cudaGraphLaunch(cudaGraphExec_t ready, cudaStream_t stream) {
    if (is_implicit(stream)) return cudaErrorStreamCaptureImplicit;
    if (captured(stream, [] {})) return cudaErrorStreamCaptureUnsupported;  // graphs within graphs: nobody asks for them
    count("launches of graphs");
    for (const Work &work : *(Graph *)ready) work();
    return cudaSuccess;
}

API cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete (Graph *)graph;
    return cudaSuccess;
}

API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t ready) {
    delete (Graph *)ready;
    return cudaSuccess;
}
