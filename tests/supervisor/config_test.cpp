// What a correct file means.
#include "config.hpp"

#include <csignal>

#include <catch2/catch.hpp>

#include "config_support.hpp"
#include "launch.hpp"

using namespace greensup;
using namespace greensup::test;
using Words = std::vector<std::string>;

TEST_CASE("config: a small file is complete through its defaults", "[supervisor][config]") {
    const auto result = read(R"(
version = 1

[sockets.web]
listen = "tcp://127.0.0.1:8080"

[queues.texts]
schema = "document.capnp:Document"

[workers.web]
kind = "hub"
command = ["./web"]
count = 2
sockets = ["web"]

[workers.counter]
kind = "hub"
command = ["./counter"]
count = "auto"
)");
    INFO(join_for_message(mistakes(result)));
    REQUIRE(result);
    const auto& config = *result;
    CHECK(config.file == "/srv/app/workers.toml");
    CHECK(config.directory == "/srv/app");
    CHECK(config.supervisor.name == "workers");
    CHECK(config.supervisor.run_dir == "/tmp/greensup-1000/workers");
    CHECK(config.supervisor.shutdown_timeout == 60s);
    CHECK(config.supervisor.spawn_concurrency == 8);
    CHECK(config.supervisor.hup == OnHup::all);
    REQUIRE(config.workers.size() == 2);
    const auto& web = *config.worker("web");
    CHECK(web.command == Words{"./web"});
    CHECK(web.count == 2);
    CHECK(web.sockets == Words{"web"});
    CHECK(web.cwd == "/srv/app");
    CHECK(web.stop.drain == 30s);
    CHECK(web.roll.deadline == 5min);
    CHECK(config.worker("counter")->count == 4);
    CHECK(config.queue("texts")->schema == "document.capnp:Document");
    CHECK(config.queue("texts")->producers == Words{"*"});
    CHECK(to_text(config.socket("web")->listen) == "tcp://127.0.0.1:8080");
    CHECK(config.worker("nobody") == nullptr);
}

TEST_CASE("config: every key of a worker arrives where it belongs", "[supervisor][config]") {
    const auto result = read_worker(R"(
kind = "exec"
count = "auto/2"
sockets = ["http"]
cwd = "sub/../data"
env = { A = "1", B = "${SECRET}" }
env_pass = ["PATH"]
start_timeout = "10s"
min_uptime = "3s"
ready = { delay = "2s" }
restart = "on-failure"
success_codes = [0, 3, "SIGTERM"]
backoff = { initial = "1s", factor = 3, max = "1m", jitter = "10%", reset = "off" }
intensity = { max = "off", period = "10s", then = "fail" }
stop.signal = "SIGINT"
stop.timeout = "20s"
[workers.web.roll]
min_ready = "0s"
deadline = "off"
max_surge = "25%"
)");
    INFO(join_for_message(mistakes(result)));
    REQUIRE(result);
    const auto& web = result->workers.front();
    CHECK(web.count == 2);
    CHECK(web.cwd == "/srv/app/data");
    CHECK(web.env.at("B") == "s3");
    CHECK(web.ready_delay == 2s);
    CHECK(web.restart == RestartWhen::on_failure);
    CHECK(web.success_codes == Words{"0", "3", "TERM"});
    CHECK(web.backoff.initial == 1s);
    CHECK(web.backoff.factor == 3);
    CHECK(web.backoff.max == 1min);
    CHECK(web.backoff.jitter_percent == 10);
    CHECK(web.backoff.reset == 0s);
    CHECK(web.intensity.max == 0);
    CHECK(web.intensity.then == TooOften::fail);
    CHECK(web.stop.signal == SIGINT);
    CHECK(web.stop.timeout == 20s);
    CHECK(web.stop.drain == 0s);
    CHECK(web.roll.min_ready == 0s);
    CHECK(web.roll.deadline == 0s);
    CHECK(web.roll.max_surge == Amount{25, true});
}

TEST_CASE("config: a percentage of a pool is rounded up and never nobody", "[supervisor][config]") {
    CHECK(resolve({25, true}, 4) == 1);
    CHECK(resolve({25, true}, 5) == 2);
    CHECK(resolve({1, true}, 1) == 1);
    CHECK(resolve({3, false}, 1) == 3);
}

TEST_CASE("config: sections stand in the order of the file", "[supervisor][config]") {
    const auto result = read(
        "version = 1\n[workers.z]\ncommand = 'z'\n[workers.a]\ncommand = 'a'\n[workers.m]\ncommand "
        "= 'm'\n");
    REQUIRE(result);
    CHECK(result->workers[0].name == "z");
    CHECK(result->workers[1].name == "a");
    CHECK(result->workers[2].name == "m");
}

TEST_CASE("config: addresses of all kinds are understood", "[supervisor][config]") {
    const auto address = [](const std::string& text) {
        const auto result = read("version = 1\n[sockets.s]\nlisten = \"" + text +
                                 "\"\n[workers.w]\ncommand = 'w'\n");
        return result ? to_text(result->sockets.front().listen) : mistakes(result).front();
    };
    CHECK(address("tcp://127.0.0.1:8080") == "tcp://127.0.0.1:8080");
    CHECK(address("tcp://localhost:0") == "tcp://localhost:0");
    CHECK(address("tcp://[::1]:80") == "tcp://[::1]:80");
    CHECK(address("unix:run/app.sock") == "unix:/srv/app/run/app.sock");
    CHECK(address("unix:/tmp/x") == "unix:/tmp/x");
    CHECK(address("unix:@name") == "unix:@name");
    CHECK(address("unix:${run.dir}/x") == "unix:/tmp/greensup-1000/workers/x");
    for (const auto* wrong :
         {"8080", "tcp://:80", "tcp://::1:80", "tcp://h:65536", "tcp://h:-1", "tcp://h",
          "tcp://[]:1", "tcp://h:", "unix:", "unix:@", "http://h:1", "", "tcp://a/b:1"}) {
        INFO(wrong);
        CHECK(address(wrong).find("E004 sockets.s.listen: not an address") != std::string::npos);
    }
    CHECK(address("8080") ==
          "3:10 E004 sockets.s.listen: not an address: \"8080\" (write \"tcp://127.0.0.1:8080\")");
    CHECK(address("udp://h:1").find("E015") != std::string::npos);
    CHECK(address("unix:" + std::string(110, 'x')).find("at most 107") != std::string::npos);
}

TEST_CASE("config: a command may be an array or one string, without a shell",
          "[supervisor][config]") {
    const auto command = [](const std::string& text) {
        const auto result = read("version = 1\n[workers.w]\ncommand = " + text + "\n");
        return result ? result->workers.front().command : Words{mistakes(result).front()};
    };
    CHECK(command(R"("./web --name 'a b' '${EMPTY:-x y}'")") ==
          Words{"./web", "--name", "a b", "x y"});
    CHECK(command(R"(["./web", "${instance.index}", "$$5"])") ==
          Words{"./web", "${instance.index}", "$$5"});
    CHECK(command("[]").front().find("must name a program") != std::string::npos);
    CHECK(command("''").front().find("must name a program") != std::string::npos);
    CHECK(command("['']").front().find("must name a program") != std::string::npos);
    CHECK(command("\"a 'b\"").front().find("never closed") != std::string::npos);
    CHECK(command("5").front().find("expected array of strings, or string, got integer (5)") !=
          std::string::npos);
    CHECK(command("['a', 5]").front().find("E003 workers.w.command[1]: expected string") !=
          std::string::npos);
}

TEST_CASE("config: counts follow the machine", "[supervisor][config]") {
    const auto count = [](const std::string& text) {
        const auto result = read_worker("count = " + text);
        return result ? std::to_string(result->workers.front().count) : mistakes(result).front();
    };
    CHECK(count("0") == "0");
    CHECK(count("\"auto\"") == "4");
    CHECK(count("\"auto/2\"") == "2");
    CHECK(count("\"auto/8\"") == "1");
    CHECK(count("\"auto*2\"") == "8");
    CHECK(count("\"${N:-3}\"") == "3");
    CHECK(count("1.5") == "6:9 E004 workers.web.count: must be 0..10000 or \"auto\", got 1.5");
    CHECK(count("-1") == "6:9 E004 workers.web.count: must be 0..10000 or \"auto\", got -1");
    CHECK(count("10001").find("E004") != std::string::npos);
    CHECK(count("\"3\"").find("E004") != std::string::npos);
    CHECK(count("\"auto/0\"").find("E004") != std::string::npos);
    CHECK(count("\"auto*10000\"").find("got 40000") != std::string::npos);
    CHECK(count("true").find("E003") != std::string::npos);
}

TEST_CASE("config: the run directory follows the user", "[supervisor][config]") {
    const std::string text = "version = 1\n[workers.w]\ncommand = 'w'\n";
    auto e = environment();
    e.uid = 0;
    CHECK(read_config(text, "conf/My Shop.toml", e)->supervisor.run_dir == "/run/greensup/my-shop");
    e.variables["XDG_RUNTIME_DIR"] = "/run/user/7";
    CHECK(read_config(text, "a.toml", e)->supervisor.run_dir == "/run/user/7/greensup/a");
    CHECK(read_config(text, "/x/__.toml", e)->supervisor.name == "greensup");
    const std::string rest = "[workers.w]\ncommand = 'w'\n";
    const auto named =
        read_config("version = 1\n[supervisor]\nname = 'shop'\n" + rest, "/x/a.toml", e);
    CHECK(named->supervisor.run_dir == "/run/user/7/greensup/shop");
    const auto placed =
        read_config("version = 1\n[supervisor]\nrun_dir = './run'\n" + rest, "/x/a.toml", e);
    CHECK(placed->supervisor.run_dir == "/x/run");
}

TEST_CASE("config: names that begin with x- are the user's own", "[supervisor][config]") {
    const auto result = read(
        "version = 1\nx-note = 5\n[x-team]\na = 1\n[workers.w]\ncommand = 'w'\nx-owner = 'me'\n");
    INFO(join_for_message(mistakes(result)));
    CHECK(result);
}

TEST_CASE("config: a byte-order mark and CRLF are accepted", "[supervisor][config]") {
    CHECK(read("\xEF\xBB\xBFversion = 1\r\n[workers.w]\r\ncommand = 'w'\r\n"));
}

TEST_CASE("config: what is executed is the command, env_pass and env, per instance",
          "[supervisor][config]") {
    const auto result = read_worker(
        "cwd = 'data/${instance.index}'\nenv = { SHARD = '${instance.index}/${instance.count}', "
        "COST = '$$5' }");
    REQUIRE(result);
    auto worker = result->workers.front();
    worker.command = {"./web", "--gen=${instance.generation}", "$HOME", "$$"};
    const auto launch = make_launch(*result, worker, {1, 2, 7}, environment());
    CHECK(launch.program == "/srv/app/web");
    CHECK(launch.arguments == Words{"./web", "--gen=7", "$HOME", "$"});
    CHECK(launch.directory == "/srv/app/data/1");
    CHECK(launch.environment ==
          Words{"COST=$5", "HOME=/home/me", "LC_ALL=C", "PATH=/usr/bin:/bin", "SHARD=1/2"});
    worker.command = {"nginx"};
    CHECK(make_launch(*result, worker, {}, environment()).program == "nginx");
}

TEST_CASE("config: a queue says how it leases, drops, ages and buries", "[supervisor][config]") {
    const auto result = read(R"(
version = 1
[queues.a]
[queues.b]
when_full = "drop-oldest"
lease = "5m"
max_deliveries = "off"
dead_letter = "a"
ttl = "1h"
high = "90%"
low = "10%"
[queues.c]
when_full = "reject"
delivery = "at-most-once"
lease = "off"
[workers.x]
command = "x"
)");
    REQUIRE(result);
    const auto& a = *result->queue("a");
    CHECK(a.when_full == WhenFull::block);
    CHECK(a.delivery == Delivery::at_least_once);
    CHECK(a.lease == 30s);
    CHECK(a.max_deliveries == 3);
    CHECK(a.dead_letter.empty());
    CHECK(a.ttl == Duration::zero());
    CHECK(a.high_percent == 80);
    CHECK(a.low_percent == 50);
    const auto& b = *result->queue("b");
    CHECK(b.when_full == WhenFull::drop_oldest);
    CHECK(b.lease == 5min);
    CHECK(b.max_deliveries == 0);
    CHECK(b.dead_letter == "a");
    CHECK(b.ttl == 1h);
    CHECK(b.high_percent == 90);
    CHECK(b.low_percent == 10);
    CHECK(result->queue("c")->when_full == WhenFull::reject);
    CHECK(result->queue("c")->delivery == Delivery::at_most_once);
    CHECK(result->queue("c")->lease == Duration::zero());
}

TEST_CASE("config: what shows only when it is carried out has its place in the file",
          "[supervisor][config]") {
    const auto result = read(R"(
version = 1
[queues.a]
  schema = "Job"
[queues.b]
[workers.x]
command = ["/bin/true"]
)");
    REQUIRE(result);
    const auto mistake = [&](const std::string& key) {
        return result->places.mistake("E016", key, "no", "try");
    };
    const auto written = mistake("queues.a.schema");
    CHECK(written.place == Place{4, 12});
    CHECK(written.source_line == "  schema = \"Job\"");
    CHECK(to_text(written) == written.file + ":4:12: error[E016]: queues.a.schema: no\n" +
                                  "      schema = \"Job\"\n               ^\n    hint: try\n");
    // At the section that leaves it out; else it is one of the file as a whole.
    CHECK(mistake("queues.b.schema").place.line == 5);
    CHECK(mistake("queues.b.schema").source_line == "[queues.b]");
    CHECK(mistake("queues.c.schema").place == Place{});
    CHECK(to_text(mistake("")) == written.file + ": error[E016]: no\n    hint: try\n");
}

TEST_CASE("config: a queue is open to everybody unless it says who", "[supervisor][config]") {
    const auto result = read(R"(
version = 1
[queues.a]
[queues.b]
producers = ["x"]
consumers = ["y"]
[workers.x]
kind = "hub"
command = "x"
[workers.y]
kind = "hub"
command = "y"
[workers.z]
command = "z"
)");
    REQUIRE(result);
    const auto x = grants(*result, *result->worker("x"));
    REQUIRE(x.size() == 2);
    CHECK(x[0] == QueueGrant{"a", true, true});
    CHECK(x[1] == QueueGrant{"b", true, false});
    CHECK(grants(*result, *result->worker("y"))[1] == QueueGrant{"b", false, true});
    CHECK(grants(*result, *result->worker("z")).empty());
}
