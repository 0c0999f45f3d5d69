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

namespace {

using Stacks = boost::fibers::pooled_fixedsize_stack;
constexpr std::size_t stack_size = 64 * 1024;

template <std::size_t Count>
double yield(const bench::Options& options) {
    Stacks stacks{stack_size};
    return bench::ns_per_operation(options, [&stacks](std::uint64_t n) {
        const std::uint64_t each = (n + Count - 1) / Count;
        std::uint64_t done = 0;
        std::vector<boost::fibers::fiber> fibers;
        fibers.reserve(Count);
        for (std::size_t i = 0; i < Count; ++i)
            fibers.emplace_back(std::allocator_arg, stacks, [&done, each] {
                for (std::uint64_t k = 0; k < each; ++k) boost::this_fiber::yield();
                done += each;
            });
        for (auto& fiber : fibers) fiber.join();
        return done;
    });
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

}  // namespace

int main(int argc, char** argv) {
    return bench::run(
        argc, argv,
        {{"yield_2", yield<2>}, {"yield_1000", yield<1000>}, {"spawn_join", spawn_join}});
}
