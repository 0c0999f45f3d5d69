#pragma once

#include <cstdint>
#include <functional>

#include "sched/hub.hpp"
#include "sim/virtual_reactor.hpp"

namespace tests {

using green::detail::VirtualReactor;

/// Runs the body on a hub of its own with a virtual clock, as its main greenlet. Afterwards nothing
/// may be left: greenlets, stacks, timers, waits, watched descriptors, signals.
void run_green(const std::function<void(VirtualReactor& world)>& body,
               green::HubOptions config = {});
void run_green(const std::function<void()>& body);

/// The same on the real world: sockets, processes, time.
void run_green_for_real(const std::function<void()>& body);

/// Lets everybody run who can, without time going on.
void settle();

/// Collects what the hub's error handler is told, while it lives.
class Errors {
 public:
    Errors();
    Errors(const Errors&) = delete;
    Errors& operator=(const Errors&) = delete;
    ~Errors();
    [[nodiscard]] std::size_t count() const { return all.size(); }
    std::vector<std::string> all;
};

/// GREENSUP_SEED of the environment, else a fixed one. Print it where a run depends on it.
std::uint64_t seed();

}  // namespace tests
