// CUDA's driver as far as CuPy asks for it, and NVRTC, the compiler of which is g++.
#include <cuda.h>
#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <mutex>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "blocks.h"
#include "counts.h"
#include "graphs.h"

extern thread_local int current_device;

// --- The driver --------------------------------------------------------------------------------------------------

API CUresult cuInit(unsigned) { return CUDA_SUCCESS; }

// Asked by whoever looks for a GPU by himself: there is none, and nothing shall choose this one.
API CUresult cuDriverGetVersion(int *) { return CUDA_ERROR_NO_DEVICE; }

API CUresult cuGetErrorName(CUresult, const char **text) {
    *text = "CUDA_ERROR";
    return CUDA_SUCCESS;
}

API CUresult cuGetErrorString(CUresult, const char **text) {
    *text = "refused by the stand-in for CUDA";
    return CUDA_SUCCESS;
}

API CUresult cuCtxGetCurrent(CUcontext *context) {
    *context = (CUcontext)(intptr_t)(current_device + 1);
    return CUDA_SUCCESS;
}

API CUresult cuCtxSetCurrent(CUcontext) { return CUDA_SUCCESS; }

API CUresult cuCtxGetDevice(CUdevice *device) {
    *device = current_device;
    return CUDA_SUCCESS;
}

struct Kernel {
    std::string name;
    Thread thread;
    const size_t *sizes;  // of the arguments, in bytes, and 0 after the last
    Order order;
};

// A module's image is the path of the library that g++ made.
API CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    *module = (CUmodule)dlopen((const char *)image, RTLD_NOW | RTLD_LOCAL);
    if (!*module) std::fprintf(stderr, "%s\n", dlerror());
    return *module ? CUDA_SUCCESS : CUDA_ERROR_INVALID_IMAGE;
}

API CUresult cuModuleUnload(CUmodule) { return CUDA_SUCCESS; }

API CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    auto thread = (Thread)dlsym((void *)module, (std::string("thread_of_") + name).c_str());
    auto sizes = (const size_t *const *)dlsym((void *)module, (std::string("sizes_of_") + name).c_str());
    auto order = (Order *)dlsym((void *)module, "order");
    if (!thread || !sizes || !order) return CUDA_ERROR_NOT_FOUND;
    *function = (CUfunction) new Kernel{name, thread, *sizes, *order};
    return CUDA_SUCCESS;
}

static void run(const Kernel *kernel, void **arguments, Index grid, Index block) {
    static std::mutex turn;  // what the threads of a block share is there once
    std::lock_guard<std::mutex> held(turn);
    run_all(kernel->thread, arguments, grid, block, kernel->order);
}

// The same launch later, when the arguments that it was given are gone.
static Work later(const Kernel *kernel, void **arguments, Index grid, Index block) {
    std::vector<std::vector<char>> copies;
    for (const size_t *size = kernel->sizes; *size; size++) {
        auto first = (const char *)arguments[copies.size()];
        copies.emplace_back(first, first + *size);
    }
    return [=]() mutable {
        std::vector<void *> addresses;
        for (auto &each : copies) addresses.push_back(each.data());
        run(kernel, addresses.data(), grid, block);
    };
}

API CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                            unsigned bz, unsigned, CUstream stream, void **arguments, void **) {
    auto kernel = (const Kernel *)function;
    Index grid = {gx, gy, gz}, block = {bx, by, bz};
    if (is_implicit(stream)) return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    if (is_capturing() && captured(stream, later(kernel, arguments, grid, block))) return CUDA_SUCCESS;
    count("launches");
    count("kernel " + kernel->name);
    run(kernel, arguments, grid, block);
    return CUDA_SUCCESS;
}

API CUresult cuFuncGetAttribute(int *value, CUfunction_attribute, CUfunction) {
    *value = 1024;
    return CUDA_SUCCESS;
}

// --- NVRTC -------------------------------------------------------------------------------------------------------

struct Program {
    std::string source, log, library;
};

static std::string text_of(const std::string &path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
}

static bool has(const std::string &text, const char *part) { return text.find(part) != std::string::npos; }

static Order order_of(const std::string &source) {
    if (has(source, "__sync") || has(source, "__shfl")) return TOGETHER;
    return has(source, "CUPY_FOR") && !has(source, "threadIdx") ? ALONE : IN_TURN;
}

// The source between what kernels need and the functions by which they are called.
static std::string complete(const std::string &folder, const std::string &source) {
    static const std::regex kernel(
        R"(extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\()");
    std::ostringstream text;
    text << "#include \"" << folder << "/kernel.h\"\n" << source << "\n";
    text << "EXPORTED_ORDER(" << order_of(source) << ")\n";
    for (std::sregex_iterator each(source.begin(), source.end(), kernel), end; each != end; ++each)
        text << "EXPORTED_KERNEL(" << (*each)[1] << ")\n";
    return text.str();
}

API const char *nvrtcGetErrorString(int error) { return error ? "NVRTC_ERROR_COMPILATION" : "NVRTC_SUCCESS"; }

API int nvrtcVersion(int *major, int *minor) {
    *major = 13;
    *minor = 0;
    return 0;
}

API int nvrtcGetNumSupportedArchs(int *number) {
    *number = 1;
    return 0;
}

API int nvrtcGetSupportedArchs(int *all) {
    all[0] = 90;
    return 0;
}

API int nvrtcCreateProgram(Program **program, const char *source, const char *, int, const char **, const char **) {
    *program = new Program{source, "", ""};
    return 0;
}

API int nvrtcDestroyProgram(Program **program) {
    delete *program;
    *program = nullptr;
    return 0;
}

// One library for each source, kept in the folder; several processes may make the same one.
API int nvrtcCompileProgram(Program *program, int number, const char **options) {
    const char *folder = std::getenv("CUPY_ON_CPU");
    if (!folder) return 6;
    std::string flags;
    for (int i = 0; i < number; i++)
        if (std::string option = options[i]; option.rfind("-D", 0) == 0) flags += " '" + option + "'";
    std::string source = complete(folder, program->source);
    std::string name = std::string(folder) + "/kernels/" + std::to_string(std::hash<std::string>()(source + flags));
    program->library = name + ".so";
    if (access(program->library.c_str(), R_OK) == 0) return 0;
    count("compilations");
    static std::atomic<int> made;  // several threads may make the same one, too
    std::string mine = name + "." + std::to_string(getpid()) + "." + std::to_string(made++);
    std::ofstream(mine + ".cpp") << source;
    std::string command = text_of(std::string(folder) + "/compile");
    command += flags + " -shared -nostdlib -o " + mine + ".so " + mine + ".cpp " + folder + "/lib/libcuda.so.1";
    command += " 2> " + mine + ".log";
    int status = std::system(command.c_str());
    program->log = text_of(mine + ".log");
    unlink((mine + ".log").c_str());
    if (status) {
        std::fprintf(stderr, "g++ refuses %s.cpp:\n%s\n", mine.c_str(), program->log.substr(0, 4000).c_str());
        return 6;
    }
    unlink((mine + ".cpp").c_str());
    std::rename((mine + ".so").c_str(), program->library.c_str());
    return 0;
}

API int nvrtcGetCUBINSize(Program *program, size_t *size) {
    *size = program->library.size() + 1;
    return 0;
}

API int nvrtcGetCUBIN(Program *program, char *image) {
    program->library.copy(image, program->library.size());
    image[program->library.size()] = 0;
    return 0;
}

API int nvrtcGetPTXSize(Program *program, size_t *size) { return nvrtcGetCUBINSize(program, size); }
API int nvrtcGetPTX(Program *program, char *image) { return nvrtcGetCUBIN(program, image); }

API int nvrtcGetProgramLogSize(Program *program, size_t *size) {
    *size = program->log.size() + 1;
    return 0;
}

API int nvrtcGetProgramLog(Program *program, char *text) {
    program->log.copy(text, program->log.size());
    text[program->log.size()] = 0;
    return 0;
}
