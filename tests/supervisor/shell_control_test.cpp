// The control socket, and clients that mean harm or know no better.
#include <algorithm>
#include <csignal>
#include <filesystem>

#include <catch2/catch.hpp>

#include "control_client.hpp"
#include "control_server.hpp"
#include "shell_support.hpp"
#include "support/run_green.hpp"

using namespace greensup;
using namespace greensup::test;

namespace {

const std::string quiet =
    "[workers.a]\ncommand = [\"/bin/sleep\", \"1000\"]\nready.delay = \"10ms\"\n";

green::Stream connect(const Running& running) {
    return green::Stream::connect(
        green::Endpoint::parse("unix:" + running.run_dir() + "/control.sock"));
}

/// What comes until the end of a line or of the connection.
std::string read_line(green::Stream& stream) {
    std::string line;
    char part[4096];
    while (line.empty() || line.back() != '\n') {
        const auto size = stream.read_some(std::span<char>(part), Running::patience);
        if (size == 0) break;
        line.append(part, size);
    }
    return line;
}

}  // namespace

TEST_CASE("control: what is no request is refused, and the client stays", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(quiet);
        running.await_settled();
        auto stream = connect(running);
        for (const auto* wrong : {"hello\n", "[]\n", "{}\n", "{\"verb\":7}\n", "\n",
                                  "{\"verb\":\"reload\",\"wait\":3}\n", "\xff\xfe{\n"}) {
            stream.write_all(wrong);
            const auto answer = parse_answer(read_line(stream));
            REQUIRE(answer);
            CHECK(answer->code == Code::usage);
        }
        stream.write_all("{\"id\":[1,\"x\"],\"verb\":\"dance\"}\n");
        const auto line = read_line(stream);
        CHECK(line.find("{\"id\":[1,\"x\"],") == 0);
        CHECK(parse_answer(line)->message == "no verb named \"dance\"");
        stream.write_all("{\"id\":1,\"verb\":\"status\"}\n{\"id\":2,\"verb\":\"status\"}\n");
        std::string lines;
        while (std::count(lines.begin(), lines.end(), '\n') < 2) lines += read_line(stream);
        CHECK(lines.find("{\"id\":2,") != std::string::npos);
        CHECK(parse_status(lines.substr(0, lines.find('\n'))));
    });
}

TEST_CASE("control: too long a request ends its client only", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(quiet);
        running.await_settled();
        auto stream = connect(running);
        try {
            const std::string part(65536, 'x');
            for (int i = 0; i < 32; ++i) stream.write_all(part);
        } catch (const std::system_error&) {  // it was closed before we were through
        }
        try {
            const auto answer = parse_answer(read_line(stream));
            if (answer) CHECK(answer->code == Code::usage);
        } catch (const std::system_error&) {  // reset: what it had not read was in the way
        }
        CHECK(running.status().pools.size() == 1);
    });
}

TEST_CASE("control: clients that do not read, or say nothing, hold up nobody",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(quiet);
        running.await_settled();
        std::vector<green::Stream> deaf;
        for (int i = 0; i < 20; ++i) {
            deaf.push_back(connect(running));
            // Far more answers than fit between us.
            std::string requests;
            for (int k = 0; k < 2000; ++k) requests += "{\"id\":1,\"verb\":\"status\"}\n";
            try {
                deaf.back().write_all(requests, 20ms);
            } catch (const green::WriteError&) {  // it does not read either any more: good
            }
        }
        std::vector<green::Stream> silent;
        for (int i = 0; i < 20; ++i) {
            silent.push_back(connect(running));
            silent.back().write_all("{\"id\":");
        }
        const auto pid = pids(running.status(), "a")[0];
        ::kill(pid, SIGKILL);
        running.await([&](const Status& now) {
            const auto all = pids(now, "a");
            return all.size() == 1 && all[0] != pid && ready_count(*find(now, "a")) == 1;
        });
        // Half a request and then nothing: closed.
        CHECK(read_line(silent.front()).empty());
    });
}

TEST_CASE("control: who comes when it is full is told so", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(quiet);
        running.await_settled();
        std::vector<green::Stream> clients;
        for (std::size_t i = 0; i < ControlServer::most_clients; ++i) {
            clients.push_back(connect(running));
            clients.back().write_all("{\"verb\":\"status\"}\n");
            REQUIRE(parse_status(read_line(clients.back())));
        }
        auto surplus = connect(running);
        CHECK(parse_answer(read_line(surplus))->message.find("busy") == 0);
        for (int i = 0; i < 50; ++i) {  // also if it has asked when the door was shut already
            const auto line =
                ControlClient{running.run_dir()}.ask({"", "status"}, Running::patience);
            REQUIRE(parse_answer(line)->message.find("busy") == 0);
        }
        clients.front().write_all("{\"verb\":\"status\"}\n");
        CHECK(parse_status(read_line(clients.front())));
    });
}

TEST_CASE("control: who waits for something long hears of a supervisor that does not answer",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(quiet);
        running.await_settled();
        const auto pid = ControlClient{running.run_dir()}.pid();
        REQUIRE(::kill(pid, SIGSTOP) == 0);
        try {
            (void)ControlClient{running.run_dir()}.ask_patiently({"", "reload"}, 50ms);
            FAIL("a stopped one has answered");
        } catch (const Refusal& refusal) {
            CHECK(refusal.code() == Code::not_found);
            CHECK(std::string(refusal.what()).find("does not answer") != std::string::npos);
        }
        REQUIRE(::kill(pid, SIGCONT) == 0);
        const auto line =
            ControlClient{running.run_dir()}.ask_patiently({"", "reload"}, Running::patience);
        CHECK(parse_answer(line)->ok);
    });
}

TEST_CASE("control: a socket whose file was removed comes back on HUP", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(quiet);
        running.await_settled();
        std::filesystem::remove(running.run_dir() + "/control.sock");
        CHECK_THROWS_AS(running.status(), Refusal);
        running.process().signal(SIGHUP);
        running.await_settled(2);
    });
}

TEST_CASE("control: the socket is for its owner", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        namespace fs = std::filesystem;
        Running running(quiet);
        running.await_settled();
        CHECK(fs::status(running.run_dir() + "/control.sock").permissions() == fs::perms{0600});
        CHECK(fs::status(running.run_dir()).permissions() == fs::perms{0700});
        Running open(quiet, "control_mode = \"0660\"");
        open.await_settled();
        CHECK(fs::status(open.run_dir() + "/control.sock").permissions() == fs::perms{0660});
        CHECK(fs::status(open.run_dir()).permissions() == fs::perms{0710});
    });
}
