// Replacing workers, on a signal and by a changed file.
#include <algorithm>
#include <csignal>
#include <filesystem>

#include <catch2/catch.hpp>

#include <green/greenlet.hpp>

#include "shell_support.hpp"
#include "support/run_green.hpp"

using namespace greensup;
using namespace greensup::test;

namespace {

std::string hub(const std::string& name, int count,
                const std::vector<std::string>& arguments = {}) {
    return "[workers." + name + "]\nkind = \"hub\"\ncount = " + std::to_string(count) +
           "\nroll.min_ready = \"0s\"\n" + role("hub_worker", arguments);
}

std::ptrdiff_t descriptors_of(int pid) {
    const std::filesystem::directory_iterator all("/proc/" + std::to_string(pid) + "/fd");
    return std::distance(begin(all), end(all));
}

bool has_common(const std::vector<int>& a, const std::vector<int>& b) {
    return std::find_first_of(a.begin(), a.end(), b.begin(), b.end()) != a.end();
}

}  // namespace

TEST_CASE("shell: twenty HUPs replace everybody twenty times, and nobody is missing meanwhile",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(hub("a", 2, {"linger=5"}) + hub("b", 3));
        auto before = running.await_settled();
        const auto descriptors = descriptors_of(running.process().pid());
        for (std::uint64_t round = 2; round <= 21; ++round) {
            running.process().signal(SIGHUP);
            auto after = running.await_settled(round);
            REQUIRE(after.generation == round);
            CHECK_FALSE(has_common(pids(before, "a"), pids(after, "a")));
            CHECK_FALSE(has_common(pids(before, "b"), pids(after, "b")));
            for (const auto& pool : after.pools) CHECK(pool.generation == round);
            before = after;
        }
        CHECK(fewest_ready(running.transitions(), "a", 2) == 2);
        CHECK(fewest_ready(running.transitions(), "b", 3) == 3);
        CHECK(descriptors_of(running.process().pid()) <=
              descriptors + 1);  // of a client that leaves
    });
}

TEST_CASE("shell: a HUP in the middle of a roll supersedes it", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(hub("a", 3, {"linger=20"}));
        const auto before = running.await_settled();
        for (int i = 0; i < 30; ++i) {
            running.process().signal(SIGHUP);
            running.await_log("config.applied", static_cast<std::size_t>(i) + 1);
        }
        const auto after = running.await_settled(31);
        CHECK(after.generation == 31);
        for (const auto& instance : find(after, "a")->instances) CHECK(instance.generation == 31);
        CHECK_FALSE(has_common(pids(before, "a"), pids(after, "a")));
        CHECK(fewest_ready(running.transitions(), "a", 3) == 3);
    });
}

TEST_CASE("shell: a new version that fails stops the roll, and the old one serves on",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(hub("a", 2) + hub("b", 1));
        const auto before = running.await_settled();
        const auto broken = GENERATE(as<std::string>{}, "exit=3", "silent");
        running.write(
            "[workers.a]\nkind = \"hub\"\ncount = 2\nstart_timeout = \"200ms\"\n"
            "roll.min_ready = \"20s\"\n" +
            role("hub_worker", {broken}) + hub("b", 1));
        running.process().signal(SIGHUP);
        const auto after = running.await([](const Status& now) {
            const auto* a = find(now, "a");
            const auto* b = find(now, "b");
            return now.generation == 2 && !a->rolling && !b->rolling && b->generation == 2 &&
                   a->instances.size() == 2;
        });
        CHECK(pids(after, "a") == pids(before, "a"));
        CHECK(find(after, "a")->degraded);
        CHECK(find(after, "a")->note.find("roll failed: slot 0 of generation 2") == 0);
        CHECK_FALSE(has_common(pids(before, "b"), pids(after, "b")));
        CHECK(fewest_ready(running.transitions(), "a", 2) == 2);

        // An old one that dies now comes back as what it was.
        ::kill(pids(before, "a")[0], SIGKILL);
        const auto again = running.await([&](const Status& now) {
            return ready_count(*find(now, "a")) == 2 && pids(now, "a") != pids(before, "a");
        });
        for (const auto& instance : find(again, "a")->instances) CHECK(instance.generation == 1);

        running.write(hub("a", 2) + hub("b", 1));
        const auto answer = running.ask({"7", "reload"});
        CHECK(answer.ok);
        const auto mended = running.await_settled(3);
        for (const auto& instance : find(mended, "a")->instances) CHECK(instance.generation == 3);
    });
}

TEST_CASE("shell: five mistakes at HUP change nothing and are all told", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(hub("a", 2));
        const auto before = running.await_settled();
        running.write_raw(
            "version = 2\n"
            "[supervisor]\n"
            "run_dir = \"" +
            running.run_dir() +
            "\"\n"
            "[workers.a]\n"
            "command = [\"/bin/true\"]\n"
            "cuont = 2\n"
            "start_timeout = \"5 sec\"\n"
            "restart = \"sometimes\"\n"
            "sockets = [\"web\"]\n");
        running.process().signal(SIGHUP);
        const auto status = running.await([](const Status& now) { return now.config.rejected; });
        REQUIRE(status.config.mistakes.size() == 5);
        CHECK(status.config.mistakes[0].place == Place{1, 11});
        CHECK(status.config.mistakes[1].place == Place{6, 1});
        CHECK(status.config.mistakes[2].place == Place{7, 17});
        CHECK(status.config.mistakes[3].place == Place{8, 11});
        CHECK(status.config.mistakes[4].place == Place{9, 12});
        CHECK(pids(status, "a") == pids(before, "a"));
        CHECK(status.generation == 1);
        for (const auto* code : {"E004", "E002", "E006", "E005", "E007"})
            CHECK(running.log().find(std::string("code=") + code) != std::string::npos);

        SECTION("and so does a file that is gone") {
            std::filesystem::remove(running.file());
            running.process().signal(SIGHUP);
            const auto gone = running.await([](const Status& now) {
                return now.config.rejected && now.config.mistakes.size() == 1;
            });
            CHECK(gone.config.mistakes[0].code == "E011");
            CHECK(pids(gone, "a") == pids(before, "a"));
        }
        SECTION("until a good one is taken over") {
            running.write(hub("a", 2));
            running.process().signal(SIGHUP);
            CHECK_FALSE(running.await_settled(2).config.rejected);
        }
    });
}

TEST_CASE("shell: reload does what has changed and nothing else", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(hub("a", 2) + hub("b", 1));
        const auto before = running.await_settled();
        CHECK(running.ask({"1", "reload"}).plan == "nothing to do\n");
        CHECK(running.status().generation == 1);

        SECTION("more of the same") {
            running.write(hub("a", 4) + hub("b", 1));
            CHECK(running.ask({"1", "reload"}).ok);
            const auto after = running.await_settled(2);
            CHECK(pids(after, "a").size() == 4);
            for (const auto pid : pids(before, "a")) {
                const auto now = pids(after, "a");
                CHECK(std::find(now.begin(), now.end(), pid) != now.end());
            }
            CHECK(pids(after, "b") == pids(before, "b"));
        }
        SECTION("fewer") {
            running.write(hub("a", 1) + hub("b", 1));
            CHECK(running.ask({"1", "reload"}).ok);
            CHECK(pids(running.await_settled(2), "a").size() == 1);
        }
        SECTION("a pool more and a pool less") {
            running.write(hub("a", 2) + hub("c", 2));
            CHECK(running.ask({"1", "reload"}).ok);
            const auto after = running.status();
            CHECK(find(after, "b") == nullptr);
            CHECK(ready_count(*find(after, "c")) == 2);
            CHECK(pids(after, "a") == pids(before, "a"));
            CHECK_FALSE(lives(pids(before, "b")[0]));
        }
        SECTION("other arguments") {
            running.write(hub("a", 2, {"linger=1"}) + hub("b", 1));
            CHECK(running.ask({"1", "reload"}).ok);
            const auto after = running.await_settled(2);
            CHECK_FALSE(has_common(pids(after, "a"), pids(before, "a")));
            CHECK(pids(after, "b") == pids(before, "b"));
            CHECK(find(after, "b")->generation == 1);
        }
        SECTION("a pool that cannot start") {
            running.write(hub("a", 2) + "[workers.bad]\ncommand = [\"/does/not/exist\"]\n");
            const auto answer = running.ask({"1", "reload"});
            CHECK_FALSE(answer.ok);
            CHECK(answer.code == Code::failed);
            CHECK(answer.message.find("exec /does/not/exist") != std::string::npos);
        }
        SECTION("a version that fails") {
            auto broken = hub("a", 2, {"exit=1"});
            broken.replace(broken.find("\"0s\""), 4, "\"20s\"");
            running.write(broken + hub("b", 1));
            const auto answer = running.ask({"1", "reload"});
            CHECK(answer.code == Code::roll_failed);
            CHECK(pids(running.status(), "b") == pids(before, "b"));
        }
        SECTION("without waiting") {
            running.write(hub("a", 2, {"linger=300"}) + hub("b", 2));
            Request request{"1", "reload"};
            request.wait = false;
            CHECK(running.ask(request).generation == 2);
            running.await_settled(2);
        }
    });
}

TEST_CASE("shell: an address in use refuses the whole reload", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(hub("a", 2));
        const auto before = running.await_settled();
        auto taken = green::Listener::bind(green::Endpoint::parse("127.0.0.1:0"));
        running.write("[sockets.free]\nlisten = \"unix:free.sock\"\n[sockets.web]\nlisten = \"" +
                      taken.local().text() + "\"\n" + hub("a", 3) + "sockets = [\"web\"]\n");
        const auto answer = running.ask({"1", "reload"});
        CHECK_FALSE(answer.ok);
        CHECK(answer.message.find(taken.local().text()) != std::string::npos);
        const auto after = running.status();
        CHECK(after.generation == 1);
        CHECK(after.config.rejected);
        CHECK(after.sockets.empty());
        CHECK(pids(after, "a") == pids(before, "a"));
        CHECK_FALSE(std::filesystem::exists(running.directory() / "free.sock"));
        taken.close();
        CHECK(running.ask({"1", "reload"}).ok);
        CHECK(running.await_settled(2).sockets.size() == 2);
    });
}

TEST_CASE("shell: a socket that moves is open at both places until the last old one is gone",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        const auto with = [](const std::string& path) {
            return "[sockets.web]\nlisten = \"unix:" + path + "\"\n" + hub("a", 2) +
                   "sockets = [\"web\"]\n";
        };
        Running running(with("one.sock"));
        running.await_settled();
        CHECK(std::filesystem::exists(running.directory() / "one.sock"));
        running.write(with("two.sock"));
        CHECK(running.ask({"1", "reload"}).ok);
        CHECK(std::filesystem::exists(running.directory() / "two.sock"));
        running.await_settled(2);
        CHECK_FALSE(std::filesystem::exists(running.directory() / "one.sock"));
    });
}

TEST_CASE("shell: a newer reload supersedes an older one, which is told", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running(hub("a", 2));
        running.await_settled();
        running.write(hub("a", 2, {"silent"}));
        auto first = green::spawn([&] { return running.ask({"1", "reload"}); });
        running.await([](const Status& now) { return find(now, "a")->rolling; });
        running.write(hub("a", 2, {"linger=1"}));
        CHECK(running.ask({"2", "reload"}).ok);
        CHECK(first.get().code == Code::superseded);
        const auto after = running.await_settled(3);
        for (const auto& instance : find(after, "a")->instances) CHECK(instance.generation == 3);
        CHECK(fewest_ready(running.transitions(), "a", 2) == 2);
    });
}

TEST_CASE("shell: what was removed a moment ago can come back at once", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        const std::string queue = "[queues.q]\n[sockets.s]\nlisten = \"unix:s.sock\"\n";
        const auto slow = hub("a", 2, {"linger=300", "put=1"});
        Running running(queue + slow + "sockets = [\"s\"]\n" + hub("b", 1));
        running.await_settled();
        Request at_once{"1", "reload"};
        at_once.wait = false;
        SECTION("a pool, its queue and its socket") {
            running.write(hub("b", 1));
            CHECK(running.ask(at_once).generation == 2);
            running.await_log("worker.draining pool=a", 2);
            running.write(queue + slow + "sockets = [\"s\"]\n" + hub("b", 1));
            const auto answer = running.ask({"1", "reload"});
            CHECK(answer.message == "");
            CHECK(answer.ok);
            const auto after = running.await_settled(3);
            CHECK(after.queues.at(0).ready >= 2);
            CHECK(std::filesystem::exists(running.directory() / "s.sock"));
        }
        SECTION("a slot") {
            const auto with = [&](int count) {
                return queue + hub("a", count, {"linger=300", "put=1"}) + "sockets = [\"s\"]\n" +
                       hub("b", 1);
            };
            running.write(with(1));
            CHECK(running.ask(at_once).generation == 2);
            running.await_log("worker.draining pool=a", 1);
            running.write(with(2));
            CHECK(running.ask(at_once).generation == 3);
            running.process().signal(SIGHUP);
            const auto after = running.await_settled(4);
            for (const auto& instance : find(after, "a")->instances)
                CHECK(instance.generation == 4);
        }
    });
}
