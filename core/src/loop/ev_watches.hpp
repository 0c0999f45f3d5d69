#pragma once
// What libev itself watches for watchers.

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <ev.h>

#include "loop/reactor.hpp"

namespace green::detail {

[[nodiscard]] std::unique_ptr<Watch> ev_wall_clock(struct ev_loop* loop,
                                                   std::chrono::system_clock::time_point at,
                                                   Duration interval, std::function<void()> report);
[[nodiscard]] std::unique_ptr<Watch> ev_file(struct ev_loop* loop, const std::string& path,
                                             Duration interval, FileSnapshots& seen,
                                             std::function<void()> report);

}  // namespace green::detail
