#include "status.hpp"

#include <cerrno>
#include <csignal>

#include <catch2/catch.hpp>

using namespace greensup;

namespace {

constexpr std::int64_t noon = 1'795'179'262'113;  // 2026-11-20T12:54:22.113Z

InstanceStatus serving(int slot, std::uint64_t generation) {
    InstanceStatus instance;
    instance.slot = slot;
    instance.state = State::ready;
    instance.pid = 4000 + slot;
    instance.generation = generation;
    instance.since_ms = noon - 7'871'000;
    return instance;
}

Status shop() {
    Status status;
    status.name = "shop";
    status.pid = 4211;
    status.version = "0.1.0";
    status.generation = 7;
    status.uptime = 72h + 4h + 12min;
    status.now_ms = noon;
    status.config.file = "/srv/workers.toml";
    PoolStatus web{"web", true, false, false, 2, 6, "", {serving(0, 6), serving(1, 6)}};
    PoolStatus parse{"parse", true, false,          true,
                     2,       7,    "1 of 2 moved", {serving(0, 6), serving(0, 7), serving(1, 6)}};
    PoolStatus store{"store", true, true, false, 2, 5, "", {serving(0, 5), {}}};
    auto& crashing = store.instances[1];
    crashing.slot = 1;
    crashing.state = State::backoff;
    crashing.generation = 5;
    crashing.cause = {Cause::Kind::exit, 3, ""};
    crashing.restarts = 41;
    crashing.since_ms = noon - 464'000;
    crashing.next_at_ms = noon + 18'400;
    status.pools = {web, parse, store};
    QueueStatus raw;
    raw.name = "raw";
    raw.ready = 12;
    raw.bytes = 91220;
    raw.high = true;
    raw.removed = true;
    raw.oldest_ms = 62'000;
    QueueStatus jobs;
    jobs.name = "jobs";
    jobs.ready = 340;
    jobs.leased = 12;
    jobs.bytes = 1;
    jobs.dead = 2;
    jobs.oldest_ms = 7'000;
    jobs.redelivered = 5;
    jobs.dropped_oldest = 1;
    jobs.expired = 3;
    jobs.accepted = 400;
    jobs.acked = 42;
    jobs.holders = {{"parse", 0, 4301, 9}, {"store", 1, 4309, 3}};
    status.queues = {raw, jobs};
    PipeStatus lines;
    lines.name = "lines";
    lines.from = "web.stdout";
    lines.to = "parse.stdin";
    lines.shape = "merge";
    lines.waiting = 4096;
    lines.passed = 1U << 20;
    lines.torn = 1;
    lines.missed = 1024;
    lines.writers = {{0, 4301, "open", 1U << 20, 4000, 5000}, {1, 0, "gone", 7, 0, 0}};
    lines.readers = {{0, 4309, "open", 1U << 20, 96, 192000},
                     {1, 4310, "closed", 0, 0, 0},
                     {2, 0, "gone", 0, 5, 0}};
    status.pipes = {lines};
    status.sockets = {{"web", "tcp://127.0.0.1:8080"}};
    return status;
}

PoolStatus pool_of(int count, std::initializer_list<State> states) {
    PoolStatus pool;
    pool.count = count;
    for (const auto state : states) {
        InstanceStatus instance;
        instance.state = state;
        pool.instances.push_back(instance);
    }
    return pool;
}

}  // namespace

TEST_CASE("status: the table shows pools, queues, pipes and what is wrong",
          "[supervisor][status]") {
    CHECK(
        to_text(shop()) ==
        "shop  up 3d 04:12  pid 4211  gen 7  7 instances  1 degraded  queues: raw 12 jobs 340+12\n"
        "POOL   STATE     READY  GEN  RESTARTS  SINCE\n"
        "web    ready     2/2    6    0         02:11:11\n"
        "parse  rolling   3/2    6→7  0         02:11:11  1 of 2 moved\n"
        "store  degraded  1/2    5    41        00:07:44  slot 1: exit 3; next try in 18s\n"
        "\n"
        "QUEUE  READY  LEASED  DELAYED  DEAD  OLDEST    REDELIVERED  DROPPED\n"
        "raw    12     0       0        0     00:01:02  0            0        not in the file any "
        "more; high\n"
        "jobs   340    12      0        2     00:00:07  5            4        with parse/0 9, "
        "store/1 3\n"
        "\n"
        "PIPE   FROM        TO           SHAPE  WAITING  PASSED  TORN  REFUSED\n"
        "lines  web.stdout  parse.stdin  merge  4KiB     1MiB    1     0        missed 1KiB; "
        "parse/0 "
        "(pid 4309) has read nothing for 00:03:12; parse/1 (pid 4310) has closed its input; and 1 "
        "more\n");
}

TEST_CASE("status: a rejected configuration is shown with its mistakes", "[supervisor][status]") {
    Status status;
    status.name = "x";
    status.now_ms = noon;
    status.config.rejected = true;
    status.config.rejected_at_ms = noon - 5000;
    status.config.mistakes = {{"w.toml", {4, 9}, "E004", "a.b", "must be 1", "try 1", "b = 2"}};
    const auto text = to_text(status);
    CHECK(text.find("config: rejected 00:00:05 ago; the one before stays in force\n"
                    "w.toml:4:9: error[E004]: a.b: must be 1\n") != std::string::npos);
}

TEST_CASE("status: the JSON has the promised fields and is read back as it was",
          "[supervisor][status]") {
    auto status = shop();
    status.stopping = true;
    status.config.rejected = true;
    status.config.rejected_at_ms = noon;
    status.config.mistakes = {{"w.toml", {4, 9}, "E004", "a.b", "must be \"1\"", "hint", "b = 2"}};
    status.pools[0].wanted = false;
    status.pools[0].instances[0].cause = {Cause::Kind::exec, ENOENT, "exec ./x"};
    status.pools[0].instances[1].cause = {Cause::Kind::signal, SIGKILL, ""};
    status.pools[1].instances[0].cause = {Cause::Kind::requested, 0, "roll"};
    status.pools[1].instances[1].on_trial = true;
    const auto text = to_json_text(status);
    CHECK(text.find('\n') == std::string::npos);
    CHECK(text.starts_with(
        R"({"schema":"greensup/1","ok":true,"supervisor":{"name":"shop","pid":4211,"generation":7,"uptime_s":274320.0)"));
    CHECK(
        text.find(
            R"({"slot":1,"state":"backoff","pid":null,"generation":5,"cause":{"kind":"exit","code":3,"text":"exit 3"},"since":"2026-11-20T12:46:38.113Z","next_at":"2026-11-20T12:54:40.513Z","restarts":41)") !=
        std::string::npos);
    CHECK(
        text.find(
            R"({"name":"jobs","depth":352,"ready":340,"leased":12,"delayed":0,"dead":2,"bytes":1,"oldest_ms":7000,"high":false,"letters_full":false,"removed":false,"accepted":400,"acked":42,"redelivered":5,"moved":0,"duplicates":0,"dropped_oldest":1,"dropped_newest":0,"rejected":0,"expired":3,"refused":0,"leases_expired":0,"holders":[{"worker":"parse","slot":0,"pid":4301,"leased":9},{"worker":"store","slot":1,"pid":4309,"leased":3}]})") !=
        std::string::npos);
    CHECK(
        text.find(
            R"("pipes":[{"name":"lines","from":"web.stdout","to":"parse.stdin","shape":"merge","waiting":4096,"passed":1048576,"torn":1,"refused":0,"missed":1024,"removed":false,"writers":[{"slot":0,"pid":4301,"state":"open","bytes":1048576,"waiting":4000,"stands_ms":5000},{"slot":1,"pid":null,"state":"gone","bytes":7,"waiting":0,"stands_ms":0}],"readers":[{"slot":0,)") !=
        std::string::npos);
    for (const bool pretty : {false, true}) {
        const auto again = parse_status(to_json_text(status, pretty));
        REQUIRE(again.has_value());
        CHECK(to_json_text(*again) == text);
        CHECK(to_text(*again) == to_text(status));
        CHECK(again->queues[0].removed);
    }
}

TEST_CASE("status: what is not a status document is not taken for one", "[supervisor][status]") {
    CHECK_FALSE(parse_status("").has_value());
    CHECK_FALSE(parse_status("[1]").has_value());
    CHECK_FALSE(parse_status("{\"schema\":\"greensup/1\"}").has_value());
    CHECK_FALSE(parse_status("{\"schema\":5}").has_value());
    auto text = to_json_text(shop());
    for (std::size_t i = 0; i < text.size(); i += 7)
        CHECK_FALSE(parse_status(text.substr(0, i)).has_value());
    text.replace(text.find("4211"), 4, "\"no\"");
    CHECK_FALSE(parse_status(text).has_value());
}

TEST_CASE("status: names with broken UTF-8 do not break the document", "[supervisor][status]") {
    auto status = shop();
    status.name = "a\xFFz";
    REQUIRE(parse_status(to_json_text(status)).has_value());
}

TEST_CASE("status: an error document has code, id, message and hint", "[supervisor][status]") {
    CHECK(
        error_json_text(5, "no-such-target", "no pool named \"stroe\"", "store") ==
        R"({"schema":"greensup/1","ok":false,"code":5,"error":{"id":"no-such-target","message":"no pool named \"stroe\"","hint":"store"}})");
}

TEST_CASE("status: a pool's state follows from its instances", "[supervisor][status]") {
    CHECK(state_of(pool_of(2, {State::ready, State::ready})) == PoolState::ready);
    CHECK(state_of(pool_of(2, {State::ready, State::starting})) == PoolState::starting);
    CHECK(state_of(pool_of(2, {State::ready, State::backoff})) == PoolState::degraded);
    CHECK(state_of(pool_of(2, {State::failed, State::failed})) == PoolState::failed);
    CHECK(state_of(pool_of(2, {State::ready, State::failed})) == PoolState::degraded);
    CHECK(state_of(pool_of(1, {State::done})) == PoolState::done);
    CHECK(state_of(pool_of(0, {})) == PoolState::ready);
    auto leaving = pool_of(1, {State::draining});
    leaving.wanted = false;
    CHECK(state_of(leaving) == PoolState::stopping);
    leaving.instances.clear();
    CHECK(state_of(leaving) == PoolState::stopped);
}
