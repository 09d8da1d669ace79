// What the stand-in is asked for is counted, by words such as "launches" and by kernel.
#pragma once
#include <string>

#define API extern "C" __attribute__((visibility("default")))

void count(const std::string &what, long times = 1);
long setting(const char *name, long otherwise);  // a number from the environment
