// greensup's side of the cases that spawn greenlets and switch between them.
#include <cstddef>
#include <cstdint>
#include <vector>

#include <green/green.hpp>

#include "bench.hpp"
#include "float_flags.hpp"

namespace {

/// Greenlets that yield to each other; `work(i)` is what the i-th does before each of its yields.
template <class Work>
double take_turns(const bench::Options& options, Work work) {
    return bench::ns_per_operation(options, [work, count = options.count](std::uint64_t n) {
        const std::uint64_t each = (n + count - 1) / count;
        std::uint64_t done = 0;
        std::vector<green::Greenlet<void>> greenlets;
        greenlets.reserve(count);
        for (std::size_t i = 0; i < count; ++i)
            greenlets.push_back(green::spawn([&done, each, work, i] {
                for (std::uint64_t k = 0; k < each; ++k) {
                    work(i);
                    green::yield();
                }
                done += each;
            }));
        for (auto& greenlet : greenlets) greenlet.join();
        return done;
    });
}

double yield(const bench::Options& options) {
    return take_turns(options, [](std::size_t) {});
}

double yield_float(const bench::Options& options) {
    return take_turns(options, bench::raise_float_flags);
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

double spawn_many_join(const bench::Options& options) {
    return bench::ns_per_operation(options, [count = options.count](std::uint64_t n) {
        std::uint64_t done = 0;
        std::vector<green::Greenlet<void>> greenlets;
        greenlets.reserve(count);
        while (done < n) {
            for (std::size_t i = 0; i < count; ++i)
                greenlets.push_back(green::spawn([&done] { ++done; }));
            for (auto& greenlet : greenlets) greenlet.join();
            greenlets.clear();
        }
        return done;
    });
}

double spawning(const bench::Options& options) {
    return options.count == 0 ? spawn_join(options) : spawn_many_join(options);
}

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv,
                      {{"yield", yield}, {"yield_float", yield_float}, {"spawn_join", spawning}});
}
