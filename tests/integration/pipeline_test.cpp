// Pipes between pools with the workers of the library: what was put is read once and in order,
// whoever is killed or rolled.

#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/workers/worker.hpp>

#include "integration/greensup.hpp"
#include "support/roles.hpp"
#include "support/run_green.hpp"
#include "support/text_files.hpp"

using namespace std::chrono_literals;
using tests::Greensup;
using tests::lines_of;
using tests::run_green_for_real;

namespace {

std::string example() {
    auto toml = tests::text_of(std::string(GREENSUP_SOURCE) + "/examples/pipeline/workers.toml");
    REQUIRE_FALSE(toml.empty());
    const std::string name = "name = \"pipeline\"";
    toml.replace(toml.find(name), name.size(), name + "\nrun_dir = \"${RUN}\"");
    for (const std::string section : {"ticker", "printer", "tee"}) {
        const auto heading = "[workers." + section + "]\n";
        toml.replace(toml.find(heading), heading.size(),
                     heading + "roll.min_ready = \"0s\"\nbackoff.initial = \"off\"\n" +
                         (section == "tee" ? "ready.delay = \"0s\"\n" : ""));
    }
    return toml;
}

/// Waits for so many more lines.
void await_lines(const std::string& path, std::size_t count) {
    const green::Deadline deadline{60s};
    for (const auto before = lines_of(path).size(); lines_of(path).size() < before + count;) {
        REQUIRE_FALSE(deadline.has_passed());
        green::sleep(5ms);
    }
}

/// As a worker is started, from the arguments of a role.
class WorkerOfRole {
 public:
    explicit WorkerOfRole(tests::Arguments words) : words_{std::move(words)} {
        words_.insert(words_.begin(), tests::self());
        for (auto& word : words_) argv_.push_back(word.data());
        worker_.emplace(static_cast<int>(argv_.size()), argv_.data());
    }
    green::workers::Worker* operator->() { return &*worker_; }

 private:
    tests::Arguments words_;
    std::vector<char*> argv_;
    std::optional<green::workers::Worker> worker_;
};

/// A pool of this program, which has that role.
std::string pool_of(const std::string& role) {
    return "[workers." + role + "]\nkind = \"hub\"\ncommand = [\"" + tests::self() +
           "\", \"--role=" + role + "\"]\n";
}

}  // namespace

GREEN_TEST_ROLE(teller) {
    WorkerOfRole worker{arguments};
    auto words = worker->writer<green::ipc::Bytes>("words");
    words.put(std::span<const std::byte>{});
    worker->wait_for_drain();
    return 0;
}

GREEN_TEST_ROLE(hearer) {
    WorkerOfRole worker{arguments};
    auto words = worker->reader<green::ipc::Bytes>("words");
    worker->ready();
    (void)words.get();
    words.close();
    worker->wait_for_drain();
    return 0;
}

TEST_CASE("pipeline: a worker that has heard enough and lives on is noticed before there is more",
          "[integration]") {
    run_green_for_real([] {
        Greensup greensup{
            "version = 1\n[supervisor]\nname = \"p\"\nrun_dir = \"${RUN}\"\n"
            "[pipes.words]\nfrom = \"teller\"\nto = \"hearer\"\n" +
            pool_of("teller") + pool_of("hearer")};
        greensup.await_ready({{"teller", 1}, {"hearer", 1}});
        const auto pid = *greensup.transitions().ready_pids("hearer").begin();
        const auto line = "pipe.closed pipe=words pool=hearer slot=0 pid=" + std::to_string(pid);
        const green::Deadline deadline{60s};
        while (greensup.log().find(line) == std::string::npos) {
            REQUIRE_FALSE(deadline.has_passed());
            green::sleep(5ms);
        }
        CHECK(greensup.status()["pipes"][0]["readers"][0]["state"] == "closed");
        CHECK(greensup.stop().success());
    });
}

TEST_CASE("examples: a pipeline loses no tick while its parts are killed and rolled",
          "[integration]") {
    run_green_for_real([] {
        const tests::TempDir dir;
        const auto file = dir / "ticks.txt";
        ::setenv("PIPELINE_BIN", Greensup::bin().c_str(), 1);
        ::setenv("PIPELINE_FILE", file.c_str(), 1);
        Greensup greensup{example()};
        const std::map<std::string, std::size_t> all{{"ticker", 2}, {"printer", 1}, {"tee", 1}};
        greensup.await_ready(all);
        await_lines(file, 50);
        const auto victim = *greensup.transitions().ready_pids("ticker").begin();
        REQUIRE(::kill(victim, SIGKILL) == 0);
        await_lines(file, 50);
        greensup.await_ready(all);
        // Not asked by the supervisor: it leaves in peace, and its next life goes on.
        const auto reader = *greensup.transitions().ready_pids("printer").begin();
        REQUIRE(::kill(reader, SIGTERM) == 0);
        await_lines(file, 50);
        greensup.await_ready(all);
        for (int round = 0; round < 3; ++round) {
            const auto before = greensup.transitions().starts("tee");
            greensup.signal(SIGHUP);
            CHECK(greensup.transitions().wait_for(
                [&] { return greensup.transitions().starts("tee") > before; }, 60s));
            await_lines(file, 50);
            greensup.await_ready(all);
        }
        const auto pipes = greensup.status()["pipes"];
        REQUIRE(pipes.size() == 2);
        CHECK(pipes[0]["name"] == "ticks");
        CHECK(pipes[1]["to"] == "tee.stdin");
        CHECK(greensup.stop().success());
        std::map<std::string, std::uint64_t> next;
        for (const auto& line : lines_of(file)) {
            const auto blank = line.find(' ');
            REQUIRE(blank != std::string::npos);
            REQUIRE(line.substr(blank + 1) == std::to_string(next[line.substr(0, blank)]++));
        }
        CHECK(next.size() == greensup.transitions().starts("ticker"));
        CHECK(greensup.log().find("worker.stuck") == std::string::npos);
        CHECK(greensup.log().find("bytes_left_in_pipes=0") != std::string::npos);
    });
}
