// Starting, telling what runs, and what cannot be started.
#include <csignal>
#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "shell_support.hpp"
#include "support/roles.hpp"
#include "support/run_green.hpp"

using namespace greensup;
using namespace greensup::test;

namespace {

const std::string sleeper = "command = [\"/bin/sleep\", \"1000\"]\nready.delay = \"20ms\"\n";

}  // namespace

TEST_CASE("shell: programs and hub workers get ready and are told apart", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running("[workers.plain]\ncount = 2\n" + sleeper +
                        "[workers.hub]\nkind = \"hub\"\n" + role("hub_worker"));
        const auto status = running.await_settled();
        CHECK(pids(status, "plain").size() == 2);
        CHECK(pids(status, "hub").size() == 1);
        CHECK(status.generation == 1);
        CHECK(status.name == "workers");

        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        for (const auto pid : pids(status, "plain")) CHECK_FALSE(lives(pid));
        for (const auto pid : pids(status, "hub")) CHECK_FALSE(lives(pid));
        CHECK_FALSE(std::filesystem::exists(running.run_dir() + "/control.sock"));
        CHECK_FALSE(std::filesystem::exists(running.run_dir() + "/queues"));
        CHECK(running.log().find("supervisor.stopped") != std::string::npos);
    });
}

TEST_CASE("shell: a second start is refused with the pid of the first", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running("[workers.a]\n" + sleeper);
        running.await_settled();
        const auto before = running.transitions().size();
        auto second = green::Process::start([&] {
            green::Command command{{tests::self(), "--role=supervisor", running.file()}};
            command.null_stdin = true;
            command.parent_death_signal = SIGKILL;
            return command;
        }());
        const auto ended = second.join(Running::patience);
        REQUIRE(ended);
        CHECK(ended->code == 75);
        CHECK(running.transitions().size() >= before);
        CHECK(running.status().pid == running.process().pid());
    });
}

TEST_CASE("shell: a program that does not exist is told with stage, path and errno; others run",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(
            "[workers.good]\n" + sleeper + "[workers.bad]\ncommand = [\"/does/not/exist\"]\n" +
            "[workers.nowhere]\ncommand = [\"/bin/true\"]\ncwd = \"/does/not/exist\"\n");
        const auto status = running.await([](const Status& now) {
            const auto* bad = find(now, "bad");
            const auto* nowhere = find(now, "nowhere");
            return ready_count(*find(now, "good")) == 1 &&
                   bad->instances[0].state == State::backoff &&
                   nowhere->instances[0].state == State::backoff;
        });
        const auto& bad = find(status, "bad")->instances[0];
        CHECK(bad.cause.kind == Cause::Kind::exec);
        CHECK(bad.cause.number == ENOENT);
        CHECK(bad.cause.text == "exec /does/not/exist");
        CHECK(find(status, "nowhere")->instances[0].cause.text == "cwd /does/not/exist");
        CHECK(running.log().find("(ENOENT)") != std::string::npos);
    });
}

TEST_CASE("shell: an address in use ends the start with 76 and names it", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        auto taken = green::Listener::bind(green::Endpoint::parse("127.0.0.1:0"));
        const auto address = taken.local().text();
        Running running("[sockets.web]\nlisten = \"" + address + "\"\n[workers.a]\n" + sleeper);
        CHECK(running.end().code == 76);
        // With the place, as a mistake of the file.
        CHECK(running.log().find(running.file() +
                                 ":6:10: error[E016]: sockets.web.listen: cannot " + "listen on " +
                                 address) != std::string::npos);
        CHECK(running.transitions().empty());
        CHECK_FALSE(std::filesystem::exists(running.run_dir() + "/control.sock"));
    });
}

TEST_CASE("shell: programs find their sockets by number", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(
            "[sockets.web-api]\nlisten = \"tcp://127.0.0.1:0\"\n"
            "[sockets.other]\nlisten = \"unix:sock\"\n"
            "[workers.a]\nsockets = [\"web-api\", \"other\"]\n"
            "command = [\"/bin/sh\", \"-c\", \"echo $LISTEN_FDS $LISTEN_FDNAMES "
            "$GREENSUP_FD_WEB_API $GREENSUP_FD_OTHER > told.new; ls -l /proc/self/fd/3 "
            "/proc/self/fd/4 | "
            "grep -c socket >> told.new; mv told.new told; exec sleep 1000\"]\nready.delay = "
            "\"200ms\"\n");
        running.await_settled();
        running.until([&] { return std::filesystem::exists(running.directory() / "told"); });
        std::ifstream file(running.directory() / "told");
        std::string line;
        std::getline(file, line);
        CHECK(line == "2 web-api:other 3 4");
        std::getline(file, line);
        CHECK(line == "2");
        CHECK(std::filesystem::exists(running.directory() / "sock"));
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        CHECK_FALSE(std::filesystem::exists(running.directory() / "sock"));
    });
}

TEST_CASE("shell: nobody starts before those it comes after are ready", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(
            "[workers.app]\nafter = [\"db\"]\n" + sleeper +
            "[workers.db]\ncommand = [\"/bin/sleep\", \"1000\"]\nready.delay = \"150ms\"\n");
        running.await_settled();
        std::int64_t db_ready = 0;
        std::int64_t app_begun = 0;
        for (const auto& line : running.transitions()) {
            if (line.pool == "db" && line.to == "ready") db_ready = line.t_ns;
            if (line.pool == "app" && line.to == "spawning") app_begun = line.t_ns;
        }
        CHECK(db_ready > 0);
        CHECK(app_begun >= db_ready);
    });
}
