// The limit of everything that switches: bare jumps of Boost.Context between two contexts whose
// floating-point control words are equal (ns_per_operation clears the sticky bits), no scheduler.
#include <array>
#include <cstddef>
#include <cstdint>

#include <boost/context/detail/fcontext.hpp>

#include "bench.hpp"

namespace {

using boost::context::detail::fcontext_t;
using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

alignas(64) std::array<std::byte, 64 * 1024> stack;

fcontext_t make(void (*entry)(transfer_t)) {
    return make_fcontext(stack.data() + stack.size(), stack.size(), entry);
}

[[noreturn]] void jump_back_for_ever(transfer_t from) {
    for (;;) {
        ++*static_cast<std::uint64_t*>(from.data);
        from = jump_fcontext(from.fctx, nullptr);
    }
}

void jump_back_once(transfer_t from) {
    ++*static_cast<std::uint64_t*>(from.data);
    jump_fcontext(from.fctx, nullptr);  // never resumed
}

// A yield is one switch: half a round trip.
double yield(const bench::Options& options) {
    return bench::ns_per_operation(options, [](std::uint64_t n) {
        std::uint64_t round_trips = 0;
        fcontext_t other = make(jump_back_for_ever);
        for (std::uint64_t i = 0; i < (n + 1) / 2; ++i)
            other = jump_fcontext(other, &round_trips).fctx;
        return 2 * round_trips;
    });
}

// A context made on a stack that is already there, entered and left for good.
double spawn_join(const bench::Options& options) {
    return bench::ns_per_operation(options, [](std::uint64_t n) {
        std::uint64_t done = 0;
        for (std::uint64_t i = 0; i < n; ++i) jump_fcontext(make(jump_back_once), &done);
        return done;
    });
}

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv,
                      {{"yield_2", yield}, {"yield_1000", yield}, {"spawn_join", spawn_join}});
}
