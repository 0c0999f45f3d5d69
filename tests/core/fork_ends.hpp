#pragma once
// Children that go on with a function, and how they have ended.

#include <utility>

#include <green/fork.hpp>
#include <green/process.hpp>

namespace tests {

template <class Function>
green::ExitStatus end_of(Function&& function, const green::ForkOptions& options = {}) {
    return *green::fork_process(std::forward<Function>(function), options).join();
}

/// With which a child leaves that is not allowed what it is to show.
constexpr int left_out = 77;

constexpr green::ExitStatus exited(int code) {
    return {green::ExitStatus::Kind::exited, code, false};
}

}  // namespace tests
