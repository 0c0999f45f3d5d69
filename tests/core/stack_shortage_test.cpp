// When there is no memory for another stack, or little room on one.

#include <cerrno>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>
#include <green/joinall.hpp>

#include "sched/sanitizer.hpp"
#include "support/faults.hpp"
#include "support/run_green.hpp"
#include "support/stopwatch.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::Stopwatch;

namespace {

/// What a greenlet captures and takes its time to go.
struct Waits {
    explicit Waits(bool& its_end) : gone{&its_end} {}
    Waits(Waits&& other) noexcept : gone{std::exchange(other.gone, nullptr)} {}
    Waits& operator=(Waits&&) = delete;
    ~Waits() {
        if (gone == nullptr) return;
        green::sleep(20ms);
        *gone = true;
    }
    bool* gone;
};

bool is_out_of_memory(const green::AnyGreenlet& greenlet) {
    try {
        std::rethrow_exception(greenlet.exception());
    } catch (const std::system_error& error) {
        return error.code().value() == ENOMEM;
    }
}

}  // namespace

TEST_CASE("stack shortage: who gets no stack fails, and what it captured may wait all the same",
          "[core][stack]") {
    const bool hub_finds_it = GENERATE(false, true);
    CAPTURE(hub_finds_it);
    run_green([hub_finds_it] {
        const tests::Errors errors;
        green::Event never;
        std::optional<tests::FailNth> no_memory{std::in_place, std::size_t{0}, ENOMEM,
                                                green::sys::Call::mmap, true};
        std::vector<green::AnyGreenlet> sleepers;
        while (!no_memory->fired()) {
            sleepers.push_back(green::spawn([&never] { never.wait(); }));
            green::yield();
        }
        REQUIRE(sleepers.back().outcome() == green::Outcome::failed);
        CHECK(is_out_of_memory(sleepers.back()));

        bool gone[3] = {};
        std::vector<green::AnyGreenlet> failing;
        for (bool& flag : gone) {
            auto body = [waits = Waits{flag}] {};
            failing.push_back(hub_finds_it ? green::spawn_later(1ms, std::move(body))
                                           : green::spawn(std::move(body)));
        }
        const Stopwatch elapsed;
        CHECK_FALSE(never.wait(50ms));
        CHECK(elapsed() == 50);
        for (const auto& greenlet : failing) {
            CHECK(greenlet.join());
            CHECK(is_out_of_memory(greenlet));
        }
        for (const bool flag : gone) CHECK(flag);
        CHECK(errors.count() == 4);

        no_memory.reset();
        CHECK(green::spawn([] { return 7; }).get() == 7);
        green::killall(sleepers);
    });
}

#if !GREEN_ADDRESS_SANITIZER  // under which stacks are larger
namespace {

template <std::size_t... I>
struct LongName {
    bool fails;
    void operator()() const {
        if (fails) throw std::runtime_error("it fails");
        green::Event{}.wait();
    }
};
template <std::size_t... I>
LongName<I...> long_name(bool fails, std::index_sequence<I...>) {
    return {fails};
}

template <std::size_t length>
void check_long_name() {
    const auto indices = std::make_index_sequence<length / 6>{};
    run_green(
        [indices](tests::VirtualReactor&) {
            const tests::Errors errors;
            green::spawn(long_name(true, indices)).join();
            CHECK(errors.count() == 1);
            auto waits = green::spawn(long_name(false, indices));
            CHECK_THROWS_AS(waits.join(), green::LoopExit);
            waits.kill();
        },
        {.stack_size = 32UL * 1024});
}

}  // namespace

TEST_CASE("stack shortage: reports of long names do not use up a small stack", "[core][stack]") {
    check_long_name<400>();
    check_long_name<1000>();
    check_long_name<3000>();
}
#endif
