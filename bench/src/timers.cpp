// greensup's side of the timer cases: the timers behind every sleep, limit and timeout.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <green/detail/timer.hpp>
#include <green/green.hpp>

#include "bench.hpp"
#include "delays.hpp"

namespace {

using namespace std::chrono_literals;
using green::detail::Timer;

std::size_t live_timers(const bench::Options& options) {
    return std::min<std::size_t>(1'000'000, options.at_most);
}

/// Timers that are all running.
class Crowd {
 public:
    Crowd(const std::vector<std::chrono::nanoseconds>& delays, Timer::Fire fire)
        : timers_(delays.size()) {
        const auto start = green::now();
        for (std::size_t i = 0; i < delays.size(); ++i)
            green::detail::start_timer(timers_[i], start + delays[i], fire);
    }
    ~Crowd() {
        for (Timer& timer : timers_) green::detail::cancel_timer(timer);
    }
    Crowd(const Crowd&) = delete;
    Crowd& operator=(const Crowd&) = delete;

 private:
    std::vector<Timer> timers_;
};

double start_stop(const bench::Options& options) {
    const auto nothing = [](Timer&) noexcept {};
    bench::pin(options.consumer_core);
    const Crowd crowd{bench::random_delays(live_timers(options), 1s, 1000s), nothing};
    const auto delays = bench::random_delays(4096, 1s, 1000s);
    return bench::ns_per_operation(options, [&](std::uint64_t n) {
        const auto start = green::now();
        Timer timer;
        std::uint64_t done = 0;
        for (; done < n; ++done) {
            green::detail::start_timer(timer, start + delays[done % delays.size()], nothing);
            green::detail::cancel_timer(timer);
        }
        return done;
    });
}

std::size_t to_fire;
green::Event* all_fired;

double fire(const bench::Options& options) {
    bench::pin(options.consumer_core);
    const auto delays = bench::random_delays(live_timers(options), 0s, 100ms);
    green::Event event;
    all_fired = &event;
    to_fire = delays.size();
    const Crowd crowd{delays, [](Timer&) noexcept {
                          if (--to_fire == 0) all_fired->set();
                      }};
    bench::wait_until(bench::now() + 100'000'000);  // with the hub standing still
    const auto start = bench::now();
    event.wait();
    return static_cast<double>(bench::now() - start) / static_cast<double>(delays.size());
}

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv, {{"timer_start_stop", start_stop}, {"timer_fire", fire}});
}
