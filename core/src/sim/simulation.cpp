#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <random>
#include <string>

#include <green/errors.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>
#include <green/simulation.hpp>

#include "sched/hub.hpp"
#include "sim/kernel.hpp"
#include "sim/virtual_reactor.hpp"

namespace green {
namespace {

/// The clock and the reports of a simulation, with its kernel behind the door.
class SimulatedReactor final : public detail::VirtualReactor {
 public:
    SimulatedReactor(std::uint64_t seed, const Simulation::Conditions& conditions)
        : kernel_{*this, seed, conditions} {}

    [[nodiscard]] bool knows(int fd) const noexcept override { return kernel_.owns(fd); }
    int watch(int fd, std::uint32_t generation) noexcept override {
        if (const int error = kernel_.watch(fd)) return error;
        return VirtualReactor::watch(fd, generation);
    }
    void unwatch(int fd) noexcept override {
        kernel_.unwatch(fd);
        VirtualReactor::unwatch(fd);
    }
    std::unique_ptr<detail::Watch> watch_level(int, detail::Readiness,
                                               std::function<void(detail::Readiness)>) override {
        throw UsageError("a simulation has no watchers of descriptors");
    }
    [[nodiscard]] bool may_report() noexcept override {
        return kernel_.has_report() || VirtualReactor::may_report();
    }
    [[nodiscard]] sim::Kernel& kernel() noexcept { return kernel_; }

 private:
    void gather() noexcept override { kernel_.report(); }

    sim::Kernel kernel_;
};

HubOptions hub_config(std::uint64_t seed, const Simulation::Conditions& conditions) {
    HubOptions config;
    sim::Random random{~seed};
    config.budget_switches =
        static_cast<unsigned>(random.between(conditions.least_switches, conditions.most_switches));
    return config;
}

std::unique_ptr<SimulatedReactor> make_reactor(std::uint64_t seed,
                                               const Simulation::Conditions& conditions) {
    if (sys::world() != nullptr) throw UsageError("this thread is in a simulation already");
    return std::make_unique<SimulatedReactor>(seed, conditions);
}

}  // namespace

struct Simulation::Parts {
    Parts(std::unique_ptr<SimulatedReactor> made, HubOptions config)
        : reactor{*made}, hub{std::move(made), config} {}
    SimulatedReactor& reactor;
    detail::Hub hub;  // owns it
};

Simulation::Conditions Simulation::Conditions::calm() noexcept {
    Conditions calm;
    calm.least_buffer = calm.most_buffer = std::size_t{256} * 1024;
    calm.shuffles = false;
    calm.least_switches = calm.most_switches = HubOptions{}.budget_switches;
    return calm;
}

Simulation::Conditions Simulation::Conditions::of(std::uint64_t seed) noexcept {
    using namespace std::chrono_literals;
    sim::Random random{sim::Random::scrambled(seed)};
    constexpr Duration delays[] = {0ms, 1us, 1ms, 50ms, 2s};
    constexpr unsigned percents[] = {0, 0, 5, 50};
    Conditions conditions;
    conditions.most_delay = delays[random.below(std::size(delays))];
    conditions.percent_short = percents[random.below(std::size(percents))];
    conditions.percent_spurious = percents[random.below(std::size(percents))];
    return conditions;
}

Simulation::Simulation(std::uint64_t seed, const Conditions& conditions)
    : seed_{seed},
      exceptions_{std::uncaught_exceptions()},
      parts_{
          std::make_unique<Parts>(make_reactor(seed, conditions), hub_config(seed, conditions))} {}

Simulation::~Simulation() {
    if (std::uncaught_exceptions() > exceptions_) say_seed();
}

void Simulation::say_seed() noexcept {
    if (std::exchange(said_, true)) return;
    std::fprintf(stderr, "greensup: a simulation failed; GREENSUP_SEED=%llu repeats it\n",
                 static_cast<unsigned long long>(seed_));
}

std::uint64_t Simulation::seed_from_environment(std::optional<std::uint64_t> otherwise) {
    const char* const given = std::getenv("GREENSUP_SEED");
    if (given == nullptr) {
        if (otherwise) return *otherwise;
        std::random_device device;
        return std::uint64_t{device()} << 32 | device();
    }
    std::uint64_t seed = 0;
    const char* const end = given + std::strlen(given);
    const auto [stop, error] = std::from_chars(given, end, seed);
    if (error != std::errc{} || stop != end) {
        throw UsageError("GREENSUP_SEED=" + std::string(given) + " is no number from 0 to 2^64-1");
    }
    return seed;
}

void Simulation::run_checked(const std::function<void()>& body) {
    try {
        body();
        idle();
        check_nothing_left();
    } catch (...) {
        say_seed();
        throw;
    }
}

void Simulation::check_nothing_left() const {
    const HubFigures left = hub_figures();
    const std::size_t signals = parts_->reactor.watched_signals();
    std::string text;
    const auto add = [&text](std::size_t count, const char* what) {
        if (count > 0) text += " " + std::to_string(count) + " " + what;
    };
    add(left.greenlets, "greenlets");
    add(left.timers, "timers");
    add(left.outside, "waits");
    add(left.watchers, "watchers");
    add(signals, "signals");
    add(open_descriptors(), "descriptors");
    if (text.empty()) return;
    throw LeftOver("left at the end of a simulation:" + text + "\n" + hub_report() +
                   parts_->reactor.kernel().describe_descriptors());
}

SimulatedNetwork Simulation::network() noexcept {
    return SimulatedNetwork{parts_->reactor.kernel()};
}
void Simulation::limit_descriptors(std::size_t most) noexcept {
    parts_->reactor.kernel().limit_descriptors(most);
}
std::size_t Simulation::open_descriptors() const noexcept {
    return parts_->reactor.kernel().open_descriptors();
}
void Simulation::raise(int signal) { parts_->reactor.raise(signal); }
std::uint64_t Simulation::fingerprint() const noexcept {
    return parts_->reactor.kernel().fingerprint();
}

void SimulatedNetwork::delay(const Endpoint& where, Duration least, Duration most) {
    kernel_->tcp().set_delay(where, least, most);
}
void SimulatedNetwork::cut(const Endpoint& where) { kernel_->tcp().cut(where); }
void SimulatedNetwork::heal(const Endpoint& where) { kernel_->tcp().heal(where); }
void SimulatedNetwork::reset(const Endpoint& where) { kernel_->tcp().reset(where); }

}  // namespace green
