// What the README shows must be what is built and run.

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sched.h>
#include <sstream>
#include <sys/inotify.h>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "integration/greensup.hpp"
#include "support/run_green.hpp"
#include "workers/http_client.hpp"

using namespace std::chrono_literals;
using tests::Greensup;
using tests::HttpClient;
using tests::run_green_for_real;

namespace {

std::string file(const std::string& name) {
    std::ifstream stream{std::string(GREENSUP_SOURCE) + "/" + name};
    REQUIRE(stream.good());
    std::ostringstream text;
    text << stream.rdbuf();
    return text.str();
}

}  // namespace

TEST_CASE("readme: the worker and its workers.toml are the ones of examples/hello",
          "[integration]") {
    const std::string readme = file("README.md");
    CHECK(readme.find("```cpp\n" + file("examples/hello/hello.cpp") + "```") != std::string::npos);
    CHECK(readme.find("```toml\n" + file("examples/hello/workers.toml") + "```") !=
          std::string::npos);
}

TEST_CASE("examples: hello answers under greensup and leaves when told", "[integration]") {
    run_green_for_real([] {
        ::setenv("HELLO_PORT", "0", 1);
        ::setenv("HELLO_BIN", Greensup::bin().c_str(), 1);
        std::string toml = file("examples/hello/workers.toml");
        const std::string name = "name = \"hello\"";
        toml.replace(toml.find(name), name.size(), name + "\nrun_dir = \"${RUN}\"");
        Greensup greensup{toml};
        cpu_set_t cores;  // those that "auto" counts
        REQUIRE(::sched_getaffinity(0, sizeof(cores), &cores) == 0);
        greensup.await_ready({{"hello", static_cast<std::size_t>(CPU_COUNT(&cores))}});
        {
            HttpClient client{greensup.socket("web")};
            CHECK(client.get("/you").body.find("hello /you from process ") == 0);
        }
        CHECK(greensup.stop().success());
    });
}

TEST_CASE("examples: a worker alone serves on the address it is given and drains on SIGTERM",
          "[integration]") {
    run_green_for_real([] {
        const tests::TempDir dir;
        const std::string address = "unix:" + (dir / "web.sock");
        green::Command command;
        command.argv = {Greensup::bin() + "/hello", "--socket", "web=" + address};
        auto worker = green::Process::start(command);
        const int folder = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        green::Fd changes{folder};
        REQUIRE(::inotify_add_watch(folder, dir.path().c_str(), IN_CREATE) >= 0);
        while (!std::filesystem::exists(dir / "web.sock")) REQUIRE(changes.wait_readable(60s));
        std::optional<HttpClient> client;
        while (!client) {  // between bind and listen it refuses
            try {
                client.emplace(green::Endpoint::parse(address));
            } catch (const std::system_error& error) {
                REQUIRE(error.code().value() == ECONNREFUSED);
                REQUIRE_FALSE(worker.poll().has_value());
                green::yield();
            }
        }
        CHECK(client->get("/").status == 200);
        client.reset();
        CHECK(worker.signal(SIGTERM));
        const auto status = worker.join(60s);
        REQUIRE(status.has_value());
        CHECK(status->success());
    });
}

TEST_CASE("examples: a worker without an address for its socket refuses to start",
          "[integration]") {
    run_green_for_real([] {
        green::Command command;
        command.argv = {Greensup::bin() + "/hello"};
        auto worker = green::Process::start(command);
        const auto status = worker.join(60s);
        REQUIRE(status.has_value());
        CHECK_FALSE(status->success());
    });
}
