#include "support/run_green.hpp"

#include <catch2/catch.hpp>

#include <green/greenlet.hpp>
#include <green/simulation.hpp>

#include "loop/ev_reactor.hpp"

namespace tests {
namespace {

void check_nothing_left() {
    const green::HubFigures left = green::hub_figures();
    INFO(green::hub_report());
    CHECK(left.greenlets == 0);
    CHECK(left.stacks == 0);
    CHECK(left.timers == 0);
    CHECK(left.outside == 0);
    CHECK(left.watchers == 0);
}

}  // namespace

void run_green(const std::function<void(VirtualReactor&)>& body, green::HubOptions config) {
    auto owned = std::make_unique<VirtualReactor>();
    VirtualReactor& world = *owned;
    green::detail::Hub hub{std::move(owned), config};
    body(world);
    settle();
    check_nothing_left();
    CHECK(world.watched() == 0);
    CHECK(world.watched_signals() == 0);
}

void run_green(const std::function<void()>& body) {
    run_green([&](VirtualReactor&) { body(); });
}

void run_green_for_real(const std::function<void()>& body) {
    green::detail::Hub hub{green::detail::make_ev_reactor()};
    body();
    settle();
    check_nothing_left();
}

void settle() { green::idle(); }

Errors::Errors() {
    green::set_error_handler([this](const green::ErrorReport& report) {
        all.push_back(report.where + ": " + green::describe(report.error));
    });
}
Errors::~Errors() { green::set_error_handler({}); }

std::uint64_t seed() { return green::Simulation::seed_from_environment(20'261'120); }

}  // namespace tests
