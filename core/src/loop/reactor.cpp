#include "loop/reactor.hpp"

#include <green/errors.hpp>

namespace green::detail {

std::unique_ptr<Watch> Reactor::watch_level(int, Readiness, std::function<void(Readiness)>) {
    throw UsageError("this hub's world has no descriptors to watch");
}
std::unique_ptr<Watch> Reactor::watch_wall_clock(std::chrono::system_clock::time_point, Duration,
                                                 std::function<void()>) {
    throw UsageError("this hub's world has no wall clock");
}
std::unique_ptr<Watch> Reactor::watch_file(const std::string&, Duration, FileSnapshots&,
                                           std::function<void()>) {
    throw UsageError("this hub's world has no files to watch");
}

}  // namespace green::detail
