#include "plan.hpp"

#include <catch2/catch.hpp>

#include "config_support.hpp"

using namespace greensup;

namespace {

const std::string base = R"(version = 1
[sockets.web]
listen = "tcp://h:1"
[queues.q]
producers = ["web"]
consumers = ["counter"]
[workers.web]
kind = "hub"
command = ["./web"]
count = 2
sockets = ["web"]
[workers.counter]
kind = "hub"
command = ["./counter"]
)";

std::string replaced(std::string text, const std::string& what, const std::string& by) {
    const auto at = text.find(what);
    REQUIRE(at != std::string::npos);
    return text.replace(at, what.size(), by);
}

Roster roster(bool settled = true) { return {{{"web", {0, 1}, settled}, {"counter", {0}, true}}}; }

std::string plan(const std::string& after, Scope scope = Scope::changed,
                 const Roster& now = roster()) {
    const auto before_config = test::read(base);
    const auto after_config = test::read(after);
    REQUIRE(before_config);
    INFO(test::join_for_message(test::mistakes(after_config)));
    REQUIRE(after_config);
    return to_text(make_plan(*before_config, *after_config, now, scope));
}

}  // namespace

TEST_CASE("plan: the first start binds, opens, then starts", "[supervisor][plan]") {
    const auto config = test::read(base);
    CHECK(to_text(make_plan({}, *config, {}, Scope::changed)) ==
          "bind   socket web  (tcp://h:1)\n"
          "open   queue q\n"
          "start  web         slots 0 1  (new)\n"
          "start  counter     slot 0  (new)\n");
}

TEST_CASE("plan: nothing changed is nothing to do, unless everything is asked for",
          "[supervisor][plan]") {
    CHECK(plan(base) == "nothing to do\n");
    CHECK(plan(base + "# a comment\n") == "nothing to do\n");
    CHECK(plan(base, Scope::everything) ==
          "roll   web      slots 0 1  (asked for)\n"
          "roll   counter  slot 0  (asked for)\n");
}

TEST_CASE("plan: a changed command rolls its pool and no other", "[supervisor][plan]") {
    CHECK(plan(replaced(base, "./web", "./web2")) ==
          "roll   web  slots 0 1  (command: [\"./web\"] -> [\"./web2\"])\n");
}

TEST_CASE("plan: live keys touch no process, a count only the slots concerned",
          "[supervisor][plan]") {
    CHECK(plan(base + "stop.timeout = '5s'\n") == "update counter  (stop.timeout: 10s -> 5s)\n");
    CHECK(plan(replaced(base, "count = 2", "count = 4")) ==
          "add    web  slots 2 3  (count: 2 -> 4)\n");
    CHECK(plan(replaced(base, "count = 2", "count = 1")) ==
          "remove web  slot 1  (count: 2 -> 1)\n");
    CHECK(plan(replaced(base, "count = 2", "count = 3\nmin_uptime = '2s'")) ==
          "update web  (count: 2 -> 3; min_uptime: 1s -> 2s)\n"
          "add    web  slot 2  (count: 2 -> 3)\n");
}

TEST_CASE("plan: a changed address is bound first, used next, and the old one closed last",
          "[supervisor][plan]") {
    CHECK(plan(replaced(base, "tcp://h:1", "tcp://h:2")) ==
          "bind   socket web  (listen: tcp://h:1 -> tcp://h:2)\n"
          "roll   web         slots 0 1  (socket web is bound anew)\n"
          "close  socket web  (bound anew)\n");
}

TEST_CASE("plan: what is gone from the file is retired, then closed", "[supervisor][plan]") {
    const std::string less =
        "version = 1\n[workers.counter]\nkind = 'hub'\ncommand = ['./counter']\n";
    CHECK(plan(less) ==
          "roll   counter     slot 0  (queue q is gone)\n"
          "retire web         slots 0 1  (removed)\n"
          "close  socket web  (removed)\n"
          "close  queue q     (removed)\n");
}

TEST_CASE("plan: a new queue rolls those who may use it, a changed role those it concerns",
          "[supervisor][plan]") {
    CHECK(plan(base + "[queues.r]\nproducers = ['counter']\nconsumers = []\n") ==
          "open   queue r\n"
          "roll   counter  slot 0  (queue r is new)\n");
    CHECK(plan(replaced(base, "consumers = [\"counter\"]", "consumers = ['*']")) ==
          "roll   web  slots 0 1  (its part in queue q changed)\n");
}

TEST_CASE("plan: a pipe rolls both of its ends when it comes, changes or goes",
          "[supervisor][plan][pipe]") {
    const std::string lines =
        "[pipes.p]\nfrom = 'web.stdout'\nto = 'counter.stdin'\n"
        "framing = 'lines'\nshape = 'merge'\n";
    const auto to_text_of = [&](const std::string& before, const std::string& after) {
        const auto old_config = test::read(before);
        const auto new_config = test::read(after);
        REQUIRE(old_config);
        REQUIRE(new_config);
        return to_text(make_plan(*old_config, *new_config, roster(), Scope::changed));
    };
    CHECK(to_text_of(base, base + lines) ==
          "open   pipe p   (web.stdout -> counter.stdin)\n"
          "roll   web      slots 0 1  (pipe p is new)\n"
          "roll   counter  slot 0  (pipe p is new)\n");
    CHECK(to_text_of(base + lines, base) ==
          "roll   web      slots 0 1  (pipe p is gone)\n"
          "roll   counter  slot 0  (pipe p is gone)\n"
          "close  pipe p   (removed)\n");
    CHECK(to_text_of(base + lines, base + lines + "capacity = '4KiB'\n") ==
          "roll   web      slots 0 1  (pipe p: capacity: 1MiB -> 4KiB)\n"
          "roll   counter  slot 0  (pipe p: capacity: 1MiB -> 4KiB)\n");
    const std::string third = "[workers.third]\ncommand = 'x'\n";
    CHECK(to_text_of(base + third + lines,
                     base + third + replaced(lines, "counter.stdin", "third.stdin")) ==
          "roll   web      slots 0 1  (pipe p: to: counter.stdin -> third.stdin)\n"
          "roll   counter  slot 0  (pipe p: to: counter.stdin -> third.stdin)\n"
          "roll   third    slot 0  (pipe p: to: counter.stdin -> third.stdin; stop.drain: off -> "
          "30s)\n");
}

TEST_CASE("plan: what only a new start can change is said and not done", "[supervisor][plan]") {
    CHECK(
        plan(replaced(base, "[queues.q]",
                      "[supervisor]\nrun_dir = '/x'\nhup = 'changed'\n[queues.q]\ncapacity = 5")) ==
        "later  supervisor  (run_dir: /tmp/greensup-1000/workers -> /x)\n"
        "update supervisor  (hup: all -> changed)\n"
        "later  queue q     (capacity: 65536 -> 5)\n");
    CHECK(plan(replaced(
              base, "[queues.q]",
              "[queues.q]\nlease = '1m'\nmax_message = '1KiB'\ndelivery = 'at-most-once'")) ==
          "later  queue q  (delivery: at-least-once -> at-most-once)\n"
          "update queue q  (max_message: 1MiB -> 1KiB; lease: 30s -> 1m)\n");
}

TEST_CASE("plan: a roll that did not finish is taken up again", "[supervisor][plan]") {
    CHECK(plan(base, Scope::changed, roster(false)) ==
          "roll   web  slots 0 1  (its last roll did not finish)\n");
}

TEST_CASE("plan: values of variables never appear in it", "[supervisor][plan]") {
    CHECK(plan(base + "env = { TOKEN = 'hunter2' }\n") ==
          "roll   counter  slot 0  (env: changed)\n");
}
