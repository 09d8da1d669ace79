// Streams that are being captured: what is asked of them is kept, and done when the graph is launched.
#pragma once

#include <functional>

using Work = std::function<void()>;

// Keeps the work, if the stream is being captured.
bool captured(const void *stream, const Work &work);

// Whether any stream of the device is: CUDA then refuses what would wait for it, and what is asked of the default stream.
bool is_capturing();
