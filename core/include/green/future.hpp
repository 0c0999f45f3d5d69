#pragma once

#include <chrono>
#include <future>
#include <stop_token>
#include <utility>

#include <green/errors.hpp>
#include <green/thread_pool.hpp>

namespace green {

/// Waits for a std::future and gives its value, or rethrows. Switches, unless it is ready. Throws
/// UsageError when it has no state.
///
/// Costs a thread: the standard has no way to be told of a future, so a thread of the pool waits
/// for it, until it is ready or, within a tenth of a second, nobody here waits for it any more. As
/// many futures as the pool has threads can be waited for at once; the others come later. Where the
/// other side is yours, ThreadAsyncResult costs none of this.
template <class T>
T await(std::future<T> future, ThreadPool& pool = threads()) {
    using namespace std::chrono_literals;
    if (!future.valid()) throw UsageError("await() needs a future with a state");
    if (future.wait_for(0s) == std::future_status::ready) return future.get();
    return pool.apply([future = std::move(future)](std::stop_token stop) mutable -> T {
        while (future.wait_for(100ms) == std::future_status::timeout) {
            if (stop.stop_requested()) throw Closed("nobody waits for the future any more");
        }
        return future.get();
    });
}

}  // namespace green
