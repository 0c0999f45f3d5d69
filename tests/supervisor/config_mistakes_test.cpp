// What a broken file is answered with.
#include <catch2/catch.hpp>

#include "config.hpp"
#include "config_support.hpp"

using namespace greensup;
using namespace greensup::test;
using Lines = std::vector<std::string>;

TEST_CASE("config: five mistakes are reported at once with their places", "[supervisor][config]") {
    const auto result = read(R"(version = 1

[sockets.web]
listen = "8080"

[workers.web]
command = ["./web"]
conut = 2
start_timeout = "5 sec"
sockets = ["wev"]
stop.signal = "SIGTREM"
)");
    REQUIRE_FALSE(result);
    CHECK(mistakes(result) ==
          Lines{
              "4:10 E004 sockets.web.listen: not an address: \"8080\" (write "
              "\"tcp://127.0.0.1:8080\")",
              "8:1 E002 workers.web.conut: unknown key; did you mean \"count\"?",
              "9:17 E006 workers.web.start_timeout: not a duration: \"5 sec\" (write \"500ms\", "
              "\"5s\", \"2m\" or \"1h30m\")",
              "10:12 E007 workers.web.sockets[0]: no socket named \"wev\"; defined: web",
              "11:15 E005 workers.web.stop.signal: unknown signal \"SIGTREM\"; did you mean "
              "\"TERM\"?",
          });
}

TEST_CASE("config: a mistake is shown with its line, a caret and a hint", "[supervisor][config]") {
    const auto result = read_worker("\tstart_timeout = \"5 sec\"");
    REQUIRE_FALSE(result);
    CHECK(to_text(result.error()) ==
          "workers.toml:6:18: error[E006]: workers.web.start_timeout: not a duration: \"5 sec\" "
          "(write \"500ms\", "
          "\"5s\", \"2m\" or \"1h30m\")\n"
          "    \tstart_timeout = \"5 sec\"\n"
          "    \t                ^\n"
          "    hint: write \"5s\"\n");
    CHECK(to_json_text(result.error())
              .find(R"("line":6,"column":18,"code":"E006","key":"workers.web.start_timeout")") !=
          std::string::npos);
}

TEST_CASE("config: the caret stands right after letters of several bytes", "[supervisor][config]") {
    const Diagnostic d{"f", {1, 5}, "E004", "k", "m", "", "äöü = 1"};
    CHECK(to_text(d) == "f:1:5: error[E004]: k: m\n    äöü = 1\n        ^\n");
    const Diagnostic whole{"f", {}, "E011", "", "m", "h", ""};
    CHECK(to_text(whole) == "f: error[E011]: m\n    hint: h\n");
}

TEST_CASE("config: each kind of mistake in a worker has its code and text",
          "[supervisor][config]") {
    using Case = std::pair<const char*, const char*>;
    const auto [keys, expected] = GENERATE(values<Case>({
        {"count = 'two'", "E004 workers.web.count: must be 0..10000 or \"auto\", got \"two\""},
        {"start_timeout = 5", "E003 workers.web.start_timeout: expected duration, got integer (5)"},
        {"start_timeout = '0s'", "E004 workers.web.start_timeout: must be 1ms..1d, got \"0s\""},
        {"start_timeout = 'off'", "E004 workers.web.start_timeout: must be 1ms..1d, got \"off\""},
        {"stop.timeout = true",
         "E003 workers.web.stop.timeout: expected duration, got boolean (true)"},
        {"restart = 'unless-stopped'",
         "E005 workers.web.restart: must be one of always, on-failure, on-abnormal, never, got "
         "\"unless-stopped\""},
        {"kind = 'hubb'",
         "E005 workers.web.kind: must be one of hub, exec, got \"hubb\"; did you mean \"hub\"?"},
        {"env = { A = 1 }", "E003 workers.web.env.A: expected string, got integer (1)"},
        {"env = { 'A=B' = '1' }",
         "E004 workers.web.env.A=B: variable name must not be empty or contain \"=\""},
        {"env = { GREENSUP_FD = '1' }",
         "E004 workers.web.env.GREENSUP_FD: names that begin with GREENSUP_ are greensup's own"},
        {"env = []", "E003 workers.web.env: expected table of strings, got array ([0 items])"},
        {"env_pass = 'PATH'",
         "E003 workers.web.env_pass: expected array of strings, got string (\"PATH\")"},
        {"success_codes = [300]",
         "E004 workers.web.success_codes[0]: exit code must be 0..255, got 300"},
        {"success_codes = [1.5]",
         "E003 workers.web.success_codes[0]: expected integer or signal name, got number (1.5)"},
        {"backoff.factor = 0.5", "E004 workers.web.backoff.factor: must be 1..10, got 0.5"},
        {"backoff.factor = nan", "E004 workers.web.backoff.factor: must be 1..10, got nan"},
        {"backoff.jitter = 0.2",
         "E003 workers.web.backoff.jitter: expected percent, got number (0.2)"},
        {"backoff.jitter = '20'",
         "E006 workers.web.backoff.jitter: not a percentage: \"20\" (write \"20%\")"},
        {"backoff.jitter = '120%'",
         "E004 workers.web.backoff.jitter: must be 0%..100%, got \"120%\""},
        {"backoff = '5s'", "E003 workers.web.backoff: expected table, got string (\"5s\")"},
        {"backoff = { inital = '1s' }",
         "E002 workers.web.backoff.inital: unknown key; did you mean \"backoff.initial\"?"},
        {"backoff = { initial = '5s', max = '1s' }",
         "E014 workers.web.backoff.max: backoff.max (1s) is below backoff.initial (5s)"},
        {"backoff.initial = '1m'",
         "E014 workers.web.backoff.initial: backoff.max (30s) is below backoff.initial (1m)"},
        {"intensity.max = 0",
         "E004 workers.web.intensity.max: must be 1..1000000 or \"off\", got 0"},
        {"intensity.max = 'none'",
         "E005 workers.web.intensity.max: must be one of off, got \"none\""},
        {"intensity.then = 'shutdown'",
         "E015 workers.web.intensity.then: \"shutdown\" is known, but not supported by this "
         "version of greensup yet"},
        {"stop.signal = 'STOP'",
         "E005 workers.web.stop.signal: signal \"STOP\" cannot end a worker"},
        {"stop.timeout = '2m'",
         "E014 workers.web.stop.timeout: stop.timeout (2m) is longer than "
         "supervisor.shutdown_timeout (1m)"},
        {"stop.drain = '5s'",
         "E009 workers.web.stop.drain: cannot be used with kind = \"exec\", the default"},
        {"kind = 'hub'\nready.delay = '1s'",
         "E009 workers.web.ready.delay: cannot be used with kind = \"hub\" (line 6)"},
        {"kind = 'hub'\nroll.deadline = '10s'",
         "E014 workers.web.roll.deadline: roll.deadline (10s) is shorter than start_timeout + "
         "roll.min_ready (32s)"},
        {"roll.max_surge = 0",
         "E004 workers.web.roll.max_surge: must be 1..10000 or more than 0%, got 0"},
        {"roll.max_surge = '0%'",
         "E004 workers.web.roll.max_surge: must be 1..10000 or more than 0%, got \"0%\""},
        {"roll.max_unavailable = 1",
         "E015 workers.web.roll.max_unavailable: known, but not supported by this version of "
         "greensup yet"},
        {"log.format = 'json'",
         "E015 workers.web.log: known, but not supported by this version of greensup yet"},
        {"rlimit = { nofile = 5 }",
         "E015 workers.web.rlimit: known, but not supported by this version of greensup yet"},
        {"ready.by = 'tcp'",
         "E015 workers.web.ready.by: known, but not supported by this version of greensup yet"},
        {"queues = ['a']", "E002 workers.web.queues: unknown key"},
        {"threads = 5", "E002 workers.web.threads: unknown key"},
        {"sockets = ['http', 'http']", "E013 workers.web.sockets[1]: \"http\" stands there twice"},
        {"after = ['db']", "E007 workers.web.after[0]: no worker named \"db\"; defined: web"},
        {"after = ['web:ready']", "E008 workers.web.after: cycle: web (line 6) -> web"},
        {"after = ['web:healthy']",
         "E008 workers.web.after: cycle: web (line 6) -> web\n"
         "E015 workers.web.after: condition \"healthy\" is known, but not supported by this "
         "version of greensup yet"},
        {"cwd = ''", "E004 workers.web.cwd: must not be empty"},
        {"cwd = \"a\\u0000b\"", "E004 workers.web.cwd: must not contain a zero character"},
        {"cwd = '${NOPE}'", "E012 workers.web.cwd: ${NOPE} is not set"},
        {"env.A = '${NOPE:?give me one}'", "E012 workers.web.env.A: give me one"},
        {"sockets = ['${instance.index}']",
         "E012 workers.web.sockets[0]: ${instance.index} has no value here"},
        {"start_timeout = 1979-05-27",
         "E003 workers.web.start_timeout: expected duration, got date or time (…)"},
    }));
    CHECK(mistake_in_worker(keys) == expected);
}

TEST_CASE("config: the other sections are checked too", "[supervisor][config]") {
    const std::string worker = "\n[workers.w]\ncommand = 'w'\n";
    using Case = std::pair<const char*, const char*>;
    const auto [text, expected] = GENERATE(values<Case>({
        {"", "1:1 E010 version: required"},
        {"version = 2", "1:11 E004 version: must be 1, got 2"},
        {"version = '1'", "1:11 E003 version: expected integer, got string (\"1\")"},
        {"version = 1\n[workrs.x]\na=1",
         "2:2 E002 workrs: unknown section [workrs]; did you mean [workers]?"},
        {"version = 1\nsocktes = 5", "2:1 E002 socktes: unknown key; did you mean \"sockets\"?"},
        {"version = 1\n[tasks.x]",
         "2:2 E015 tasks: known, but not supported by this version of greensup yet"},
        {"version = 1\ninclude = ['a']",
         "2:1 E015 include: known, but not supported by this version of greensup yet"},
        {"version = 1\nqueues = 5", "2:10 E003 queues: expected table, got integer (5)"},
        {"version = 1\n[queues]\na = 5", "3:5 E003 queues.a: expected table, got integer (5)"},
        {"version = 1\n[[queues]]\na = 5",
         "2:1 E003 queues: expected table, got array ([1 items])"},
        {"version = 1\n[queues.Big]",
         "2:9 E004 queues.Big: must match [a-z0-9][a-z0-9_-]{0,31}, got \"Big\""},
        {"version = 1\n[queues.a]\ndurable = true",
         "3:1 E015 queues.a.durable: known, but not supported by this version of greensup yet"},
        {"version = 1\n[queues.a]\nlease = '5 sec'",
         "3:9 E006 queues.a.lease: not a duration: \"5 sec\" (write \"500ms\", \"5s\", \"2m\", "
         "\"1h30m\" or \"off\")"},
        {"version = 1\n[queues.a]\nwhen_full = 'drop'",
         "3:13 E005 queues.a.when_full: must be one of block, reject, drop-oldest, drop-newest, "
         "got \"drop\""},
        {"version = 1\n[queues.a]\nwhen_full = 'spill'",
         "3:13 E015 queues.a.when_full: \"spill\" is known, but not supported by this version "
         "of greensup yet"},
        {"version = 1\n[queues.a]\ndelivery = 'exactly-once'",
         "3:12 E005 queues.a.delivery: must be one of at-least-once, at-most-once, got "
         "\"exactly-once\""},
        {"version = 1\n[queues.a]\nmax_deliveries = 300",
         "3:18 E004 queues.a.max_deliveries: must be 1..255 or \"off\", got 300"},
        {"version = 1\n[queues.a]\ndead_letter = 'b'",
         "3:15 E007 queues.a.dead_letter: no queue named \"b\"; defined: a"},
        {"version = 1\n[queues.a]\ndead_letter = 'a'",
         "3:15 E008 queues.a.dead_letter: a queue cannot be its own dead letter"},
        {"version = 1\n[queues.a]\ndead_letter = 'b'\n[queues.b]\nmax_message = '64KiB'",
         "3:15 E014 queues.a.dead_letter: max_message (1MiB) is larger than that of \"b\" (64KiB)"},
        {"version = 1\n[queues.a]\nmax_message = '64KiB'\ndead_letter = 'b'\n[queues.b]\n"
         "max_bytes = '64KiB'",
         "4:15 E014 queues.a.dead_letter: a message of max_message (64KiB) does not fit into "
         "max_bytes of \"b\" (64KiB) with its 17 bytes of origin"},
        {"version = 1\n[queues.a]\nhigh = '40%'",
         "3:8 E014 queues.a.high: low (50%) is not below high (40%)"},
        {"version = 1\n[queues.a]\ncapacity = 0",
         "3:12 E004 queues.a.capacity: must be 1..1048576, got 0"},
        {"version = 1\n[queues.a]\ncapacity = -1",
         "3:12 E004 queues.a.capacity: must be 1..1048576, got -1"},
        {"version = 1\n[queues.a]\nmax_bytes = 5",
         "3:13 E003 queues.a.max_bytes: expected size, got integer (5)"},
        {"version = 1\n[queues.a]\nmax_bytes = '5 MB'",
         "3:13 E006 queues.a.max_bytes: not a size: \"5 MB\" (write \"64KiB\", \"10MB\" or "
         "\"1GiB\")"},
        {"version = 1\n[queues.a]\nmax_bytes = '1KiB'",
         "3:13 E004 queues.a.max_bytes: must be 64KiB..1TiB, got \"1KiB\""},
        {"version = 1\n[queues.a]\nmax_message = '128MiB'",
         "3:15 E014 queues.a.max_message: max_message (128MiB) is larger than max_bytes (64MiB)"},
        {"version = 1\n[queues.a]\nproducers = ['v']",
         "3:14 E007 queues.a.producers[0]: no worker named \"v\"; defined: w"},
        {"version = 1\n[queues.a]\nproducers = ['*', 'w']",
         "3:19 E014 queues.a.producers[1]: \"w\" is not of kind \"hub\""},
        {"version = 1\n[queues.a]\nconsumers = [\n  'w',\n]",
         "4:3 E014 queues.a.consumers[0]: \"w\" is not of kind \"hub\""},
        {"version = 1\n[sockets.a]", "2:10 E010 sockets.a.listen: required"},
        {"version = 1\n[sockets.a]\nport = 80\nlisten='tcp://h:1'",
         "3:1 E002 sockets.a.port: unknown key"},
        {"version = 1\n[sockets.a]\nlisten='tcp://h:1'\nbacklog=0",
         "4:9 E004 sockets.a.backlog: must be 1..65535, got 0"},
        {"version = 1\n[sockets.a]\nlisten='tcp://h:1'\n[sockets.b]\nlisten='tcp://h:1'",
         "5:8 E013 sockets.b.listen: tcp://h:1 is already the address of \"a\" (line 3)"},
        {"version = 1\n[supervisor]\nname = 'My App'",
         "3:8 E004 supervisor.name: must match [a-z0-9][a-z0-9_-]{0,31}, got \"My App\""},
        {"version = 1\n[supervisor]\ncontrol_mode = 'rw'",
         "3:16 E004 supervisor.control_mode: must be octal 0000..0777, got \"rw\""},
        {"version = 1\n[supervisor]\nhup = 'none'",
         "3:7 E005 supervisor.hup: must be one of all, changed, got \"none\""},
        {"version = 1\n[supervisor]\nspawn_concurrency = -1",
         "3:21 E004 supervisor.spawn_concurrency: must be 1..1024 or \"auto\", got -1"},
        {"version = 1\n[supervisor]\npid1 = true",
         "3:1 E015 supervisor.pid1: known, but not supported by this version of greensup yet"},
        {"version = 1\n[supervisor]\nshutdown_timeout = '5'",
         "3:20 E006 supervisor.shutdown_timeout: not a duration: \"5\" (write \"500ms\", \"5s\", "
         "\"2m\" or \"1h30m\")"},
    }));
    CHECK(mistakes(read(text + worker)) == Lines{expected});
}

TEST_CASE("config: a run directory too long for sockets is refused", "[supervisor][config]") {
    const auto result = read("version = 1\n[supervisor]\nrun_dir = '/" + std::string(100, 'r') +
                             "'\n[workers.w]\ncommand='w'\n");
    REQUIRE_FALSE(result);
    CHECK(
        result.error().front().message.starts_with("must be at most 90 characters long, got 101"));
}

TEST_CASE("config: no worker at all is a mistake", "[supervisor][config]") {
    CHECK(mistakes(read("version = 1\n")) == Lines{"1:1 E010 workers: required"});
    CHECK(mistakes(read("version = 1\n[workers.w]\n")) ==
          Lines{"2:10 E010 workers.w.command: required"});
    CHECK(mistakes(read("")) == Lines{"1:1 E010 version: required"});
}

TEST_CASE("config: a cycle of after names everybody in it once", "[supervisor][config]") {
    const auto result = read(R"(version = 1
[workers.a]
command = "a"
after = ["b"]
[workers.b]
command = "b"
after = ["c:ready"]
[workers.c]
command = "c"
after = ["b"]
)");
    CHECK(mistakes(result) ==
          Lines{"7:9 E008 workers.b.after: cycle: b (line 7) -> c (line 10) -> b"});
}

TEST_CASE("config: dead letters that go round in a circle are one mistake",
          "[supervisor][config]") {
    const auto result = read(R"(version = 1
[queues.k]
dead_letter = "l"
[queues.l]
dead_letter = "m"
[queues.m]
dead_letter = "l"
[workers.w]
command = "w"
)");
    CHECK(mistakes(result) ==
          Lines{"5:15 E008 queues.l.dead_letter: cycle: l (line 5) -> m (line 7) -> l"});
}

TEST_CASE("config: what means nothing for a queue is noted, and no mistake",
          "[supervisor][config]") {
    const auto text = [](const std::string& keys) {
        return "version = 1\n[queues.a]\n" + keys + "\n[queues.b]\n[workers.w]\ncommand = 'w'\n";
    };
    const auto ignored = [&](const std::string& keys) {
        const auto result = read(text(keys));
        REQUIRE(result);
        return result->queue("a")->ignored;
    };
    CHECK(ignored("lease = '1s'\nmax_deliveries = 3").empty());
    const std::string once = "delivery = 'at-most-once'\n";
    CHECK(ignored(once + "dead_letter = 'b'").empty());
    CHECK(ignored(once + "lease = '1s'") == "lease");
    CHECK(ignored(once + "lease = 'off'\nmax_deliveries = 3") == "lease, max_deliveries");
    // A default that is as large as the other's memory.
    CHECK(
        read("version = 1\n[queues.a]\nmax_bytes = '64KiB'\ndead_letter = 'b'\n[queues.b]\n"
             "max_bytes = '64KiB'\n[workers.w]\ncommand = 'w'\n"));
}

TEST_CASE("config: a default is never blamed on the user", "[supervisor][config]") {
    CHECK(
        read("version = 1\n[supervisor]\nshutdown_timeout = '5s'\n[workers.w]\nkind = "
             "'hub'\ncommand = 'w'\n"));
    const auto queue =
        read("version = 1\n[queues.q]\nmax_bytes = '64KiB'\n[workers.w]\ncommand = 'w'\n");
    REQUIRE(queue);
    CHECK(queue->queues.front().max_message == 65536);
    const auto slow =
        read("version = 1\n[workers.w]\nkind = 'hub'\ncommand = 'w'\nstart_timeout = '10m'\n");
    REQUIRE(slow);
    CHECK(slow->workers.front().roll.deadline == 10min + 2s);
}

TEST_CASE("config: a file that cannot be read says why", "[supervisor][config]") {
    auto e = environment();
    e.working_directory = "/";
    const auto missing = read_config_file("no/such/workers.toml", e);
    REQUIRE_FALSE(missing);
    CHECK(to_text(missing.error()) ==
          "no/such/workers.toml: error[E011]: cannot read: No such file or directory\n");
    CHECK(read_config_file("/tmp", e).error().front().message == "cannot read: it is a directory");
}

TEST_CASE("config: variables are answered at the place where they stand", "[supervisor][config]") {
    const auto result = read_worker("env = { A = \"ä ${HOME} ${PORT}\" }");
    CHECK(mistakes(result) == Lines{"6:24 E012 workers.web.env.A: ${PORT} is not set"});
    CHECK(result.error().front().hint == "write ${PORT:-default} or export it");
}
