#pragma once

#include <catch2/catch.hpp>

#include <green/hub.hpp>

namespace tests {

/// Whoever was in this hub has left nothing there.
inline void require_nothing_left() {
    const green::HubFigures left = green::hub_figures();
    REQUIRE(left.greenlets == 0);
    REQUIRE(left.stacks == 0);
    REQUIRE(left.timers == 0);
    REQUIRE(left.outside == 0);
}

}  // namespace tests
