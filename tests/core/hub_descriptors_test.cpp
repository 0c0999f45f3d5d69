// What a hub knows of descriptors, those that it is made of included.

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/detail/fd_wait.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>
#include <green/watcher.hpp>

#include "sched/sanitizer.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;
namespace gd = green::detail;

TEST_CASE("hub: a report of a descriptor's former life does not reach the next", "[core][hub]") {
    run_green([](tests::VirtualReactor& world) {
        constexpr int fd = 100;
        gd::FdTable& table = gd::Hub::current().fds();
        table.open(fd);
        auto wait = [] {
            gd::FdNode node{fd, gd::Direction::read};
            node.blocked();
            (void)gd::park(node, green::Deadline::never());
        };
        const tests::Errors errors;
        auto first = green::spawn(wait);
        settle();
        const auto old_generation = table.entry(fd).generation;
        table.close(fd);
        settle();
        CHECK_FALSE(first.successful());
        CHECK(errors.all.at(0).find("closed by another greenlet") != std::string::npos);

        table.open(fd);
        auto second = green::spawn(wait);
        settle();
        world.report_stale(fd, old_generation);
        settle();
        CHECK_FALSE(second.ready());
        world.make_ready(fd, {true, false});
        settle();
        CHECK(second.successful());
        table.close(fd);
    });
}

TEST_CASE("hub: a second greenlet that waits for the same side is refused, the first undisturbed",
          "[core][hub]") {
    run_green([](tests::VirtualReactor& world) {
        constexpr int fd = 100;
        gd::FdTable& table = gd::Hub::current().fds();
        table.open(fd);
        auto wait = [](gd::Direction direction) {
            gd::FdNode node{fd, direction};
            node.blocked();
            return gd::park(node, green::Deadline::never());
        };
        auto reader = green::spawn(wait, gd::Direction::read);
        auto writer = green::spawn(wait, gd::Direction::write);
        settle();
        CHECK_THROWS_AS(wait(gd::Direction::read), green::ConcurrentUse);
        world.make_ready(fd, {true, false});
        settle();
        CHECK(reader.ready());
        CHECK_FALSE(writer.ready());
        writer.kill();
        table.close(fd);
    });
}

#if !GREEN_ADDRESS_SANITIZER  // its companion for types needs descriptors itself
namespace {

void spawn_one() {
    green::spawn([] {}).join();
}
void sleep_a_little() { green::sleep(1ms); }
void await_wall_clock() {  // by libev, which has descriptors of its own
    green::PeriodicWatcher watcher{std::chrono::system_clock::now()};
    watcher.start([] {});
    (void)green::hub_join(10s);
}

/// Makes a hub, by what needs one, in a child that may open so many descriptors more. Returns 0
/// when it works, the errno with which it is refused, and -1 when the child dies.
int hub_with_descriptors(unsigned left, void (*need)()) {
    const pid_t child = ::fork();
    if (child == 0) {
        const int top = ::dup(STDERR_FILENO);
        ::close(top);
        const rlimit limit{static_cast<rlim_t>(top) + left, static_cast<rlim_t>(top) + left};
        if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) ::_exit(99);
        try {
            need();
            ::_exit(0);
        } catch (const std::system_error& error) {
            ::_exit(error.code().value());
        }
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST_CASE("hub: one for which there are too few descriptors is not made, and the process lives",
          "[core][hub]") {
    void (*const need)() = GENERATE(&spawn_one, &sleep_a_little, &await_wall_clock);
    const unsigned fewest = need == &await_wall_clock ? 3 : 2;
    const unsigned enough = 10;
    for (unsigned left = 0; left <= enough; ++left) {
        INFO(left << " descriptors are left");
        int ended = -1;
        // A thread that has no hub yet.
        std::thread([&] { ended = hub_with_descriptors(left, need); }).join();
        CHECK((ended == EMFILE || (left >= fewest && ended == 0)));
        if (left == enough) CHECK(ended == 0);
    }
}

TEST_CASE("hub: one whose descriptors somebody else has closed ends the process", "[core][hub]") {
    std::thread([] {  // without a hub of its own
        const pid_t child = ::fork();
        if (child == 0) {
            green::sleep(1ms);
            (void)::close_range(3, ~0U, 0);
            (void)::dup2(::open("/dev/null", O_WRONLY), STDERR_FILENO);
            green::sleep(1ms);
            ::_exit(0);
        }
        int status = 0;
        CHECK(::waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status));
        CHECK(WTERMSIG(status) == SIGABRT);
    })
        .join();
}
#endif
