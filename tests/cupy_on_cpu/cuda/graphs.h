// Streams that are being captured: what is asked of them is kept, and done when the graph is launched.
#pragma once

#include <functional>

using Work = std::function<void()>;

// Keeps the work, if the stream is being captured.
bool captured(const void *stream, const Work &work);

// Whether any stream is: CUDA then refuses to wait for the whole device.
bool is_capturing();

// Whether CUDA refuses what is asked of the default stream, because a stream is captured that waits for that one.
bool is_implicit(const void *stream);

// A stream, and whether it and the default stream wait for each other.
struct Stream {
    bool blocks;
};
