// Peer libev: ev_timer. Its callbacks run where greensup's do, on the loop, so the two do the same.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <ev.h>

#include "bench.hpp"
#include "delays.hpp"

namespace {

using namespace std::chrono_literals;

struct Destroy {
    void operator()(struct ev_loop* loop) const noexcept { ev_loop_destroy(loop); }
};
using Loop = std::unique_ptr<struct ev_loop, Destroy>;

std::size_t to_fire;
void on_timer(struct ev_loop*, ev_timer*, int) noexcept { --to_fire; }

std::vector<ev_tstamp> random_seconds(std::size_t count, std::chrono::nanoseconds least,
                                      std::chrono::nanoseconds most) {
    std::vector<ev_tstamp> result;
    for (const auto delay : bench::random_delays(count, least, most))
        result.push_back(std::chrono::duration<ev_tstamp>(delay).count());
    return result;
}

std::vector<ev_timer> start_all(struct ev_loop* loop, const std::vector<ev_tstamp>& delays) {
    std::vector<ev_timer> timers(delays.size());
    ev_now_update(loop);
    for (std::size_t i = 0; i < timers.size(); ++i) {
        ev_timer_init(&timers[i], on_timer, delays[i], 0.);
        ev_timer_start(loop, &timers[i]);
    }
    return timers;
}

double start_stop(const bench::Options& options) {
    bench::pin(options.consumer_core);
    const Loop loop{ev_loop_new(EVFLAG_NOENV)};
    const auto crowd = start_all(
        loop.get(), random_seconds(std::min<std::size_t>(1'000'000, options.at_most), 1s, 1000s));
    const auto delays = random_seconds(4096, 1s, 1000s);
    return bench::ns_per_operation(options, [&](std::uint64_t n) {
        ev_now_update(loop.get());
        ev_timer timer;
        ev_init(&timer, on_timer);
        std::uint64_t done = 0;
        for (; done < n; ++done) {
            ev_timer_set(&timer, delays[done % delays.size()], 0.);
            ev_timer_start(loop.get(), &timer);
            ev_timer_stop(loop.get(), &timer);
        }
        return done;
    });
}

double fire(const bench::Options& options) {
    bench::pin(options.consumer_core);
    const Loop loop{ev_loop_new(EVFLAG_NOENV)};
    const auto delays =
        random_seconds(std::min<std::size_t>(1'000'000, options.at_most), 0s, 100ms);
    to_fire = delays.size();
    const auto crowd = start_all(loop.get(), delays);
    bench::wait_until(bench::now() + 100'000'000);  // with the loop standing still
    const auto start = bench::now();
    while (to_fire > 0) ev_run(loop.get(), EVRUN_NOWAIT);
    return static_cast<double>(bench::now() - start) / static_cast<double>(delays.size());
}

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv, {{"timer_start_stop", start_stop}, {"timer_fire", fire}});
}
