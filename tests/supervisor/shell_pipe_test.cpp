// Pipes between pools, with programs that die and are replaced while data flows: what was written
// is read once and in order.
#include <algorithm>
#include <csignal>

#include <catch2/catch.hpp>

#include "pipe_flow.hpp"
#include "pipe_support.hpp"
#include "support/run_green.hpp"

using namespace greensup;
using namespace greensup::test;
using tests::lines_of;
using tests::text_of;

TEST_CASE("shell: a pipe brings every line once, however often both of its ends are killed",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(
            pipe(by_lines) +
            pool("a", until_done, role("mortal_writer", {dir / "w", "a", "4", "3000"})) +
            pool("b", until_done,
                 role("mortal_reader", {dir / "r", "1", "999", "0", "4000", "1"})));
        const auto status = running.await(is_through);
        const auto expected = lives_read("a", 4, 3000);
        CHECK(lines_of(dir / "r") == expected);
        REQUIRE(status.pipes.size() == 1);
        CHECK(status.pipes[0].from == "a.stdout");
        CHECK(status.pipes[0].to == "b.stdin");
        CHECK(status.pipes[0].shape == "pair");
        CHECK(status.pipes[0].torn == 3);
        CHECK(status.pipes[0].waiting == 0);
        CHECK(text_of(dir / "r.lives").size() == 6);
        CHECK(running.log().find("pipe.closed") == std::string::npos);  // they died of it
    });
}

TEST_CASE("shell: who writes no messages into a pipe of messages is told of by name",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        Running running(pipe("framing = \"capnp\"\n") + "[workers.a]\n" +
                        shell("echo this is no message; exec sleep 1000") + "[workers.b]\n" +
                        shell("exec cat"));
        Running::until([&] { return running.log().find("pipe.broken") != std::string::npos; });
        const auto status = running.status();
        CHECK(running.log().find("error pipe.broken pipe=p pool=a slot=0 pid=" +
                                 std::to_string(pids(status, "a").at(0)) + " why=") !=
              std::string::npos);
        REQUIRE(status.pipes.size() == 1);
        CHECK(status.pipes[0].torn == 1);
        CHECK(status.pipes[0].passed == 0);
    });
}

TEST_CASE("shell: a pipe of bytes goes on at the byte where the last reader stopped",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(pipe("") +
                        pool("a", until_done, role("mortal_writer", {dir / "w", "a", "2", "500"})) +
                        pool("b", until_done, role("byte_reader", {dir / "r", "3001"})));
        running.await(is_through);
        std::string expected;
        for (int life = 1; life <= 2; ++life) {
            for (int i = 0; i < 500; ++i)
                expected += "a " + std::to_string(life) + " " + std::to_string(i) + "\n";
            expected += life == 1 ? "a torn li" : "the end";
        }
        CHECK(text_of(dir / "r") == expected + "<end>");
    });
}

TEST_CASE("shell: rolling both ends of a pipe loses no line and mixes none",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(pipe(by_lines) + endless_pools(dir));
        auto before = running.await_settled();
        for (std::uint64_t round = 2; round <= 6; ++round) {
            await_line_of_each(before, dir / "r");
            await_more(dir / "r");
            running.process().signal(SIGHUP);
            auto after = running.await_settled(round);
            CHECK(pids(before, "a") != pids(after, "a"));
            CHECK(pids(before, "b") != pids(after, "b"));
            before = after;
        }
        await_line_of_each(before, dir / "r");
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        auto read = lines_of(dir / "r");
        CHECK(std::erase(read, "end") == 6);
        CHECK(check_account(dir.path(), read, true) == 6);
        CHECK(running.log().find("bytes_left_in_pipes=0") != std::string::npos);
        CHECK(running.log().find("pipe.left") == std::string::npos);
    });
}

TEST_CASE("shell: writers that are done, and are to be rolled, are not the end of a pipe",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        // The reader is rolled first.
        Running running(pipe(by_lines) + pool("b", until_done, role("mortal_reader", {dir / "r"})) +
                        pool("a", until_done, role("mortal_writer", {dir / "w", "a", "1", "100"})));
        running.await(is_through);
        running.process().signal(SIGHUP);
        running.await([&](const Status& status) {
            return is_through(status) && text_of(dir / "w").size() == 2 &&
                   lines_of(dir / "r.lives").size() == 1;
        });
        auto expected = lives_read("a", 1, 100);
        for (const auto& line : lives("a", 2, 100))
            if (line.substr(0, 4) != "a 1 ") expected.push_back(line);
        expected.emplace_back("end");
        CHECK(lines_of(dir / "r") == expected);
    });
}

TEST_CASE("shell: a shutdown does not wait for what nobody will read",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const auto sh = [](const std::string& text) { return "count = 2\n" + shell(text); };
        Running running(
            pipe(by_lines) + pool("a", until_done, sh("echo x; exec sleep 1000")) +
                pool("b", until_done, sh("test " + slots + " = 1 && exit 0; exec cat > /dev/null")),
            "shutdown_timeout = \"20s\"\n");
        running.await_log("worker.done pool=b slot=1");
        Running::until([&] {
            const auto pipe = running.status().pipes.at(0);
            return pipe.waiting == 2 && pipe.passed >= 2;
        });
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        CHECK(running.log().find("pipe p (") == std::string::npos);
        CHECK(running.log().find("bytes_left_in_pipes=2") != std::string::npos);
    });
}

TEST_CASE("shell: a pair joins slot to slot", "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(pipe(by_lines) +
                        pool("a", until_done + "count = 3\n",
                             role("mortal_writer", {dir / ("w" + slots), slots, "2", "200"})) +
                        pool("b", until_done + "count = 3\n",
                             role("mortal_reader", {dir / ("r" + slots), "77"})));
        running.await(is_through);
        for (const auto* slot : {"0", "1", "2"}) {
            const auto expected = lives_read(slot, 2, 200);
            CHECK(lines_of(dir / ("r" + std::string(slot))) == expected);
        }
    });
}

TEST_CASE("shell: a broadcast brings all to everybody, also to who was away",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(
            pipe(by_lines + "shape = \"broadcast\"\n") +
            pool("a", until_done, role("mortal_writer", {dir / "w", "a", "3", "2000"})) +
            pool("b", until_done + "count = 2\n",
                 role("mortal_reader", {dir / ("r" + slots), "10", "3" + slots})));
        running.await(is_through);
        const auto expected = lives_read("a", 3, 2000);
        CHECK(lines_of(dir / "r0") == expected);
        CHECK(lines_of(dir / "r1") == expected);
    });
}

TEST_CASE("shell: merge keeps lines whole and each writer's in order",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(pipe(by_lines + "shape = \"merge\"\n") +
                        endless_writers(dir, "count = 3\n") +
                        pool("b", "", role("mortal_reader", {dir / "r", "500", "1"})));
        await_line_of_each(running.await_settled(), dir / "r");
        Running::until([&] { return lines_of(dir / "r").size() > 3000; });
        running.process().signal(SIGHUP);
        await_line_of_each(running.await_settled(2), dir / "r");
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        auto read = lines_of(dir / "r");
        CHECK(std::erase(read, "end") == 2);
        CHECK(check_account(dir.path(), read, false) == 6);
    });
}

TEST_CASE("shell: spread brings each line to one reader, also after one has died",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(
            pipe(by_lines + "shape = \"spread\"\n") +
            pool("a", until_done, role("mortal_writer", {dir / "w", "a", "2", "20000"})) +
            pool("b", until_done + "count = 3\n",
                 role("mortal_reader", {dir / ("r" + slots), "1" + slots, "100"})));
        running.await(is_through);
        std::vector<std::string> all;
        for (const auto* slot : {"0", "1", "2"}) {
            auto some = lines_of(dir / ("r" + std::string(slot)));
            CHECK(some.size() > 100);
            CHECK(std::erase(some, "end") == 1);
            all.insert(all.end(), some.begin(), some.end());
        }
        auto expected = lives("a", 2, 20000);
        std::sort(expected.begin(), expected.end());
        std::sort(all.begin(), all.end());
        CHECK(all == expected);
    });
}

TEST_CASE("shell: a reader that reads nothing stops its writer, and nobody else",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(pipe(by_lines) + endless_writers(dir) + pool("b", "", role("deaf_reader")));
        running.await_settled();
        std::uint64_t waiting = 0;
        Running::until([&] {  // until it does not grow any more
            const auto before = waiting;
            waiting = running.status().pipes.at(0).waiting;
            return waiting > PipeFlow::portion && waiting == before;
        });
        CHECK(waiting <= 4 * PipeFlow::portion);
        running.process().signal(SIGQUIT);
        CHECK(running.end().success());
    });
}

TEST_CASE("shell: hub workers have pipes, which outlive both of their ends",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        const auto hub = [](const std::string& name, const std::string& command) {
            return "[workers." + name + "]\nkind = \"hub\"\nroll.min_ready = \"0s\"\n" +
                   "backoff.initial = \"off\"\nintensity.max = \"off\"\nmin_uptime = \"0s\"\n" +
                   command;
        };
        const auto file = [&](const std::string& type) {
            return "[pipes.numbers" + type + "]\nfrom = \"a\"\nto = \"b\"\ncapacity = \"64KiB\"\n" +
                   hub("a", role("hub_writer", {dir.path(), type})) +
                   hub("b", role("hub_reader", {dir / "r", type, "3", "0", "500"}));
        };
        Running running(file("7"));
        auto now = running.await_settled();
        for (std::uint64_t round = 2; round <= 5; ++round) {
            await_line_of_each(now, dir / "r");
            await_more(dir / "r", 1000);
            // The last time both speak of something else, through another pipe.
            if (round == 5) running.write(file("8"));
            running.process().signal(SIGHUP);
            now = running.await_settled(round);
        }
        await_line_of_each(now, dir / "r");
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        auto read = lines_of(dir / "r");
        CHECK(std::erase(read, "end") == 5);
        CHECK(check_account(dir.path(), read, false) == 5);
        CHECK(text_of(dir / "r.lives").size() == 8);
        CHECK(running.log().find("bytes_left_in_pipes=0") != std::string::npos);
    });
}

TEST_CASE("shell: a broadcast goes on without a reader that was given up, and tells what it misses",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(
            pipe(by_lines + "shape = \"broadcast\"\n") +
            pool("a", until_done, role("mortal_writer", {dir / "w", "a", "1", "20000"})) +
            "[workers.b]\ncount = 2\nready.delay = \"0s\"\nbackoff.initial = \"off\"\n" +
            until_done + "intensity = { max = 1, then = \"fail\" }\n" +
            shell("test " + slots + " = 1 && exit 1; exec cat > " + (dir / "r")));
        running.await_log("worker.done pool=b slot=0");
        CHECK(lines_of(dir / "r") == lives("a", 1, 20000));
        CHECK(running.log().find("pipe.lost pipe=p pool=b slot=1") != std::string::npos);
        CHECK(running.status().pipes.at(0).missed == text_of(dir / "r").size());
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        CHECK(running.log().find("pipe.missed pipe=p pool=b slot=1") != std::string::npos);
    });
}

TEST_CASE("shell: who closes its input and lives on is told, and leaves when it is told to",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(pipe(by_lines) + endless_writers(dir) +
                            pool("b", "", shell("exec 0<&-; exec sleep 1000")),
                        "shutdown_timeout = \"5m\"\n");
        const auto pid = pids(running.await_settled(), "b").at(0);
        running.await_log("pipe.closed pipe=p pool=b slot=0 pid=" + std::to_string(pid));
        CHECK(running.status().pipes.at(0).waiting > 0);
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        CHECK(running.log().find("not drained in time") == std::string::npos);
    });
}

TEST_CASE("shell: a reader does not wait for writers that wait for it",
          "[supervisor][shell][pipe]") {
    const bool is_direct = GENERATE(true, false);
    tests::run_green_for_real([is_direct] {
        const tests::TempDir dir;
        auto wide = pipe("");
        wide.replace(wide.find("4KiB"), 4, "64KiB");
        // It would be ready, if it lived; what it leaves is soon too much for one that nobody
        // reads.
        Running running(wide +
                        "[workers.a]\nready.delay = \"1m\"\nbackoff.initial = \"off\"\n"
                        "intensity.max = \"off\"\n" +
                        shell("head -c 20000 /dev/zero; exit 1") +
                        pool("c", "after = [\"a\"]\n", shell("exec sleep 1000")) +
                        pool("b", is_direct ? "after = [\"a\"]\n" : "after = [\"c\"]\n",
                             shell("exec cat > " + (dir / "r"))));
        running.await_log("pipe.behind pipe=p pool=a slot=0");
        running.await_log("cause=\"shortage: pipe p has the rest of 8 writers");
        Running::until([&] { return text_of(dir / "r").size() > 500000; });
        CHECK(running.log().find("worker.ready pool=c") == std::string::npos);
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
    });
}
