// The kernel refuses to register a descriptor: fs.epoll.max_user_watches is reached, or memory is.
// An epoll_ctl of this program's own stands before that of the system, also for libev, which does
// not go through green::sys.

#include <cerrno>
#include <optional>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/fd.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>
#include <green/sys.hpp>
#include <green/watcher.hpp>

#include "loop/ev_reactor.hpp"
#include "sched/hub.hpp"
#include "support/faults.hpp"
#include "support/left_behind.hpp"
#include "support/pipe.hpp"
#include "support/run_green.hpp"
#include "support/streams.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::error_of;
using tests::LeftBehind;
using tests::Pipe;
using tests::run_green_for_real;
using tests::settle;

namespace {

thread_local int until_refused = -1;  // registrations that still succeed; negative: all

/// Refuses one registration of this thread, while it lives: the one after so many.
struct Refusal {
    explicit Refusal(int after) { until_refused = after; }
    Refusal(const Refusal&) = delete;
    Refusal& operator=(const Refusal&) = delete;
    ~Refusal() { until_refused = -1; }
    [[nodiscard]] static bool happened() { return until_refused < 0; }
};

}  // namespace

// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name)
extern "C" int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
    if (operation == EPOLL_CTL_ADD && until_refused >= 0 && until_refused-- == 0) {
        errno = ENOSPC;
        return -1;
    }
    return static_cast<int>(::syscall(SYS_epoll_ctl, epoll, operation, fd, event));
}

TEST_CASE("epoll refused: a hub that would hear nothing is not made", "[core][hub]") {
    int refused = 0;
    for (bool more = true; more; ++refused) {
        INFO("registration number " << refused << " is refused");
        const std::size_t descriptors = tests::open_descriptors();
        std::optional<detail::Hub> hub;
        int error = 0;
        {
            const Refusal refusal{refused};
            error = error_of([&] { hub.emplace(detail::make_ev_reactor()); });
            more = Refusal::happened();
        }
        CHECK(error == (more ? ENOSPC : 0));
        if (!hub) {
            CHECK(tests::open_descriptors() == descriptors);
            continue;
        }
        Pipe pipe;
        auto reader = spawn([&] { return pipe.reader.wait_readable(10s); });
        Event posted;
        std::thread([&, ref = HubRef{}] { ref.post([&] { posted.set(); }); }).join();
        CHECK(posted.wait(10s));
        pipe.put();
        CHECK(reader.get());
    }
    CHECK(refused > 1);
}

TEST_CASE("epoll refused: an io watcher that would hear nothing is not started",
          "[core][watcher]") {
    const int after = GENERATE(0, 1);
    run_green_for_real([&] {
        const Pipe pipe;
        int runs = 0;
        IoWatcher watcher{pipe.reader.number(), IoEvents::read};
        const auto once = [&] {
            ++runs;
            watcher.stop();
        };
        {
            const Refusal refusal{after};
            CHECK(error_of([&] { watcher.start(once); }) == ENOSPC);
            CHECK(Refusal::happened());
        }
        CHECK_FALSE(watcher.active());
        pipe.put();
        settle();
        CHECK(runs == 0);
        watcher.start(once);
        CHECK(hub_join(10s));
        CHECK(runs == 1);
    });
}

TEST_CASE("epoll refused: a watcher of the wall clock that would hear nothing is not started",
          "[core][watcher]") {
    run_green_for_real([] {
        const std::size_t descriptors = tests::open_descriptors();
        int runs = 0;
        PeriodicWatcher watcher{std::chrono::system_clock::now()};
        {
            const Refusal refusal{0};
            CHECK(error_of([&] { watcher.start([&] { ++runs; }); }) == ENOSPC);
            CHECK(Refusal::happened());
        }
        CHECK_FALSE(watcher.active());
        CHECK(tests::open_descriptors() == descriptors);
        watcher.start([&] { ++runs; });
        CHECK(hub_join(10s));
        CHECK(runs == 1);
    });
}

TEST_CASE("epoll refused: a set of watchers that was made anew is registered later",
          "[core][watcher]") {
    run_green_for_real([] {
        const Pipe pipe;
        int runs = 0;
        IoWatcher watcher{pipe.reader.number(), IoEvents::read};
        watcher.start([&] {
            ++runs;
            pipe.take();
        });
        const LeftBehind left;
        settle();  // all that there is so far is registered
        left.become_readable();
        {
            const Refusal refusal{1};  // the watcher's is the first, and the set's comes then
            while (!Refusal::happened()) settle();
        }
        pipe.put();
        CHECK(runs == 0);
        while (runs == 0) settle();
        CHECK(runs == 1);
        watcher.stop();
    });
}
