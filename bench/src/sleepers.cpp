// greensup's side of the cases with very many greenlets, all asleep.
#include "sleepers.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <green/green.hpp>

namespace {

class Sleepers {
 public:
    explicit Sleepers(std::size_t count) : count_{count} {}

    void put_to_sleep(std::uint64_t until) {
        const green::TimePoint wake_up{std::chrono::nanoseconds(until)};
        for (std::size_t i = 0; i < count_; ++i)
            green::spawn([this, wake_up] {
                ++asleep_;
                green::sleep_until(wake_up);
                if (++awake_ < count_) return;
                last_ = bench::now();
                all_awake_.set();
            });
        while (asleep_ < count_) green::yield();
    }

    std::uint64_t wait_for_last() {
        all_awake_.wait();
        return last_;
    }

 private:
    std::size_t count_;
    std::size_t asleep_ = 0;
    std::size_t awake_ = 0;
    std::uint64_t last_ = 0;
    green::Event all_awake_;
};

}  // namespace

int main(int argc, char** argv) {
    // What is for a million greenlets: the page tables of larger stacks would cost more than all
    // else.
    green::configure_hub({.stack_size = 64 * 1024});
    const int status = bench::run(argc, argv,
                                  {{"sleepers_bytes", bench::sleepers_bytes<Sleepers>},
                                   {"sleepers_spawn", bench::sleepers_spawn<Sleepers>},
                                   {"sleepers_wake", bench::sleepers_wake<Sleepers>}});
    (void)std::fflush(stdout);
    // Those that still sleep would be killed by their hub, one after the other.
    std::_Exit(status);
}
