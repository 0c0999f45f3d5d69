// What happens when a worker ends by itself.
#include <algorithm>
#include <csignal>
#include <fstream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "shell_support.hpp"
#include "support/run_green.hpp"

using namespace greensup;
using namespace greensup::test;

namespace {

std::int64_t time_of(const std::vector<Line>& lines, const std::string& to, int pid) {
    for (const auto& line : lines)
        if (line.pid == pid && line.to == to) return line.t_ns;
    return 0;
}

}  // namespace

TEST_CASE("shell: a killed worker is replaced at once, in the same slot", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running("[workers.hub]\nkind = \"hub\"\ncount = 2\nmin_uptime = \"0s\"\n" +
                        role("hub_worker"));
        const auto before = pids(running.await_settled(), "hub");
        ::kill(before[0], SIGKILL);
        const auto status = running.await([&](const Status& now) {
            const auto all = pids(now, "hub");
            return ready_count(*find(now, "hub")) == 2 && all.size() == 2 &&
                   std::find(all.begin(), all.end(), before[0]) == all.end();
        });
        const auto after = pids(status, "hub");
        CHECK(std::find(after.begin(), after.end(), before[1]) != after.end());
        const auto lines = running.transitions();
        const auto gone = time_of(lines, "backoff", before[0]);
        CHECK(gone > 0);
        for (const auto& line : lines)
            if (line.to == "backoff") CHECK(line.cause == "signal KILL");
        for (const auto pid : after) {
            const auto begun = time_of(lines, "starting", pid);
            if (begun > gone)
                INFO("death noticed to new process: " << (begun - gone) / 1000 << "us");
        }
    });
}

TEST_CASE("shell: what a killed worker had leased goes to the next one at once",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(
            "[queues.q]\nproducers = [\"source\"]\nconsumers = [\"taker\"]\n"
            "[workers.source]\nkind = \"hub\"\n" +
            role("hub_worker", {"put=20"}) +
            "[workers.taker]\nkind = \"hub\"\nafter = [\"source\"]\nmin_uptime = \"0s\"\n"
            "restart = \"never\"\n" +
            role("hub_worker", {"take=20"}));
        const auto ready = running.await_settled();
        CHECK(running.status().queues.at(0).leased == 20);
        ::kill(pids(ready, "taker")[0], SIGKILL);
        const auto status = running.await(
            [](const Status& now) { return find(now, "taker")->instances[0].pid == 0; });
        // Seen by the first status in which it is gone: the queue is mended before.
        CHECK(status.queues.at(0).leased == 0);
        CHECK(status.queues.at(0).ready == 20);
        CHECK(status.queues.at(0).bytes == 20 * 64);
    });
}

TEST_CASE("shell: a worker that crashes at once backs off, and the others do not notice",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running("[workers.good]\nkind = \"hub\"\n" + role("hub_worker") +
                        "[workers.crash]\ncommand = [\"/bin/false\"]\nbackoff.initial = \"30ms\"\n"
                        "backoff.jitter = \"0%\"\n");
        const auto status = running.await([](const Status& now) {
            return find(now, "crash")->instances[0].restarts >= 4 &&
                   state_of(*find(now, "crash")) == PoolState::degraded &&
                   ready_count(*find(now, "good")) == 1;
        });
        std::vector<std::int64_t> ends;
        for (const auto& line : running.transitions())
            if (line.pool == "crash" && line.to == "backoff") ends.push_back(line.t_ns);
        REQUIRE(ends.size() >= 4);
        for (std::size_t i = 1; i < 4; ++i)
            CHECK(ends[i] - ends[i - 1] >= (std::int64_t{30} << (i - 1)) * 1'000'000);
    });
}

TEST_CASE("shell: what does not get ready in time is stopped, also when it does not obey",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(
            "[workers.silent]\nkind = \"hub\"\nstart_timeout = \"500ms\"\n"
            "stop.timeout = \"50ms\"\n" +
            role("hub_worker", {"silent", "stubborn"}));
        // On a slow machine the first ones are told to stop before they have learnt not to obey.
        std::vector<std::string> states;
        std::vector<std::string>::iterator killing;
        running.await([&](const Status&) {
            states.clear();
            for (const auto& line : running.transitions()) states.push_back(line.to);
            killing = std::find(states.begin(), states.end(), "killing");
            return states.end() - killing > 1;
        });
        REQUIRE(killing - states.begin() > 3);
        CHECK(std::vector<std::string>{killing - 3, killing + 2} ==
              std::vector<std::string>{"spawning", "starting", "stopping", "killing", "backoff"});
    });
}

TEST_CASE("shell: a worker of another protocol is told so and does not stay",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running("[workers.old]\nkind = \"hub\"\n" + role("hub_worker", {"foreign"}));
        running.await(
            [](const Status& now) { return find(now, "old")->instances[0].restarts > 0; });
        CHECK(running.log().find("speaks version 999") != std::string::npos);
    });
}

TEST_CASE("shell: what an instance has started goes with it", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(
            "[workers.parent]\nready.delay = \"100ms\"\nrestart = \"never\"\n"
            "command = [\"/bin/sh\", \"-c\", \"sleep 1000 & echo $! > child; wait\"]\n");
        const auto status = running.await_settled();
        int child = 0;
        running.until([&] { return bool(std::ifstream(running.directory() / "child") >> child); });
        CHECK(lives(child));
        ::kill(pids(status, "parent")[0], SIGKILL);
        running.await([](const Status& now) { return find(now, "parent")->instances[0].pid == 0; });
        // It is killed and nobody's child of ours: gone once init has taken it.
        const green::Fd pidfd{green::sys::pidfd_open(child).as_int()};
        if (pidfd.is_open()) {
            green::Fd waiting{green::sys::dup(pidfd.number()).as_int()};
            CHECK(waiting.wait_readable(5s));
        }
    });
}
