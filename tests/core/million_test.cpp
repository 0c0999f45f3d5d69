// A million greenlets at a time, each on a stack with a guard. Needs several GiB of memory, and is
// left out, with a warning, where there are not as many.

#include <cerrno>
#include <cstdint>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "sched/hub.hpp"
#include "sched/stack_pool.hpp"
#include "support/memory.hpp"
#include "support/run_green.hpp"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

using green::detail::StackPool;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t sleepers = 10'000;  // the sanitizers have memory of their own for each stack
#else
constexpr std::size_t sleepers = 1'000'000;
#endif
constexpr std::size_t moments = 1000;  // at each of which one in a thousand wakes
constexpr std::uint64_t bytes_each = 5'500;
constexpr std::size_t stack_size = 64 * 1024;

/// Whether this kernel has guards that cost no mapping.
bool has_light_guards() {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    void* const memory =
        ::mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    const bool has = ::madvise(memory, page, MADV_GUARD_INSTALL) == 0;
    ::munmap(memory, page);
    return has;
}

/// As the kernel sees it: nobody may read what lies right below the stack.
bool is_guarded(const green::detail::Stack& stack, const green::Fd& eventfd) {
    constexpr std::size_t size = sizeof(std::uint64_t);  // what an eventfd takes
    return ::write(eventfd.number(), stack.low - size, size) == -1 && errno == EFAULT;
}

}  // namespace

TEST_CASE("million: as many greenlets sleep, each above a guard, and wake in order",
          "[core][stack]") {
    if (const auto available = tests::available_memory(); available < sleepers * bytes_each) {
        WARN("left out: " << sleepers << " greenlets need " << sleepers * bytes_each / 1'000'000
                          << " MB of memory, " << available / 1'000'000 << " MB are available");
        return;
    }
    rlimit address_space{};
    REQUIRE(::getrlimit(RLIMIT_AS, &address_space) == 0);
    if (address_space.rlim_cur / stack_size < 2 * sleepers) {
        WARN("left out: " << sleepers << " stacks need more address space than `ulimit -v` allows");
        return;
    }
    const auto body = [](tests::VirtualReactor&) {
        // Neighbours wake at different moments, and at each the one that went to sleep first does.
        const auto moment_of = [](std::size_t number) { return number * 7 % moments; };
        std::vector<green::AnyGreenlet> all;
        all.reserve(sleepers);
        std::size_t asleep = 0;
        std::size_t woken = 0;
        std::size_t last = 0;  // what was the place of the one that woke last, from 1 on
        bool in_order = true;
        bool in_time = true;
        const green::TimePoint start = green::now();
        for (std::size_t i = 0; i < sleepers; ++i) {
            all.push_back(green::spawn([&, i] {
                const auto wakes = start + std::chrono::milliseconds(1 + moment_of(i));
                ++asleep;
                green::sleep_until(wakes);
                ++woken;
                const std::size_t place = moment_of(i) * sleepers + i + 1;
                in_order &= place > last;
                last = place;
                in_time &= green::now() == wakes;
            }));
        }
        tests::settle();
        CHECK(asleep == sleepers);
        CHECK(woken == 0);
        const green::HubFigures figures = green::hub_figures();
        CHECK(figures.greenlets == sleepers);
        CHECK(figures.stacks == sleepers);
        CHECK(figures.timers == sleepers);

        const StackPool& pool = green::detail::Hub::current().stacks();
        if (has_light_guards()) {
            CHECK(pool.guard() == StackPool::Guard::installed);
            std::size_t guarded = 0;
            const green::Fd eventfd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
            for (const auto& one : all) guarded += is_guarded(*one.task().stack, eventfd);
            CHECK(guarded == sleepers);
        } else {
            WARN("this kernel has no MADV_GUARD_INSTALL: later stacks have only a canary");
        }

        green::joinall(all);
        CHECK(woken == sleepers);
        CHECK(in_order);
        CHECK(in_time);
    };
    tests::run_green(body, {.stack_size = stack_size});
}
