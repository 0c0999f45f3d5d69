#include "support/worlds.hpp"

#include <catch2/catch.hpp>

#include <green/simulation.hpp>

#include "support/run_green.hpp"

namespace tests {

void in_quiet_worlds(const std::function<void()>& body) {
    {
        INFO("in the real world");
        run_green_for_real(body);
    }
    INFO("in a calm simulation");
    green::Simulation world{0, green::Simulation::Conditions::calm()};
    world.run(body);
}

void in_every_world(const std::function<void()>& body) {
    in_quiet_worlds(body);
    constexpr std::uint64_t worlds = 20;
    for (std::uint64_t seed = tests::seed(); seed < tests::seed() + worlds; ++seed) {
        INFO("in a rough simulation, GREENSUP_SEED=" << seed);
        green::Simulation world{seed};
        world.run(body);
    }
}

}  // namespace tests
