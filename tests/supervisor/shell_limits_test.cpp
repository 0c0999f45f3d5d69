// When the system has too little of something.
#include <algorithm>
#include <csignal>
#include <filesystem>

#include <catch2/catch.hpp>

#include "process_table.hpp"
#include "run_dir.hpp"
#include "shell_support.hpp"
#include "support/faults.hpp"
#include "support/roles.hpp"
#include "support/run_green.hpp"
#include "support/text_files.hpp"
#include "transition_log.hpp"

using namespace greensup;
using namespace greensup::test;
using green::sys::Call;
using tests::lines_of;

// The sanitizers' own look at memory needs descriptors too, and reports what it could not see.
#ifndef __SANITIZE_ADDRESS__
TEST_CASE("shell: without descriptors what runs goes on, status works, the rest waits",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(
            "[workers.a]\ncommand = [\"/bin/sleep\", \"1000\"]\nready.delay = \"10ms\"\ncount = "
            "60\n",
            "", 44);
        const auto status = running.await([](const Status& now) {
            const auto& all = now.pools[0].instances;
            return ready_count(now.pools[0]) >= 10 &&
                   std::any_of(all.begin(), all.end(), [](const InstanceStatus& instance) {
                       return instance.cause.kind == Cause::Kind::shortage &&
                              instance.cause.number == EMFILE;
                   });
        });
        for (const auto& instance : status.pools[0].instances)
            CHECK(instance.state != State::failed);
        CHECK(running.status().pools[0].count == 60);
        const auto pid = pids(status, "a")[0];
        ::kill(pid, SIGKILL);
        running.await([&](const Status& now) {
            const auto all = pids(now, "a");
            return std::find(all.begin(), all.end(), pid) == all.end();
        });
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
    });
}

#endif

TEST_CASE("transition log: a full disk loses lines and nothing else", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        const tests::TempDir directory;
        TransitionLog log{directory / "transitions.log"};
        const Transition transition{
            1, 2, State::ready, State::draining, {Cause::Kind::requested, 0, "a \"q\""}, 7, {}};
        log.write("web", transition);
        {
            const tests::FailNth full{0, ENOSPC, Call::write, true};
            log.write("web", transition);
            log.write("web", transition);
        }
        CHECK(log.lost() == 2);
        log.write("web", transition);
        const auto lines = lines_of(directory / "transitions.log");
        REQUIRE(lines.size() == 2);
        CHECK(lines[1].find("\"cause\":\"a \\\"q\\\"\"") != std::string::npos);
    });
}

TEST_CASE("process table: the next supervisor reads who was there", "[supervisor][shell]") {
    const tests::TempDir directory;
    const auto path = directory / "processes";
    CHECK(ProcessTable::read(path).empty());
    ProcessTable table{path};
    const auto a = table.reserve();
    const auto b = table.reserve();
    table.fill(a, {100, 5, Kind::hub, 30s, "web/0"});
    table.fill(b, {101, 6, Kind::exec, 1s, "db/0"});
    table.clear(a);
    CHECK(table.reserve() == a);
    auto records = ProcessTable::read(path);
    REQUIRE(records.size() == 1);
    CHECK(records[0].pid == 101);
    CHECK(records[0].start_time == 6);
    CHECK(records[0].kind == Kind::exec);
    CHECK(records[0].patience == 1s);
    CHECK(records[0].name == "db/0");
    CHECK(start_time_of(::getpid()) > std::uint64_t{0});
    CHECK_FALSE(start_time_of(0));
}

TEST_CASE("run directory: others cannot get between", "[supervisor][shell]") {
    namespace fs = std::filesystem;
    const tests::TempDir directory;
    const auto open = directory / "open";
    fs::create_directory(open);
    fs::permissions(open, fs::perms{0777});
    CHECK_THROWS_AS(RunDir(open + "/run", 0600), Refusal);
    fs::permissions(open, fs::perms{01777});
    { const RunDir good(open + "/run", 0600); }
    const RunDir deep(directory / "a/b/c", 0600);
    CHECK(fs::exists(deep.paths().queues()));
    fs::create_directory_symlink(open, directory / "link");
    CHECK_THROWS_AS(RunDir(directory / "link", 0600), Refusal);
}
