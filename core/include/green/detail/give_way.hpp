#pragma once

#include <green/deadline.hpp>

namespace green::detail {

/// Comes first in a call that may be served without a wait, as often as it is called: now and then
/// it lets others run, so that what is always ready starves nobody. Switches then; with
/// Deadline::passed() never.
void give_way_at_times(Deadline deadline);

}  // namespace green::detail
