#include "counts.h"

#include <cstdlib>
#include <map>
#include <mutex>

static std::map<std::string, long> counts;
static std::mutex lock;

void count(const std::string &what, long times) {
    std::lock_guard<std::mutex> held(lock);
    counts[what] += times;
}

long setting(const char *name, long otherwise) {
    const char *text = std::getenv(name);
    return text ? std::atol(text) : otherwise;
}

API void counts_begin() {
    std::lock_guard<std::mutex> held(lock);
    counts.clear();
}

// A line each: the number, a space, and what it counts.
API const char *counts_until_now() {
    static std::string text;
    std::lock_guard<std::mutex> held(lock);
    text.clear();
    for (const auto &[what, number] : counts) text += std::to_string(number) + " " + what + "\n";
    return text.c_str();
}
