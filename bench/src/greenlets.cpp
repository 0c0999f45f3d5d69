// greensup's side of the one-process cases: greenlets and their waits.
#include <cstddef>
#include <cstdint>
#include <vector>

#include <green/green.hpp>

#include "bench.hpp"

namespace {

template <std::size_t Count>
double yield(const bench::Options& options) {
    return bench::ns_per_operation(options, [](std::uint64_t n) {
        const std::uint64_t each = (n + Count - 1) / Count;
        std::uint64_t done = 0;
        std::vector<green::Greenlet<void>> greenlets;
        greenlets.reserve(Count);
        for (std::size_t i = 0; i < Count; ++i)
            greenlets.push_back(green::spawn([&done, each] {
                for (std::uint64_t k = 0; k < each; ++k) green::yield();
                done += each;
            }));
        for (auto& greenlet : greenlets) greenlet.join();
        return done;
    });
}

double spawn_join(const bench::Options& options) {
    return bench::ns_per_operation(options, [](std::uint64_t n) {
        std::uint64_t done = 0;
        for (std::uint64_t i = 0; i < n; ++i) {
            auto greenlet = green::spawn([&done] { ++done; });
            greenlet.join();
        }
        return done;
    });
}

}  // namespace

int main(int argc, char** argv) {
    return bench::run(
        argc, argv,
        {{"yield_2", yield<2>}, {"yield_1000", yield<1000>}, {"spawn_join", spawn_join}});
}
