// The limit of everything that switches: bare jumps of Boost.Context between two contexts whose
// floating-point control words are equal (ns_per_operation clears the sticky bits), no scheduler.
#include <array>
#include <cstddef>
#include <cstdint>

#include <boost/context/detail/fcontext.hpp>

#include "bench.hpp"
#include "float_flags.hpp"

namespace {

using boost::context::detail::fcontext_t;
using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

alignas(64) std::array<std::byte, 64 * 1024> stack;

fcontext_t make(void (*entry)(transfer_t)) {
    return make_fcontext(stack.data() + stack.size(), stack.size(), entry);
}

void jump_back_once(transfer_t from) {
    ++*static_cast<std::uint64_t*>(from.data);
    jump_fcontext(from.fctx, nullptr);  // never resumed
}

struct NoWork {
    void operator()() const noexcept {}
};
// Both contexts raise the same flags, so their control words stay equal: unequal ones are what no
// switch needs to pay for.
struct FloatWork {
    void operator()() const noexcept { bench::raise_float_flags(0); }
};

template <class Work>
[[noreturn]] void jump_back_for_ever(transfer_t from) {
    for (;;) {
        ++*static_cast<std::uint64_t*>(from.data);
        Work{}();
        from = jump_fcontext(from.fctx, nullptr);
    }
}

// There and back.
template <class Work>
std::uint64_t round_trips(std::uint64_t n) {
    std::uint64_t done = 0;
    fcontext_t other = make(jump_back_for_ever<Work>);
    for (std::uint64_t i = 0; i < n; ++i) {
        Work{}();
        other = jump_fcontext(other, &done).fctx;
    }
    return done;
}

// A yield is one switch: half a round trip.
template <class Work>
double yield(const bench::Options& options) {
    return bench::ns_per_operation(
        options, [](std::uint64_t n) { return 2 * round_trips<Work>((n + 1) / 2); });
}

double pingpong(const bench::Options& options) {
    return bench::ns_per_operation(options, round_trips<NoWork>);
}

// A context made on a stack that is already there, entered and left for good. For many at once too:
// none of these has to live while another one does.
double spawn_join(const bench::Options& options) {
    return bench::ns_per_operation(options, [](std::uint64_t n) {
        std::uint64_t done = 0;
        for (std::uint64_t i = 0; i < n; ++i) jump_fcontext(make(jump_back_once), &done);
        return done;
    });
}

// A ring that one context fills and the other one empties, each as far as it can.
struct Ring {
    static constexpr std::uint64_t capacity = 1024;
    std::array<std::uint64_t, capacity> items{};
    std::uint64_t head = 0;
    std::uint64_t tail = 0;
    std::uint64_t in_order = 0;
};

[[noreturn]] void empty_for_ever(transfer_t from) {
    for (;;) {
        auto& ring = *static_cast<Ring*>(from.data);
        for (; ring.head != ring.tail; ++ring.head)
            ring.in_order += ring.items[ring.head % Ring::capacity] == ring.head;
        from = jump_fcontext(from.fctx, nullptr);
    }
}

double queue_stream(const bench::Options& options) {
    return bench::ns_per_operation(options, [](std::uint64_t n) {
        Ring ring;
        fcontext_t getter = make(empty_for_ever);
        while (ring.tail < n) {
            for (; ring.tail < n && ring.tail - ring.head < Ring::capacity; ++ring.tail)
                ring.items[ring.tail % Ring::capacity] = ring.tail;
            getter = jump_fcontext(getter, &ring).fctx;
        }
        return ring.in_order;
    });
}

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv,
                      {{"yield", yield<NoWork>},
                       {"yield_float", yield<FloatWork>},
                       {"spawn_join", spawn_join},
                       {"event_pingpong", pingpong},
                       {"queue_pingpong", pingpong},
                       {"queue_stream", queue_stream}});
}
