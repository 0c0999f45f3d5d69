// What becomes of a pipe, and of what is in it, when a reload changes or removes it.
#include <algorithm>
#include <csignal>
#include <fstream>

#include <catch2/catch.hpp>

#include "pipe_support.hpp"
#include "support/run_green.hpp"

using namespace greensup;
using namespace greensup::test;
using tests::lines_of;

namespace {

const std::string idle = shell("exec sleep 1000");
/// It would be ready, if it lived.
const std::string broken_writer = "[workers.a]\nready.delay = \"1m\"\n" + shell("exit 1");

/// Says "first", and "last" when it is told to leave and that file is there.
std::string last_word_at(const std::string& file) {
    return shell("trap 'until test -e " + file +
                 "; do sleep 0.01; done; echo last; exit 0' TERM; echo first; "
                 "while :; do sleep 0.01; done");
}

/// All that was written was read, once and in order.
void check_end(Running& running, const tests::TempDir& dir, std::size_t writers,
               bool is_ordered = true) {
    running.process().signal(SIGTERM);
    CHECK(running.end().success());
    auto read = lines_of(dir / "r");
    (void)std::erase(read, "end");
    CHECK(check_account(dir.path(), read, is_ordered) == writers);
    CHECK(running.log().find("pipe.left") == std::string::npos);
}

}  // namespace

TEST_CASE("shell: a reload makes, changes and removes pipes, and carries over what is in them",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        const auto pools = endless_pools(dir);
        Running running(pipe(by_lines) + pools);
        const auto before = running.await_settled();
        await_line_of_each(before, dir / "r");
        auto larger = pipe(by_lines + "shape = \"merge\"\n");
        larger.replace(larger.find("4KiB"), 4, "64KiB");
        running.write(larger + pools);
        const auto answer = running.ask({"1", "reload"});
        CHECK(answer.ok);
        CHECK(answer.plan ==
              "roll   a  slot 0  (pipe p: shape: pair -> merge; capacity: 4KiB -> 64KiB)\n"
              "roll   b  slot 0  (pipe p: shape: pair -> merge; capacity: 4KiB -> 64KiB)\n");
        const auto after = running.await_settled(2);
        CHECK(pids(before, "b") != pids(after, "b"));
        await_line_of_each(after, dir / "r");
        check_end(running, dir, 2);
    });
}

TEST_CASE("shell: who reads a pipe that is given to another pool leaves at once, with what it has",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        const auto shape = GENERATE(as<std::string>{}, "pair", "merge");
        const auto writers = pool("a", "", role("endless_writer", {dir.path()}));
        const auto reads = role("mortal_reader", {dir / "r"});
        auto joined = pipe("framing = \"lines\"\nshape = \"" + shape + "\"\n");
        Running running(joined + writers + pool("b", "", reads));
        await_line_of_each(running.await_settled(), dir / "r");
        joined.replace(joined.find("b.stdin"), 7, "c.stdin");
        running.write(joined + writers + pool("c", "", reads));
        CHECK(running.ask({"1", "reload"}).ok);
        await_line_of_each(running.await_settled(2), dir / "r");
        CHECK(running.log().find("not drained in time") == std::string::npos);
        check_end(running, dir, 2);
    });
}

TEST_CASE("shell: a pipe that would be cut at other places is not changed by a reload",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        const auto pools = endless_pools(dir);
        Running running(pipe(by_lines) + pools);
        const auto before = running.await_settled();
        await_line_of_each(before, dir / "r");
        const auto refused = [&](const std::string& keys, unsigned line, const std::string& key,
                                 const std::string& change) {
            running.write(pipe(keys) + pools);
            const auto answer = running.ask({"1", "reload"});
            CHECK_FALSE(answer.ok);
            CHECK(answer.code == Code::failed);
            CHECK(answer.plan.empty());
            REQUIRE(answer.mistakes.size() == 1);
            const auto& mistake = answer.mistakes[0];
            CHECK(mistake.code == "E016");
            CHECK(mistake.place.line == line);
            CHECK(mistake.key == "pipes.p." + key);
            CHECK(mistake.message == "cannot be changed while the pipe is open: " + change);
            CHECK(mistake.hint == "give the pipe another name, or shut down and start anew");
            CHECK(answer.message == mistake.key + ": " + mistake.message);
            CHECK(answer.hint == mistake.hint);
        };
        refused("framing = \"capnp\"\n", 9, "framing", "lines -> capnp");
        refused("framing = \"lines\"\nshape = \"broadcast\"\n", 10, "shape", "pair -> broadcast");
        const auto same = running.status();
        CHECK(same.generation == 1);
        CHECK(pids(same, "a") == pids(before, "a"));
        CHECK(pids(same, "b") == pids(before, "b"));
        await_more(dir / "r");

        // Under another name it is another pipe, and the one before is read to its end.
        auto other = pipe("framing = \"bytes\"\n");
        other.replace(other.find("pipes.p"), 7, "pipes.q");
        running.write(other + pools);
        CHECK(running.ask({"2", "reload"}).ok);
        await_line_of_each(running.await_settled(2), dir / "r");
        check_end(running, dir, 2, false);  // both readers may have been at it
    });
}

TEST_CASE("shell: readers of a pipe that goes stay while its writers do",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        // The reader comes first in the file.
        Running running(pipe(by_lines) + endless_readers(dir) + endless_writers(dir));
        const auto before = running.await_settled();
        await_line_of_each(before, dir / "r");
        running.write(pool("b", "", idle) + broken_writer);
        const auto answer = running.ask({"1", "reload"});
        CHECK(answer.code == Code::roll_failed);
        CHECK(answer.message.find("b: a, which writes into pipe p, has not moved") !=
              std::string::npos);
        const auto now = running.status();
        CHECK(pids(now, "b") == pids(before, "b"));
        CHECK(pids(now, "a") == pids(before, "a"));
        await_more(dir / "r");
        running.write(pool("b", "", idle) + pool("a", "", idle));
        CHECK(running.ask({"2", "reload"}).ok);
        running.await_settled(3);
        check_end(running, dir, 1);
    });
}

TEST_CASE("shell: a pool that is removed goes before those who read its pipe",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(pipe(by_lines) + endless_readers(dir) + endless_writers(dir));
        await_line_of_each(running.await_settled(), dir / "r");
        running.write(pool("b", "", idle));
        CHECK(running.ask({"1", "reload"}).ok);
        CHECK(running.await_settled(2).pools.size() == 1);
        check_end(running, dir, 1);
    });
}

TEST_CASE("shell: pools that are removed together go one after the other, along their pipes",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        const auto go = dir / "go";
        auto second = pipe(by_lines);
        second.replace(second.find("pipes.p"), 7, "pipes.q");
        second.replace(second.find("b.stdin"), 7, "c.stdin");
        second.replace(second.find("a.stdout"), 8, "b.stdout");
        const auto kept = pool("d", "", idle);
        Running running(pipe(by_lines) + second + kept +
                        pool("c", "", shell("exec cat > " + (dir / "r"))) +
                        pool("b", "", shell("exec cat")) +
                        pool("a", "stop.timeout = \"1m\"\n", last_word_at(go)));
        running.await_settled();
        Running::until([&] { return lines_of(dir / "r").size() == 1; });
        running.write(kept);
        running.process().signal(SIGHUP);
        running.await_log("worker.stopping pool=a");
        const auto now = running.status();
        for (const auto* name : {"b", "c"})
            CHECK(find(now, name)->instances.at(0).state == State::ready);
        std::ofstream{go};
        running.await([](const Status& status) { return status.pools.size() == 1; });
        CHECK(lines_of(dir / "r") == std::vector<std::string>{"first", "last"});
        CHECK(running.log().find("pipe.left") == std::string::npos);
    });
}

TEST_CASE("shell: of pools that go round in a circle one is rolled before those behind it",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const auto hub = [](const std::string& name) {
            return "[workers." + name + "]\nkind = \"hub\"\nroll.min_ready = \"0s\"\n" +
                   role("hub_worker");
        };
        const auto joins = [](const std::string& name, const std::string& from,
                              const std::string& to) {
            return "[pipes." + name + "]\nfrom = \"" + from + "\"\nto = \"" + to + "\"\n";
        };
        const auto pools = hub("c") + hub("a") + hub("b");
        Running running(joins("p", "a", "b") + joins("q", "b", "a") + joins("r", "b", "c") + pools);
        running.await_settled();
        running.write(pools);
        CHECK(running.ask({"1", "reload"}).ok);
        running.await_settled(2);
        const auto log = running.log();
        const auto last = log.find("roll.begin pool=c");
        REQUIRE(last != std::string::npos);
        for (const auto* name : {"a", "b"})
            CHECK(log.find("roll.done pool=" + std::string(name)) < last);
    });
}

TEST_CASE("shell: who reads a pipe that goes does not see its end before its turn to leave",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(pipe(by_lines + "shape = \"spread\"\n") +
                        pool("b", "count = 2\n", shell("cat; echo end >> " + (dir / "ends"))) +
                        pool("a", "", shell("exec sleep 1000")));
        const auto before = running.await_settled();
        running.write("[workers.b]\nready.delay = \"1m\"\ncount = 2\n" + shell("exit 1") +
                      pool("a", "", idle));
        CHECK(running.ask({"1", "reload"}).code == Code::roll_failed);
        CHECK(pids(running.status(), "b") == pids(before, "b"));
        CHECK(lines_of(dir / "ends").empty());
    });
}

TEST_CASE("shell: a shutdown goes along a pipe that was taken out of the file and is still used",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        const auto go = dir / "go";
        Running running(
            pipe(by_lines) +
            // Who sees the end a moment late must not die of stop.signal.
            pool("b", "stop.drain = \"1ms\"\n", shell("trap '' TERM; exec cat > " + (dir / "r"))) +
            pool("a", "stop.timeout = \"1m\"\n", last_word_at(go)));
        running.await_settled();
        Running::until([&] { return lines_of(dir / "r").size() == 1; });
        // None of them gets to an edition without it.
        running.write(pool("b", "", idle) + broken_writer);
        CHECK(running.ask({"1", "reload"}).code == Code::roll_failed);
        running.process().signal(SIGTERM);
        running.await_log("worker.stopping pool=a");
        std::ofstream{go};
        CHECK(running.end().success());
        CHECK(lines_of(dir / "r") == std::vector<std::string>{"first", "last"});
        const auto log = running.log();
        CHECK(log.find("shutdown.waits for=\"b waits for a, which feeds pipe p\"") !=
              std::string::npos);
        CHECK(log.find("pipe.left") == std::string::npos);
    });
}

TEST_CASE("shell: what is left in a pipe whose last user goes during the shutdown is counted",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const auto kept = pool("d", "", shell("trap '' TERM; while :; do sleep 0.01; done"));
        Running running(pipe(by_lines) + kept + pool("a", "", shell("echo x; exec sleep 1000")) +
                        pool("b", "stop.drain = \"1m\"\n", shell("exec sleep 1000")));
        const auto pid = pids(running.await_settled(), "b").at(0);
        Running::until([&] { return running.status().pipes.at(0).passed == 2; });
        running.write(kept);
        running.process().signal(SIGHUP);
        running.await_log("worker.draining pool=b");
        running.process().signal(SIGTERM);
        running.await_log("shutdown.begin");
        REQUIRE(::kill(pid, SIGKILL) == 0);
        running.await_log("worker.stopped pool=b");
        const auto status = running.status();
        REQUIRE(status.pipes.size() == 1);
        CHECK(status.pipes[0].removed);
        CHECK(status.pipes[0].waiting == 2);
        running.process().signal(SIGQUIT);
        CHECK(running.end().success());
        CHECK(running.log().find("bytes_left_in_pipes=2") != std::string::npos);
    });
}
