#pragma once
// Waiting for the end of several greenlets, and killing several.

#include <cstddef>
#include <exception>
#include <initializer_list>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include <green/deadline.hpp>
#include <green/greenlet.hpp>

namespace green {

/// How joinall() waits.
struct JoinOptions {
    Deadline deadline = Deadline::never();
    std::size_t count = std::numeric_limits<std::size_t>::max();  // no more than so many
    bool raise_error = false;  // rethrow the error of the first that fails, at once
};

/// Waits until all have ended, or as the options say; returns those that have, in the order in
/// which they ended. Switches, unless enough have ended.
std::vector<AnyGreenlet> joinall(std::span<const AnyGreenlet> greenlets, JoinOptions options);
inline std::vector<AnyGreenlet> joinall(std::span<const AnyGreenlet> greenlets,
                                        Deadline deadline = Deadline::never()) {
    return joinall(greenlets, JoinOptions{.deadline = deadline});
}
inline std::vector<AnyGreenlet> joinall(std::initializer_list<AnyGreenlet> greenlets,
                                        JoinOptions options) {
    return joinall(std::span{greenlets.begin(), greenlets.size()}, options);
}
inline std::vector<AnyGreenlet> joinall(std::initializer_list<AnyGreenlet> greenlets,
                                        Deadline deadline = Deadline::never()) {
    return joinall(greenlets, JoinOptions{.deadline = deadline});
}

/// Kills all, then waits for them. Returns the survivors once `deadline` has passed. Switches.
/// The current greenlet, if it is among them, is killed last. `reason` is as that of kill().
std::vector<AnyGreenlet> killall(std::span<const AnyGreenlet> greenlets, std::exception_ptr reason,
                                 Deadline deadline = Deadline::never());
inline std::vector<AnyGreenlet> killall(std::span<const AnyGreenlet> greenlets,
                                        Deadline deadline = Deadline::never()) {
    return killall(greenlets, nullptr, deadline);
}
inline std::vector<AnyGreenlet> killall(std::initializer_list<AnyGreenlet> greenlets,
                                        std::exception_ptr reason,
                                        Deadline deadline = Deadline::never()) {
    return killall(std::span{greenlets.begin(), greenlets.size()}, std::move(reason), deadline);
}
inline std::vector<AnyGreenlet> killall(std::initializer_list<AnyGreenlet> greenlets,
                                        Deadline deadline = Deadline::never()) {
    return killall(greenlets, nullptr, deadline);
}

}  // namespace green
