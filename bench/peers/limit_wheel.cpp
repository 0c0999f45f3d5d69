// The limit of timers: a hierarchical timing wheel with a resolution of 1 ms. Starting and stopping
// is linking and unlinking; those of one millisecond fire in no particular order, so it is cheaper
// than anything that keeps exact deadlines.
#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "bench.hpp"
#include "delays.hpp"

namespace {

using namespace std::chrono_literals;

struct Link {
    Link* next = this;
    Link* previous = this;

    Link() = default;
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;

    [[nodiscard]] bool alone() const noexcept { return next == this; }
    void insert_before(Link& other) noexcept {
        next = &other;
        previous = other.previous;
        previous->next = other.previous = this;
    }
    void unlink() noexcept {
        previous->next = next;
        next->previous = previous;
        next = previous = this;
    }
};

struct Timer : Link {
    std::uint64_t due = 0;  // ms
};

// A timer stands on the level of the highest byte in which its time differs from the present one,
// in the slot of that byte's value. When the present reaches a slot of a higher level, what stands
// there moves down.
class Wheel {
 public:
    [[nodiscard]] std::uint64_t now() const noexcept { return now_; }

    void start(Timer& timer, std::uint64_t due) noexcept {
        timer.due = std::max(due, now_ + 1);
        place(timer);
    }

    template <class Fire>
    void tick(Fire fire) {
        ++now_;
        for (std::size_t level = levels - 1; level > 0; --level) {
            if (now_ % (std::uint64_t{1} << 8 * level) != 0) continue;
            for (Link& slot = slot_of(level, now_); !slot.alone();) {
                Timer& timer = static_cast<Timer&>(*slot.next);
                timer.unlink();
                place(timer);
            }
        }
        for (Link& slot = slot_of(0, now_); !slot.alone();) {
            Timer& timer = static_cast<Timer&>(*slot.next);
            timer.unlink();
            fire(timer);
        }
    }

 private:
    static constexpr std::size_t levels = 4;  // 49 days

    [[nodiscard]] Link& slot_of(std::size_t level, std::uint64_t time) noexcept {
        return slots_[level][time >> 8 * level & 255];
    }
    void place(Timer& timer) noexcept {
        const auto highest = static_cast<std::size_t>(std::bit_width((timer.due ^ now_) | 1)) - 1;
        timer.insert_before(slot_of(std::min(highest / 8, levels - 1), timer.due));
    }

    std::uint64_t now_ = 1;
    std::array<std::array<Link, 256>, levels> slots_;
};

std::vector<std::uint64_t> random_milliseconds(std::size_t count, std::chrono::nanoseconds least,
                                               std::chrono::nanoseconds most) {
    std::vector<std::uint64_t> result;
    for (const auto delay : bench::random_delays(count, least, most))
        result.push_back(static_cast<std::uint64_t>(delay / 1ms));
    return result;
}

void start_all(Wheel& wheel, std::vector<Timer>& timers, const std::vector<std::uint64_t>& delays) {
    for (std::size_t i = 0; i < timers.size(); ++i) wheel.start(timers[i], wheel.now() + delays[i]);
}

double start_stop(const bench::Options& options) {
    bench::pin(options.consumer_core);
    std::vector<Timer> crowd(std::min<std::size_t>(1'000'000, options.at_most));
    Wheel wheel;
    start_all(wheel, crowd, random_milliseconds(crowd.size(), 1s, 1000s));
    const auto delays = random_milliseconds(4096, 1s, 1000s);
    return bench::ns_per_operation(options, [&](std::uint64_t n) {
        Timer timer;
        std::uint64_t done = 0;
        for (; done < n; ++done) {
            wheel.start(timer, wheel.now() + delays[done % delays.size()]);
            timer.unlink();
        }
        return done;
    });
}

double fire(const bench::Options& options) {
    bench::pin(options.consumer_core);
    std::vector<Timer> crowd(std::min<std::size_t>(1'000'000, options.at_most));
    Wheel wheel;
    start_all(wheel, crowd, random_milliseconds(crowd.size(), 0s, 100ms));
    std::size_t to_fire = crowd.size();
    const auto start = bench::now();
    while (to_fire > 0) wheel.tick([&to_fire](Timer&) { --to_fire; });
    return static_cast<double>(bench::now() - start) / static_cast<double>(crowd.size());
}

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv, {{"timer_start_stop", start_stop}, {"timer_fire", fire}});
}
