// The program itself, as people and scripts call it.
#include <csignal>
#include <filesystem>

#include <catch2/catch.hpp>

#include "shell_support.hpp"
#include "support/run_green.hpp"
#include "support/text_files.hpp"

using namespace greensup;
using namespace greensup::test;

namespace {

struct Said {
    int code = -1;
    std::string out;
    std::string err;
};

Said say(const tests::TempDir& directory, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), GREENSUP_PROGRAM);
    const auto open = [&](const char* name) {
        return green::Fd{
            ::open((directory / name).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    };
    const auto out = open("out");
    const auto err = open("err");
    green::Command command{std::move(arguments)};
    command.descriptors = {{out.number(), STDOUT_FILENO}, {err.number(), STDERR_FILENO}};
    command.null_stdin = true;
    command.cwd = directory.path();
    command.parent_death_signal = SIGKILL;
    auto process = green::Process::start(command);
    const auto ended = process.join(Running::patience);
    REQUIRE(ended);
    return {ended->code, tests::text_of(directory / "out"), tests::text_of(directory / "err")};
}

const std::string quiet =
    "[workers.a]\ncommand = [\"/bin/sleep\", \"1000\"]\nready.delay = \"10ms\"\n";

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("cli: a file is checked without being run", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        const tests::TempDir directory;
        directory.write("workers.toml", "version = 1\n" + quiet);
        const auto good = say(directory, {"check"});
        CHECK(good.code == 0);
        CHECK(contains(good.out, "1 worker, "));
        directory.write(
            "workers.toml",
            "version = 1\n[workers.a]\ncommand = [\"x\"]\ncuont = 1\nrestart = \"no\"\n");
        const auto bad = say(directory, {"check", "workers.toml"});
        CHECK(bad.code == 3);
        CHECK(contains(bad.err, "workers.toml:4:1: error[E002]"));
        CHECK(contains(bad.err, "workers.toml:5:11: error[E005]"));
        CHECK(contains(bad.err, "2 mistakes"));
        CHECK(say(directory, {"check", "--json", "-f", "workers.toml"}).out.find("[{\"file\"") ==
              0);
        CHECK(say(directory, {"start", "workers.toml"}).code == 3);
        CHECK(say(directory, {"start", "missing.toml"}).code == 3);
    });
}

TEST_CASE("cli: wrong usage is 2, help is 0", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        const tests::TempDir directory;
        for (const auto& wrong : std::vector<std::vector<std::string>>{
                 {}, {"dance"}, {"start"}, {"status", "--nonsense"}, {"shutdown", "a", "b"}})
            CHECK(say(directory, wrong).code == 2);
        CHECK(contains(say(directory, {"dance"}).err, "greensup: no verb \"dance\"; there are"));
        CHECK(say(directory, {"start"}).err ==
              "greensup: FILE is required\n    hint: see greensup start --help\n");
        CHECK(contains(say(directory, {"--help"}).out, "Examples:"));
        CHECK(say(directory, {"status", "--help"}).code == 0);
        CHECK(contains(say(directory, {"--version"}).out, "greensup "));
    });
}

TEST_CASE("cli: where no supervisor is, the code is 4", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        const tests::TempDir directory;
        const auto without_file = say(directory, {"status"});
        CHECK(without_file.code == 4);
        CHECK(contains(without_file.err, "runs: cannot read: No such file or directory"));
        const auto nobody = say(directory, {"status", "--run-dir", directory / "run"});
        CHECK(nobody.code == 4);
        CHECK(contains(nobody.err, "hint: start one with"));
        const auto json = say(directory, {"status", "--json", "--run-dir", directory / "run"});
        CHECK(contains(json.out, "\"id\":\"no-supervisor\""));
        CHECK(say(directory, {"reload", "--run-dir", directory / "run"}).code == 4);
        CHECK(say(directory, {"shutdown", "--run-dir", directory / "run"}).code == 4);
    });
}

TEST_CASE("cli: a running supervisor is asked, told and stopped", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(quiet);
        running.await_settled();
        const auto& directory = running.directory();
        CHECK(contains(say(directory, {"status"}).out, "ready"));
        CHECK(contains(say(directory, {"status", "-f", "workers.toml", "--json"}).out,
                       "\"schema\": \"greensup/1\""));
        CHECK(say(directory, {"reload"}).out == "nothing to do\ngeneration 1\n");

        // Its file is broken now, and says so, but it can still be found by it.
        running.write_raw("[supervisor]\nrun_dir = \"" + running.run_dir() +
                          "\"\n[workers.a]\ncuont = 3\n[workers\n");
        const auto refused = say(directory, {"reload"});
        CHECK(refused.code == 3);
        CHECK(contains(refused.err, "workers.toml:4:1: error[E002]"));
        CHECK(contains(refused.err, "cuont = 3\n"));
        CHECK(contains(say(directory, {"status"}).out, "config: rejected"));

        CHECK(say(directory, {"shutdown", "--fast"}).code == 0);
        CHECK(running.end().success());
        CHECK(say(directory, {"status"}).code == 4);
    });
}

TEST_CASE("cli: a reload that cannot be done is 1 and says where, once", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(quiet);
        running.await_settled();
        auto taken = green::Listener::bind(green::Endpoint::parse("127.0.0.1:0"));
        const auto address = taken.local().text();
        running.write(quiet + "sockets = [\"web\"]\n[sockets.web]\nlisten = \"" + address + "\"\n");
        const auto said = say(running.directory(), {"reload"});
        CHECK(said.code == 1);
        CHECK(said.out.empty());
        const auto place =
            said.err.find(":10:10: error[E016]: sockets.web.listen: cannot listen on " + address +
                          ": Address already in use\n    listen = \"" + address +
                          "\"\n             ^\n    hint: ");
        CHECK(place != std::string::npos);
        CHECK(said.err.find("error[E016]", place + 20) == std::string::npos);
        CHECK(said.err.ends_with("greensup: nothing was changed\n"));
        // And is still told to who comes later.
        CHECK(contains(say(running.directory(), {"status"}).out, ":10:10: error[E016]"));
        CHECK(running.status().generation == 1);
    });
}

TEST_CASE("cli: a reload whose roll fails is 11", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(quiet);
        running.await_settled();
        running.write("[workers.a]\ncommand = [\"/does/not/exist\"]\n");
        const auto said = say(running.directory(), {"reload", "--json"});
        CHECK(said.code == 11);
        CHECK(contains(said.out, "\"id\":\"roll-failed\""));
        CHECK(contains(said.out, "exec /does/not/exist"));
    });
}
