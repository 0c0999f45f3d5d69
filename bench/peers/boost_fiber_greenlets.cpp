// Peer boost_fiber: Boost.Fiber with its round-robin scheduler and pooled 64 KiB stacks (its
// fastest allocator here; the default one calls malloc for every fiber).
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <boost/fiber/fiber.hpp>
#include <boost/fiber/operations.hpp>
#include <boost/fiber/pooled_fixedsize_stack.hpp>

#include "bench.hpp"
#include "float_flags.hpp"

namespace {

using Stacks = boost::fibers::pooled_fixedsize_stack;
constexpr std::size_t stack_size = 64 * 1024;

// `work(i)` is what the i-th does before each of its yields.
template <class Work>
double take_turns(const bench::Options& options, Work work) {
    Stacks stacks{stack_size};
    return bench::ns_per_operation(
        options, [&stacks, work, count = options.count](std::uint64_t n) {
            const std::uint64_t each = (n + count - 1) / count;
            std::uint64_t done = 0;
            std::vector<boost::fibers::fiber> fibers;
            fibers.reserve(count);
            for (std::size_t i = 0; i < count; ++i)
                fibers.emplace_back(std::allocator_arg, stacks, [&done, each, work, i] {
                    for (std::uint64_t k = 0; k < each; ++k) {
                        work(i);
                        boost::this_fiber::yield();
                    }
                    done += each;
                });
            for (auto& fiber : fibers) fiber.join();
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
    Stacks stacks{stack_size};
    return bench::ns_per_operation(options, [&stacks](std::uint64_t n) {
        std::uint64_t done = 0;
        for (std::uint64_t i = 0; i < n; ++i)
            boost::fibers::fiber(std::allocator_arg, stacks, [&done] { ++done; }).join();
        return done;
    });
}

double spawn_many_join(const bench::Options& options) {
    Stacks stacks{stack_size};
    return bench::ns_per_operation(options, [&stacks, count = options.count](std::uint64_t n) {
        std::uint64_t done = 0;
        std::vector<boost::fibers::fiber> fibers;
        fibers.reserve(count);
        while (done < n) {
            for (std::size_t i = 0; i < count; ++i)
                fibers.emplace_back(std::allocator_arg, stacks, [&done] { ++done; });
            for (auto& fiber : fibers) fiber.join();
            fibers.clear();
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
