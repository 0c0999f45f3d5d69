// The end, asked for or not.
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "shell_support.hpp"
#include "support/run_green.hpp"

using namespace greensup;
using namespace greensup::test;

namespace {

const std::string pipeline =
    "[queues.q]\nproducers = [\"source\"]\nconsumers = [\"sink\"]\n"
    "[workers.source]\nkind = \"hub\"\n";

std::size_t position(const std::vector<Line>& lines, const std::string& pool,
                     const std::string& to) {
    for (std::size_t i = 0; i < lines.size(); ++i)
        if (lines[i].pool == pool && lines[i].to == to) return i;
    return lines.size();
}

}  // namespace

TEST_CASE("shell: an end starts nobody who waits and has nothing to empty", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(
            "[workers.db]\ncommand = [\"false\"]\n"
            "[workers.app]\ncommand = [\"/bin/sleep\", \"1000\"]\nafter = [\"db\"]\n");
        running.await_log("worker.backoff pool=db");
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        const auto lines = running.transitions();
        CHECK(position(lines, "app", "spawning") == lines.size());
    });
}

TEST_CASE("shell: consumers go on until their queues are empty", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(pipeline + role("hub_worker", {"put=40"}) +
                        "[workers.sink]\nkind = \"hub\"\nafter = [\"source\"]\n" +
                        role("hub_worker", {"eat=5"}));
        running.await_settled();
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        const auto lines = running.transitions();
        CHECK(position(lines, "source", "draining") < position(lines, "sink", "draining"));
        CHECK(position(lines, "source", "stopped") < position(lines, "sink", "draining"));
        CHECK(running.log().find("messages_left=0") != std::string::npos);
        CHECK(running.log().find("shutdown.waits") != std::string::npos);
        CHECK_FALSE(std::filesystem::exists(running.run_dir() + "/queues/q.queue"));
    });
}

TEST_CASE("shell: what nobody takes in time stays for the next start", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(pipeline + role("hub_worker", {"put=7"}) +
                            "stop.drain = \"100ms\"\nstop.timeout = \"50ms\"\n"
                            "[workers.sink]\nkind = \"hub\"\nafter = [\"source\"]\n"
                            "stop.drain = \"100ms\"\nstop.timeout = \"50ms\"\n" +
                            role("hub_worker", {"take=2"}),
                        "shutdown_timeout = \"600ms\"");
        running.await_settled();
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        CHECK(running.log().find("messages_left=7 queues=q:7") != std::string::npos);
        CHECK(std::filesystem::exists(running.run_dir() + "/queues/q.queue"));

        running.write("[queues.q]\n[workers.sink]\nkind = \"hub\"\n" +
                      role("hub_worker", {"take=7"}));
        running.start();
        const auto status = running.await_settled();
        CHECK(status.queues.at(0).leased == 7);
        CHECK(running.log().find("queue.resumed queue=q messages=7") != std::string::npos);
    });
}

TEST_CASE("shell: figures of a queue change when it is empty, and not before",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        const auto with = [](const std::string& capacity, const std::string& argument) {
            return "[queues.q]\ncapacity = " + capacity +
                   "\n[workers.a]\nkind = \"hub\"\nstop.drain = \"50ms\"\nstop.timeout = "
                   "\"50ms\"\n" +
                   role("hub_worker", {argument});
        };
        Running running(with("100", "put=3"), "shutdown_timeout = \"300ms\"");
        running.await_settled();
        running.process().signal(SIGTERM);
        CHECK(running.end().success());

        running.write(with("200", "eat=1"));
        running.start();
        running.await_settled();
        CHECK(running.log().find("queue.kept") != std::string::npos);
        CHECK(std::filesystem::file_size(running.run_dir() + "/queues/q.queue") > 0);
        running.until([&] {
            const auto queue = running.status().queues.at(0);
            return queue.ready + queue.leased == 0;
        });
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        CHECK_FALSE(std::filesystem::exists(running.run_dir() + "/queues/q.queue"));
    });
}

TEST_CASE("shell: who does not leave is told more and more plainly", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(
            "[workers.a]\nkind = \"hub\"\nstop.drain = \"60ms\"\nstop.timeout = \"60ms\"\n" +
            role("hub_worker", {"stubborn"}));
        const auto pid = pids(running.await_settled(), "a")[0];
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        CHECK_FALSE(lives(pid));
        std::vector<std::string> states;
        for (const auto& line : running.transitions()) states.push_back(line.to);
        CHECK(std::vector<std::string>(states.end() - 4, states.end()) ==
              std::vector<std::string>{"draining", "stopping", "killing", "stopped"});
    });
}

TEST_CASE("shell: a stopped worker can be stopped", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(
            "[workers.a]\ncommand = [\"/bin/sleep\", \"1000\"]\nready.delay = \"10ms\"\n");
        const auto pid = pids(running.await_settled(), "a")[0];
        ::kill(pid, SIGSTOP);
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        for (const auto& line : running.transitions()) CHECK(line.to != "killing");
    });
}

TEST_CASE("shell: QUIT and a second TERM do not wait", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running("[workers.a]\nkind = \"hub\"\nstop.drain = \"50s\"\n" +
                        role("hub_worker", {"stubborn"}));
        running.await_settled();
        SECTION("QUIT") {
            running.process().signal(SIGQUIT);
            running.await_log("shutdown.fast");
        }
        SECTION("TERM twice within a second is TERM once") {
            running.process().signal(SIGTERM);
            running.await_log("shutdown.begin");
            running.process().signal(SIGTERM);
            const auto ended = running.process().join(1100ms);
            CHECK_FALSE(ended);
            CHECK(running.log().find("shutdown.fast") == std::string::npos);
            running.process().signal(SIGTERM);
            running.await_log("shutdown.fast");
        }
        CHECK(running.end().success());
        CHECK(running.transitions().back().to == "stopped");
    });
}

TEST_CASE("shell: the shutdown verb ends the supervisor", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running("[workers.a]\nkind = \"hub\"\n" + role("hub_worker", {"linger=50"}));
        const auto pid = pids(running.await_settled(), "a")[0];
        ControlClient client{running.run_dir()};
        CHECK(client.pid() == running.process().pid());
        CHECK(parse_answer(client.ask({"1", "shutdown"}))->ok);
        CHECK(client.await_end(Running::patience));
        CHECK(running.end().success());
        CHECK_FALSE(lives(pid));
    });
}

TEST_CASE("shell: a supervisor that is killed leaves nothing that a new start cannot handle",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(
            pipeline + role("hub_worker", {"put=9", "linger=5000"}) +
            "[workers.plain]\ncommand = [\"/bin/sleep\", \"1000\"]\nready.delay = \"10ms\"\n"
            "[sockets.s]\nlisten = \"unix:s.sock\"\n[workers.sink]\nkind = \"hub\"\n"
            "after = [\"source\"]\nsockets = [\"s\"]\nstop.drain = \"500ms\"\n" +
            role("hub_worker", {"take=4", "linger=60000"}));
        const auto before = running.await_settled();
        running.process().signal(SIGKILL);
        running.process().join(5s);

        running.write(
            "[queues.q]\n[sockets.s]\nlisten = \"unix:s.sock\"\n"
            "[workers.sink]\nkind = \"hub\"\nsockets = [\"s\"]\n" +
            role("hub_worker", {"take=9"}));
        running.start();
        const auto after = running.await_settled();
        CHECK(after.queues.at(0).leased == 9);
        for (const auto* pool : {"source", "sink", "plain"})
            for (const auto pid : pids(before, pool)) CHECK_FALSE(lives(pid));
        CHECK(running.log().find("leftover.awaited worker=source/0") != std::string::npos);
        CHECK(running.log().find("leftover.killed worker=sink/0") != std::string::npos);
    });
}
