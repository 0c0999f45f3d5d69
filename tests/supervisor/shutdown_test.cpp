#include "shutdown.hpp"

#include <catch2/catch.hpp>

#include "config_support.hpp"

using namespace greensup;
using Names = std::vector<std::string>;

namespace {

constexpr TimePoint now{1000s};

/// web -> texts -> counter -> totals -> report
ShutdownView wordcount() {
    ShutdownView view;
    view.pools = {{"web", 2, false, 40s}, {"counter", 4, false, 40s}, {"report", 1, false, 40s}};
    view.queues = {{"texts", 12}, {"totals", 3}};
    view.roles = {{"texts", {"web"}, {"counter"}}, {"totals", {"counter"}, {"report"}}};
    view.allowed = 60s;
    view.deadline = now + 60s;
    return view;
}

ShutdownPool& pool(ShutdownView& view, const std::string& name) {
    for (auto& p : view.pools)
        if (p.name == name) return p;
    throw std::logic_error(name);
}

}  // namespace

TEST_CASE("shutdown: producers stop first, consumers when their queues are empty",
          "[supervisor][shutdown]") {
    auto view = wordcount();
    auto action = next_shutdown_action(view, now);
    CHECK(action.drain == Names{"web"});
    CHECK(action.waits_for == Names{"counter waits for web, which feeds queue texts",
                                    "report waits for counter, which feeds queue totals"});
    pool(view, "web").leaving = true;
    CHECK(next_shutdown_action(view, now).drain.empty());
    pool(view, "web").live = 0;
    action = next_shutdown_action(view, now);
    CHECK(action.drain.empty());
    CHECK(action.waits_for.front() == "counter waits for queue texts (12 left)");
    view.queues[0].left = 0;
    CHECK(next_shutdown_action(view, now).drain == Names{"counter"});
    pool(view, "counter").live = 0;
    CHECK(next_shutdown_action(view, now).drain.empty());
    view.queues[1].left = 0;
    CHECK(next_shutdown_action(view, now).drain == Names{"report"});
    pool(view, "report").live = 0;
    CHECK(next_shutdown_action(view, now).done);
}

TEST_CASE("shutdown: when time gets short everybody is told", "[supervisor][shutdown]") {
    auto view = wordcount();
    pool(view, "web").leaving = true;
    const auto action = next_shutdown_action(view, now);
    CHECK(action.until ==
          now + 30s);  // a pool gets half of the time at least, here all that it needs does not fit
    CHECK(next_shutdown_action(view, now + 30s - 1ns).drain.empty());
    CHECK(next_shutdown_action(view, now + 30s).drain == Names{"counter", "report"});
    pool(view, "report").needs = 5s;
    CHECK(next_shutdown_action(view, now + 30s).drain == Names{"counter"});
    CHECK(next_shutdown_action(view, now + 55s).drain == Names{"counter", "report"});
    CHECK_FALSE(next_shutdown_action(view, now + 59s).kill);
    CHECK(next_shutdown_action(view, now + 60s).kill);
}

TEST_CASE("shutdown: pools in a circle wait for the queues and not for each other",
          "[supervisor][shutdown]") {
    ShutdownView view;
    view.pools = {{"a", 1, false, 1s}, {"b", 1, false, 1s}, {"in", 1, false, 1s}};
    view.queues = {{"ab", 0}, {"ba", 1}, {"in", 0}, {"self", 0}};
    view.roles = {
        {"ab", {"a"}, {"b"}}, {"ba", {"b"}, {"a"}}, {"in", {"in"}, {"a"}}, {"self", {"a"}, {"a"}}};
    view.allowed = 60s;
    view.deadline = now + 60s;
    CHECK(next_shutdown_action(view, now).drain == Names{"b", "in"});
    pool(view, "in").live = 0;
    view.queues[1].left = 0;
    CHECK(next_shutdown_action(view, now).drain == Names{"a", "b"});
}

TEST_CASE("shutdown: a queue that nobody empties holds nobody up", "[supervisor][shutdown]") {
    ShutdownView view;
    view.pools = {{"a", 1, false, 1s}};
    view.queues = {{"q", 99}};
    view.roles = {{"q", {"a"}, {}}};
    view.allowed = 60s;
    view.deadline = now + 60s;
    CHECK(next_shutdown_action(view, now).drain == Names{"a"});
    CHECK(next_shutdown_action({}, now).done);
}

TEST_CASE("shutdown: roles come from the queues, a star is read from the sockets",
          "[supervisor][shutdown]") {
    const auto config = test::read(R"(
version = 1
[sockets.http]
listen = "tcp://h:1"
[queues.any]
[queues.said]
producers = ["back"]
consumers = ["front"]
[workers.front]
kind = "hub"
command = "x"
sockets = ["http"]
[workers.back]
kind = "hub"
command = "x"
[workers.other]
command = "x"
[workers.sort]
command = "x"
[pipes.lines]
from = "other.stdout"
to = "sort.stdin"
)");
    REQUIRE(config);
    const auto roles = read_roles(*config);
    REQUIRE(roles.size() == 3);
    CHECK(roles[2].queue == "lines");
    CHECK(roles[2].producers == Names{"other"});
    CHECK(roles[2].consumers == Names{"sort"});
    CHECK(roles[2].is_pipe);
    CHECK(roles[0].producers == Names{"front"});
    CHECK(roles[0].consumers == Names{"back"});
    CHECK(roles[1].producers == Names{"back"});
    CHECK(roles[1].consumers == Names{"front"});
}
