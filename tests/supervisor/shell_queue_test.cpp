// What the supervisor does for its queues besides mending them: time, dead letters, settings.

#include <algorithm>
#include <span>

#include <catch2/catch.hpp>

#include "open_queue.hpp"
#include "queue/member.hpp"
#include "shell_support.hpp"
#include "support/roles.hpp"
#include "support/run_green.hpp"

using namespace greensup;
using namespace greensup::test;

namespace {

const QueueStatus& queue(const Status& status, const std::string& name) {
    return *std::find_if(status.queues.begin(), status.queues.end(),
                         [&](const QueueStatus& one) { return one.name == name; });
}

const std::string source = "[workers.source]\nkind = \"hub\"\n" + role("hub_worker", {"put=5"}) +
                           "[workers.sink]\nkind = \"hub\"\nafter = [\"source\"]\n";
const std::string parts = "producers = [\"source\"]\nconsumers = [\"sink\"]\n";

}  // namespace

TEST_CASE("shell: what is rejected is moved to the dead letters, and stays there over a restart",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        const std::string letters = "[queues.letters]\nproducers = []\nconsumers = []\n";
        Running running(letters + "[queues.q]\ndead_letter = \"letters\"\n" + parts + source +
                            role("hub_worker", {"reject=3"}),
                        "shutdown_timeout = \"600ms\"");
        running.await_settled();
        Running::until([&] { return queue(running.status(), "letters").ready == 3; });
        const auto status = running.status();
        CHECK(queue(status, "q").moved == 3);
        CHECK(queue(status, "q").dead == 0);
        CHECK(queue(status, "q").ready == 2);
        CHECK(queue(status, "q").accepted == 5);
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        running.write(letters + "[workers.a]\nkind = \"hub\"\n" + role("hub_worker"));
        running.start();
        CHECK(queue(running.await_settled(), "letters").ready == 3);
    });
}

TEST_CASE("shell: who holds messages is shown, and loses them when the lease is over",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running("[queues.q]\nlease = \"1h\"\n" + parts + source +
                        role("hub_worker", {"take=4"}));
        auto status = running.await_settled();
        REQUIRE(queue(status, "q").holders.size() == 1);
        const auto holder = queue(status, "q").holders[0];
        CHECK(holder.worker == "sink");
        CHECK(holder.leased == 4);
        CHECK(holder.pid == pids(status, "sink")[0]);
        CHECK(queue(status, "q").leased == 4);
        // Leases that stand keep their end; the next ones have the new length.
        running.write("[queues.q]\nlease = \"30ms\"\nhigh = \"90%\"\n" + parts + source +
                      "restart = \"never\"\n" + role("hub_worker", {"take=4"}));
        const auto answer = running.ask({"1", "reload"});
        CHECK(answer.ok);
        CHECK(answer.plan.find("lease: 1h -> 30ms") != std::string::npos);
        CHECK(queue(running.status(), "q").leased == 4);
        ::kill(holder.pid, SIGKILL);
        Running::until([&] { return queue(running.status(), "q").ready == 5; });
        status = running.status();
        CHECK(queue(status, "q").holders.empty());
    });
}

TEST_CASE("shell: a lease of the configured length ends although its holder lives",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Running running("[queues.q]\nlease = \"50ms\"\n" + parts + source +
                        role("hub_worker", {"take=4"}));
        running.await_settled();
        Running::until([&] { return queue(running.status(), "q").leases_expired == 4; });
        const auto status = running.status();
        CHECK(queue(status, "q").ready == 5);
        CHECK(queue(status, "q").leased == 0);
    });
}

TEST_CASE(
    "shell: dead letters that find no room stay where they died until there is, and it is said "
    "once",
    "[supervisor][shell]") {
    tests::run_green_for_real([] {
        const std::string letters = "[queues.letters]\ncapacity = 1\nproducers = []\nconsumers = ";
        const std::string rest = "[queues.q]\ndead_letter = \"letters\"\n" + parts + source +
                                 role("hub_worker", {"reject=3"});
        Running running(letters + "[]\n" + rest);
        running.await_settled();
        Running::until([&] { return queue(running.status(), "q").letters_full; });
        auto status = running.status();
        CHECK(queue(status, "letters").ready == 1);
        CHECK(queue(status, "q").moved == 1);
        CHECK(queue(status, "q").dead == 2);
        CHECK(queue(status, "q").ready == 2);
        // Each of them finds the place of the one before it, and no room now and then.
        running.write(letters + "[\"eater\"]\n" + rest + "[workers.eater]\nkind = \"hub\"\n" +
                      role("hub_worker", {"eat=1"}));
        CHECK(running.ask({"1", "reload"}).ok);
        running.await_log("queue.letters_room queue=q dead_letter=letters");
        status = running.status();
        CHECK(queue(status, "q").moved == 3);
        CHECK(queue(status, "q").dead == 0);
        CHECK_FALSE(queue(status, "q").letters_full);
        const auto log = running.log();
        const auto first = log.find("queue.letters_full queue=q dead_letter=letters");
        REQUIRE(first != std::string::npos);
        CHECK(log.find("queue.letters_full", first + 1) == std::string::npos);
    });
}

TEST_CASE("shell: a queue that was taken out of the file and is still used is shown and counted",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        const std::string hub = "]\nkind = \"hub\"\n";
        const std::string breaks = "command = [\"false\"]\n";
        const std::string kept = "[queues.kept]\nproducers = []\nconsumers = []\n";
        Running running(kept + "[queues.q]\n" + parts + source + role("hub_worker"));
        running.await_settled();
        // None of them gets to an edition without it.
        running.write(kept + "[workers.source" + hub + breaks + "[workers.sink" + hub + breaks);
        CHECK(running.ask({"1", "reload"}).code == Code::roll_failed);
        const auto status = running.status();
        REQUIRE(status.queues.size() == 2);
        CHECK_FALSE(status.queues[0].removed);
        CHECK(status.queues[1].name == "q");
        CHECK(status.queues[1].removed);
        CHECK(status.queues[1].ready == 5);
        running.process().signal(SIGTERM);
        Running::until(
            [&] { return running.log().find("worker.stopped pool=source") != std::string::npos; });
        running.process().signal(SIGQUIT);  // nobody empties it
        CHECK(running.end().success());
        const auto log = running.log();
        INFO(log);
        CHECK(log.find("shutdown.waits for=\"sink waits for source, which feeds queue q\"") !=
              std::string::npos);
        CHECK(log.find("warning queue.left queue=q messages=5") != std::string::npos);
        CHECK(log.find("messages_left=5 queues=\"kept:0 q:5\"") != std::string::npos);
    });
}

TEST_CASE("shell: what is left in a queue whose last user goes during the shutdown is counted",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        const std::string kept = "[workers.kept]\nkind = \"hub\"\n" + role("hub_worker");
        Running running("[queues.q]\nproducers = [\"source\"]\nconsumers = []\n" + kept +
                        "[workers.source]\nkind = \"hub\"\n" +
                        role("hub_worker", {"put=5", "stubborn"}));
        const auto pid = pids(running.await_settled(), "source").at(0);
        running.write(kept);
        running.process().signal(SIGHUP);
        running.await_log("worker.draining pool=source");
        running.process().signal(SIGTERM);
        running.await_log("shutdown.begin");
        ::kill(pid, SIGKILL);
        CHECK(running.end().success());
        const auto log = running.log();
        INFO(log);
        CHECK(log.find("messages_left=5 queues=q:5") != std::string::npos);
    });
}

TEST_CASE("shell: a dead letter that is too large for its place is shown", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        namespace shm = green::ipc::shm;
        const tests::TempDir directory;
        QueueConfig config;
        config.name = "letters";
        config.capacity = 16;
        config.max_bytes = 1 << 20;
        config.max_message = 1000;
        const auto letters = OpenQueue::open(directory / ".", config);
        config.name = "q";
        config.max_message = 2000;
        config.dead_letter = "letters";
        const auto q = OpenQueue::open(directory / ".", config);
        q->apply(config, letters);
        const auto numbers = q->descriptors();
        shm::Member member{shm::Segment::open(q->path()), 1, std::span{numbers}.subspan(1)};
        const auto kill_one = [&](std::size_t size) {
            shm::Reservation reservation;
            REQUIRE(member.try_reserve(size, reservation) == shm::Shortage::none);
            member.put(reservation, size);
            shm::Lease lease;
            REQUIRE(member.try_get(lease) == shm::Got::message);
            REQUIRE(member.reject(lease));
        };
        kill_one(1000);
        Running::until([&] { return q->figures().moved == 1; });
        CHECK_FALSE(q->figures().are_letters_full);
        kill_one(1001);
        Running::until([&] { return q->figures().are_letters_full; });
        CHECK(q->figures().dead == 1);
        CHECK(q->figures().left() == 1);
        config.name = "letters";
        config.dead_letter.clear();
        letters->apply(config, nullptr);
        config.name = "q";
        config.dead_letter = "letters";
        q->apply(config, letters);  // looks at once
        Running::until([&] { return q->figures().moved == 2; });
        CHECK_FALSE(q->figures().are_letters_full);
    });
}
