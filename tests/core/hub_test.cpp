#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <exception>
#include <fcntl.h>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/detail/fd_wait.hpp>
#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>
#include <green/joinall.hpp>
#include <green/select.hpp>
#include <green/shield.hpp>
#include <green/timeout.hpp>
#include <green/wait.hpp>
#include <green/watcher.hpp>

#include "loop/ev_reactor.hpp"
#include "sched/sanitizer.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;
namespace gd = green::detail;

TEST_CASE("hub: two greenlets with two steps each give A1 A2 B1 B2", "[core][hub]") {
    run_green([] {
        std::string log;
        for (const char who : {'1', '2'}) {
            green::spawn([&log, who] {
                log += std::string("A") + who;
                green::yield();
                log += std::string("B") + who;
            });
        }
        settle();
        CHECK(log == "A1A2B1B2");
    });
}

TEST_CASE("hub: when nothing can wake anybody main gets LoopExit with who waits on what",
          "[core][hub]") {
    run_green([] {
        green::Event never;
        auto waiter = green::spawn([&] { never.wait(); });
        waiter.set_name("the other one");
        std::string text;
        try {
            waiter.join();
        } catch (const green::LoopExit& exit) {
            text = exit.what();
        }
        INFO(text);
        CHECK(text.find("main: waits on the end of the other one") != std::string::npos);
        CHECK(text.find("the other one: waits on an event") != std::string::npos);
        CHECK(text.find("spawned at") != std::string::npos);
        // The hub is as usable as before, and the greenlet still waits.
        green::sleep(1ms);
        never.set();
        CHECK(waiter.join());
    });
}

TEST_CASE("hub: in a virtual world waiting for a descriptor that nobody moves is a deadlock too",
          "[core][hub]") {
    run_green([](tests::VirtualReactor& world) {
        constexpr int fd = 100;
        gd::FdTable& table = gd::Hub::current().fds();
        table.open(fd);
        const auto wait = [] {
            gd::FdNode node{fd, gd::Direction::read};
            node.blocked();
            (void)gd::park(node, green::Deadline::never());
        };
        CHECK_THROWS_AS(wait(), green::LoopExit);
        // What is still to come is waited for, and time goes on until then.
        const green::TimePoint start = green::now();
        world.at(start + 1h, [&] { world.make_ready(fd, {true, false}); });
        wait();
        CHECK(green::now() == start + 1h);
        table.close(fd);
    });
}

TEST_CASE("hub: a callback that waits is told so and the hub goes on", "[core][hub]") {
    run_green([] {
        const tests::Errors errors;
        green::HubRef{}.post([] { green::sleep(1ms); });
        green::HubRef{}.post([] { throw std::runtime_error("boom"); });
        green::sleep(5ms);
        REQUIRE(errors.count() == 2);
        CHECK(errors.all[0].find("must not wait") != std::string::npos);
        CHECK(errors.all[1].find("boom") != std::string::npos);
    });
}

TEST_CASE("hub: waiting inside a NoSwitch fence is refused", "[core][hub]") {
    run_green([] {
        {
            const green::NoSwitch fence{"updating the roster"};
            CHECK_THROWS_WITH(green::yield(), Catch::Contains("updating the roster"));
            CHECK_THROWS_AS(green::sleep(1ms), green::BlockingInHub);
        }
        green::yield();
    });
}

TEST_CASE("hub: an error handler that throws loses nothing", "[core][hub]") {
    run_green([] {
        green::set_error_handler([](const green::ErrorReport&) { throw 1; });
        for (int i = 0; i < 100; ++i) {
            auto greenlet = green::spawn([] { throw std::runtime_error("boom"); });
            CHECK_THROWS_WITH(greenlet.get(), "boom");
        }
        green::set_error_handler({});
    });
}

TEST_CASE("hub: a thread wakes a sleeping hub", "[core][hub]") {
    tests::run_green_for_real([] {
        green::Event event;
        int calls = 0;
        const green::HubRef hub;
        std::thread thread;
        auto waiter = green::spawn([&] {
            // The sleep keeps the hub alive; what ends it is the post.
            while (!event.wait(1h)) {
            }
        });
        green::yield();
        thread = std::thread([&] {
            for (int i = 0; i < 10; ++i) {
                hub.post([&] {
                    if (++calls == 10) event.set();
                });
            }
        });
        CHECK(waiter.join());
        thread.join();
        CHECK(calls == 10);
    });
}

TEST_CASE("hub: posting to one that has gone drops the function, where it was posted",
          "[core][hub]") {
    auto token = std::make_shared<int>(0);
    std::optional<green::HubRef> hub;
    std::thread{[&] { hub.emplace(); }}.join();  // the thread's hub goes with it
    CHECK_FALSE(hub->post([token] { FAIL("it ran"); }));
    CHECK(token.use_count() == 1);
    CHECK_THROWS_AS(hub->post({}), green::UsageError);
}

TEST_CASE("hub: what is posted and not run when it goes is dropped by it", "[core][hub]") {
    std::thread::id of_hub;
    std::thread::id of_end;
    std::thread{[&] {
        of_hub = std::this_thread::get_id();
        const green::HubRef hub;
        std::thread{[&] {
            const std::shared_ptr<void> held{nullptr,
                                             [&](void*) { of_end = std::this_thread::get_id(); }};
            CHECK(hub.post([held] { FAIL("it ran"); }));
        }}.join();
    }}.join();
    CHECK(of_end == of_hub);
}

TEST_CASE("hub: greenlets that its last posts would start are unwound too", "[core][hub]") {
    auto token = std::make_shared<int>(0);
    {
        gd::Hub hub{std::make_unique<tests::VirtualReactor>()};
        const std::shared_ptr<void> starts_another{
            nullptr, [token](void*) { green::spawn([token] { green::sleep(1h); }); }};
        green::HubRef{}.post([starts_another] {});
    }
    CHECK(token.use_count() == 1);
}

TEST_CASE("hub: threads may post while it comes and goes", "[core][hub]") {
    auto token = std::make_shared<int>(0);
    std::atomic<int> accepted{0};
    std::atomic<int> ran{0};
    std::atomic<bool> done{false};
    std::mutex mutex;  // for the reference only
    std::optional<green::HubRef> shared;
    std::thread poster{[&] {
        while (!done) {
            std::optional<green::HubRef> hub;
            {
                const std::lock_guard lock{mutex};
                hub = shared;
            }
            if (hub && hub->post([&, token] { ++ran; })) ++accepted;
        }
    }};
    for (int i = 0; i < 200; ++i) {
        gd::Hub hub{gd::make_ev_reactor()};
        {
            const std::lock_guard lock{mutex};
            shared.emplace();
        }
        if (i % 4 == 0) {
            for (const int before = accepted; accepted == before;) std::this_thread::yield();
        }
        for (int turn = 0; turn < i % 3; ++turn) settle();
    }
    done = true;
    poster.join();
    CHECK(token.use_count() == 1);  // each was run or dropped, none forgotten
    CHECK(ran > 0);
    CHECK(ran <= accepted);
}

TEST_CASE("hub: a busy ring still looks outside", "[core][hub]") {
    run_green([] {
        bool posted = false;
        auto busy = green::spawn([&] {
            while (!posted) green::yield();
        });
        green::yield();
        green::HubRef{}.post([&] { posted = true; });
        CHECK(busy.join());
    });
}

TEST_CASE("hub: a budget without a limit of time is one of switches", "[core][hub]") {
    const auto body = [](tests::VirtualReactor& world) {
        auto busy = green::spawn([&] {
            for (int i = 0; i < 1000; ++i) {
                world.advance(1s);
                green::yield();
            }
        });
        auto other = green::spawn([&] {
            while (!busy.ready()) green::yield();
        });
        const std::uint64_t turns = green::hub_figures().turns;
        busy.join();
        CHECK(green::hub_figures().turns - turns < 10);
        other.join();
    };
    run_green(body, {.budget_time = green::Duration::max()});
}

TEST_CASE("hub: join waits until nothing can happen any more", "[core][hub]") {
    run_green([] {
        CHECK(green::hub_join());
        CHECK(green::hub_join(green::Deadline::passed()));
        const green::TimePoint begin = green::now();
        int ended = 0;
        green::Event never;
        auto stuck = green::spawn([&] { never.wait(); });
        auto sleeper = green::spawn([&] {
            green::sleep(5ms);
            green::spawn([&] {
                green::sleep(5ms);
                ++ended;
            });
            ++ended;
        });
        CHECK_FALSE(green::hub_join(green::Deadline::passed()));
        CHECK_FALSE(green::hub_join(2ms));
        CHECK(green::now() - begin == 2ms);
        CHECK(green::hub_join(1h));
        CHECK(ended == 2);
        CHECK(green::now() - begin == 10ms);
        CHECK_FALSE(stuck.ready());
        CHECK(green::hub_join());
        // The hub is as usable as before.
        never.set();
        CHECK(green::hub_join());
        CHECK(stuck.ready());
    });
}

TEST_CASE("hub: join waits for what was posted and for watchers, not for its own limit",
          "[core][hub]") {
    run_green([] {
        const green::TimePoint begin = green::now();
        bool posted = false;
        green::HubRef{}.post([&] { posted = true; });
        CHECK(green::hub_join(1h));
        CHECK(posted);
        CHECK(green::now() == begin);
        green::TimerWatcher timer{3ms};
        timer.start([] {});
        CHECK(green::hub_join(1h));
        CHECK(green::now() - begin == 3ms);
        CHECK(green::hub_figures().timers == 0);
    });
}

TEST_CASE("hub: a sleep, a time and a scope without ref do not keep it alive", "[core][hub]") {
    run_green([] {
        const green::TimePoint begin = green::now();
        auto sleeper = green::spawn([] { green::sleep(1h, {.ref = false}); });
        auto until = green::spawn([&] { green::sleep_until(begin + 1h, {.ref = false}); });
        auto waiter = green::spawn([] { green::select(green::after(1h, {.ref = false})); });
        green::Event never;
        auto limited = green::spawn([&] {
            const green::TimeoutScope scope{1h, {.ref = false}};
            never.wait();
        });
        auto own_error = green::spawn([&] {
            const green::TimeoutScope scope{
                1h, std::make_exception_ptr(std::runtime_error("late")), {.ref = false}};
            never.wait();
        });
        CHECK(green::hub_join());
        CHECK(green::now() == begin);
        CHECK_THROWS_AS(never.wait(), green::LoopExit);
        CHECK_THROWS_AS(green::sleep(1h, {.ref = false}), green::LoopExit);
        CHECK(green::hub_figures().timers == 5);
        // Where something else does, they go on.
        const tests::Errors errors;
        green::sleep(1h);
        CHECK(sleeper.ready());
        CHECK(until.ready());
        CHECK(waiter.ready());
        CHECK_THROWS_AS(limited.get(), green::Timeout);
        CHECK_THROWS_WITH(own_error.get(), "late");
    });
}

TEST_CASE("hub: its figures say how long what is ready waits for its turn", "[core][hub]") {
    run_green([](tests::VirtualReactor& world) {
        green::sleep(1ms);
        CHECK(green::hub_figures().longest_lag == 0ms);
        const auto compute = [&world](green::Duration how_long) {
            green::sleep(1ms);
            world.advance(how_long);  // without giving way
        };
        auto first = green::spawn(compute, 30ms);
        auto second = green::spawn(compute, 12ms);
        green::joinall({first, second});
        green::sleep(1ms);
        CHECK(green::hub_figures().longest_lag == 42ms);
        green::spawn(compute, 5ms).join();
        green::sleep(1ms);
        CHECK(green::hub_figures().lag == 5ms);
        green::sleep(1ms);
        CHECK(green::hub_figures().lag == 0ms);
        CHECK(green::hub_figures().longest_lag == 42ms);
        // Time in which nobody is ready is none.
        green::sleep(1h);
        green::yield();
        CHECK(green::hub_figures().longest_lag == 42ms);
    });
}

TEST_CASE("hub: who waits longer than a turn lasts is seen at full length", "[core][hub]") {
    green::HubOptions config;
    config.budget_switches = 2;
    tests::run_green(
        [](tests::VirtualReactor& world) {
            std::vector<green::AnyGreenlet> crowd;
            for (int i = 0; i < 10; ++i) {
                crowd.push_back(green::spawn([&world] {
                    for (int step = 0; step < 3; ++step) {
                        green::yield();
                        world.advance(1ms);
                    }
                }));
            }
            green::joinall(crowd);
            CHECK(green::hub_figures().longest_lag >= 9ms);
            CHECK(green::hub_figures().longest_lag <= 11ms);
        },
        config);
}

TEST_CASE("hub: join is for main, and can be interrupted", "[core][hub]") {
    run_green([] {
        const tests::Errors errors;
        auto other = green::spawn([] { green::hub_join(); });
        CHECK_THROWS_AS(other.get(), green::UsageError);
        green::HubRef{}.post([] { green::hub_join(); });
        settle();
        REQUIRE(errors.count() == 2);
        CHECK(errors.all[1].find("must not wait") != std::string::npos);

        auto main = green::current();
        auto killer = green::spawn([main] {
            green::sleep(1ms);
            main.kill_soon(std::make_exception_ptr(std::runtime_error("enough")));
            green::sleep(1ms);
        });
        CHECK_THROWS_WITH(green::hub_join(), "enough");
        CHECK(green::hub_join());  // the seat is free again
        CHECK(killer.ready());
    });
}

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

TEST_CASE("hub: a crowd is woken in order, whoever of it and behind it is killed meanwhile",
          "[core][hub]") {
    // More than a turn has budget for, and than the scout needs to set out.
    static constexpr int many = 500;
    green::HubOptions config;
    config.budget_switches = 97;
    run_green(
        [](tests::VirtualReactor&) {
            std::mt19937_64 random{tests::seed()};
            const green::TimePoint morning = green::now() + 1s;
            std::vector<int> woken;
            std::vector<green::AnyGreenlet> unborn;
            std::vector<green::AnyGreenlet> crowd;
            int births = 0;
            for (int i = 0; i < many; ++i) {
                crowd.push_back(green::spawn([&, i] {
                    green::sleep_until(morning);
                    woken.push_back(i);
                    // Behind the crowd stand fresh ones; some die there before they have run.
                    unborn.push_back(green::spawn([&births] { ++births; }));
                    if (random() % 2 == 0) {
                        std::swap(unborn.back(), unborn[random() % unborn.size()]);
                        unborn.back().kill_soon();
                        unborn.pop_back();
                    }
                    if (random() % 8 == 0) crowd[random() % crowd.size()].kill_soon();
                    if (random() % 4 == 0) green::yield();
                }));
            }
            green::sleep_until(morning + 1ms);
            settle();
            CHECK(std::is_sorted(woken.begin(), woken.end()));
            CHECK(woken.size() > many / 2);
            CHECK(woken.size() < many);
            CHECK(births >= static_cast<int>(unborn.size()));
            for (const auto& greenlet : crowd) CHECK(greenlet.ready());
        },
        config);
}

TEST_CASE("hub: a limit that had passed lets nobody run, one that passes now lets all run once",
          "[core][hub]") {
    run_green([](tests::VirtualReactor& world) {
        green::Event never;
        int ran = 0;
        auto other = green::spawn([&] {
            for (;;) {
                ++ran;
                green::yield();
            }
        });
        CHECK_FALSE(never.wait(green::Deadline::at(green::now())));
        CHECK(ran == 0);
        world.advance(5ms);
        CHECK_FALSE(never.wait(green::Deadline::at(green::now() - 1ms)));
        CHECK(ran > 0);
        ran = 0;
        CHECK_FALSE(never.wait(green::Deadline::at(green::now() - 1ms)));  // it has looked since
        CHECK(ran == 0);
        other.kill();
    });
}

TEST_CASE("hub: of a sleep and a limit that pass in one turn, the one that was due first counts",
          "[core][hub]") {
    for (const auto limit : {4ms, 6ms}) {
        run_green([&](tests::VirtualReactor& world) {
            auto sleeper = green::spawn([&] {
                green::TimeoutScope scope{limit};
                green::sleep(5ms);
            });
            settle();
            world.advance(10ms);
            settle();
            CHECK(sleeper.ready());
            CHECK(sleeper.successful() == (limit > 5ms));
            if (!sleeper.successful()) CHECK_THROWS_AS(sleeper.get(), green::Timeout);
        });
    }
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
