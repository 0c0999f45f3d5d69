// Workers of a supervisor that was killed. They have noticed and are leaving by themselves, but
// until they are gone they hold sockets, and messages in the queues.
#pragma once

#include <vector>

#include <green/event.hpp>

#include "process_table.hpp"

namespace greensup {

/// Waits until none of these processes lives. Programs that know nothing of a supervisor are told
/// to stop; who has not left when his patience is over is killed with all of his group. Switches.
/// Returns false when `stop` was set before that.
bool await_leftovers(const std::vector<ProcessRecord>& records, green::Event& stop);

}  // namespace greensup
