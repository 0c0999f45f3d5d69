#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/fd.hpp>
#include <green/green.hpp>

#include "loop/ev_reactor.hpp"
#include "loop/fd_table.hpp"
#include "sched/hub.hpp"
#include "support/pipe.hpp"
#include "support/run_green.hpp"
#include "support/streams.hpp"
#include "support/worlds.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::error_of;
using tests::in_every_world;
using tests::Pipe;
using tests::settle;

TEST_CASE("fd: moving hands the number over, and the last owner closes it", "[core][net]") {
    in_every_world([&] {
        Pipe pipe;
        const int number = pipe.reader.number();
        Fd other = std::move(pipe.reader);
        CHECK_FALSE(pipe.reader.is_open());
        CHECK(other.number() == number);
        other = Fd{};
        CHECK(sys::fcntl(number, F_GETFD).error == EBADF);
        other.close();  // twice is silent
        CHECK(other.number() == -1);
    });
}

TEST_CASE("fd: waiting for reading ends when a byte comes, and again only for the next",
          "[core][net]") {
    in_every_world([&] {
        Pipe pipe;
        CHECK_FALSE(pipe.reader.wait_readable(Deadline::passed()));
        auto waiter = spawn([&] { return pipe.reader.wait_readable(); });
        settle();
        CHECK_FALSE(waiter.ready());
        pipe.put("x");
        CHECK(waiter.get());
        CHECK(pipe.reader.wait_readable(Deadline::passed()));  // still there
        char byte;
        CHECK(sys::read(pipe.reader.number(), &byte, 1).value == 1);
        CHECK_FALSE(pipe.reader.wait_readable(1ms));
        pipe.writer.close();
        CHECK(pipe.reader.wait_readable());  // the end is readable
    });
}

TEST_CASE("fd: waiting for writing ends when there is room", "[core][net]") {
    in_every_world([&] {
        Pipe pipe;
        CHECK(pipe.writer.wait_writable());
        const std::string block(4096, 'b');
        while (sys::write(pipe.writer.number(), block.data(), block.size()).ok()) {
        }
        auto waiter = spawn([&] { return pipe.writer.wait_writable(); });
        settle();
        CHECK_FALSE(waiter.ready());
        std::string sink(65536, ' ');
        while (sys::read(pipe.reader.number(), sink.data(), sink.size()).value > 0) {
        }
        CHECK(waiter.get());
    });
}

TEST_CASE("fd: closing wakes its waiters with EBADF, also when the number is in use again",
          "[core][net]") {
    in_every_world([&] {
        Pipe pipe;
        const int number = pipe.reader.number();
        auto waiter = spawn([&] { return error_of([&] { (void)pipe.reader.wait_readable(); }); });
        settle();
        pipe.reader.close();
        Pipe next;  // takes the number
        REQUIRE((next.reader.number() == number || next.writer.number() == number));
        next.put("not for the first one");
        CHECK(waiter.get() == EBADF);
        CHECK(error_of([&] { (void)pipe.reader.wait_readable(); }) == EBADF);
    });
}

TEST_CASE("fd: release keeps it open and wakes its waiters with EBADF", "[core][net]") {
    in_every_world([&] {
        Pipe pipe;
        auto waiter = spawn([&] { return error_of([&] { (void)pipe.reader.wait_readable(); }); });
        settle();
        Fd again{pipe.reader.release()};
        CHECK(waiter.get() == EBADF);
        pipe.put("x");
        CHECK(again.wait_readable(1s));
    });
}

TEST_CASE("fd: a second waiter in one direction is refused and the first is undisturbed",
          "[core][net]") {
    in_every_world([&] {
        Pipe pipe;
        auto first = spawn([&] { return pipe.reader.wait_readable(); });
        settle();
        CHECK_THROWS_AS(pipe.reader.wait_readable(), ConcurrentUse);
        CHECK_THROWS_AS(pipe.reader.wait_readable(Deadline::passed()), ConcurrentUse);
        CHECK_FALSE(first.ready());
        pipe.put("x");
        CHECK(first.get());
    });
}

TEST_CASE("fd: a kill while waiting leaves no trace and the descriptor usable", "[core][net]") {
    in_every_world([&] {
        Pipe pipe;
        settle();
        const HubFigures before = hub_figures();
        auto waiter = spawn([&] { return pipe.reader.wait_readable(1h); });
        settle();
        CHECK(hub_figures().outside == before.outside + 1);
        waiter.kill();
        const HubFigures after = hub_figures();
        CHECK(after.outside == before.outside);
        CHECK(after.timers == before.timers);
        CHECK(after.greenlets == before.greenlets);
        pipe.put("x");
        CHECK(pipe.reader.wait_readable(1s));
    });
}

TEST_CASE("fd: a failing epoll_ctl is an error of the wait, and the next wait works",
          "[core][net]") {
    struct NoEpoll final : sys::Injector {
        int before(sys::Call call, int) noexcept override {
            return call == sys::Call::epoll_ctl ? ENOSPC : 0;
        }
    } injector;
    Pipe pipe;
    (void)sys::set_injector(&injector);
    const int error = error_of([&] { (void)pipe.reader.wait_readable(1s); });
    (void)sys::set_injector(nullptr);
    CHECK(error == ENOSPC);
    pipe.put("x");
    CHECK(pipe.reader.wait_readable(1s));
}

TEST_CASE("fd: a descriptor that never waits needs no hub", "[core][net]") {
    bool made = true;
    std::thread([&] {
        Pipe pipe;
        CHECK_FALSE(pipe.reader.wait_readable(Deadline::passed()));
        pipe.put("x");
        CHECK(pipe.reader.wait_readable(Deadline::passed()));
        pipe.reader.close();
        made = detail::Hub::current_or_null() != nullptr;
    }).join();
    CHECK_FALSE(made);
}

// --- the table, on a reactor that reports what it is told to ---

namespace {

struct SilentReactor final : detail::Reactor {
    void attach(detail::ReactorSink&) noexcept override {}
    TimePoint now() noexcept override { return {}; }
    int watch(int, std::uint32_t now_watched) noexcept override {
        generation = now_watched;
        return 0;
    }
    void unwatch(int) noexcept override { ++unwatched; }
    void watch_signal(int) override {}
    void unwatch_signal(int) noexcept override {}
    void wait(TimePoint) noexcept override {}
    void notify() noexcept override {}

    std::uint32_t generation = 0;
    int unwatched = 0;
};

}  // namespace

TEST_CASE("fd: one that outlives its hub can be waited for in the next one at the same address",
          "[core][net]") {
    std::optional<detail::Hub> hub;
    hub.emplace(detail::make_ev_reactor());
    Pipe pipe;
    CHECK_FALSE(pipe.reader.wait_readable(1ms));
    hub.reset();
    hub.emplace(detail::make_ev_reactor());
    CHECK_FALSE(pipe.reader.wait_readable(1ms));
    pipe.put();
    CHECK(pipe.reader.wait_readable(1s));
}

TEST_CASE("fd table: a report for an earlier life of the number changes nothing", "[core][net]") {
    SilentReactor reactor;
    detail::FdTable table{reactor};
    table.open(7);
    detail::FdEntry& entry = table.entry(7);
    table.watch(7, entry);
    const std::uint32_t stale = reactor.generation;
    table.close(7);
    CHECK(reactor.unwatched == 1);

    table.open(7);
    table.watch(7, entry);
    REQUIRE(reactor.generation != stale);
    auto& side = entry.side(detail::Direction::read);
    side.worth_trying = false;
    table.on_ready(7, stale, {true, true, true});
    CHECK_FALSE(side.worth_trying);
    CHECK_FALSE(entry.more_behind);
    table.on_ready(7, reactor.generation, {true, false, false});
    CHECK(side.worth_trying);
}

TEST_CASE("fd table: a report for a number that is not there is ignored", "[core][net]") {
    SilentReactor reactor;
    detail::FdTable table{reactor};
    table.on_ready(1000, 1, {true, true, true});
    table.close(1000);
    CHECK(reactor.unwatched == 0);
}
