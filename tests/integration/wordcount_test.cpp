// The main job, end to end: real workers, real requests, real deaths.

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "../../examples/wordcount/count.hpp"
#include "integration/greensup.hpp"
#include "queue/inspect.hpp"
#include "sched/sanitizer.hpp"
#include "support/run_green.hpp"
#include "workers/http_client.hpp"

using namespace std::chrono_literals;
using tests::Answer;
using tests::Greensup;
using tests::HttpClient;
using tests::run_green_for_real;

namespace {

// Sanitized processes are several times slower; what is proven is the same.
constexpr int texts_to_post = GREEN_ADDRESS_SANITIZER ? 4'000 : 20'000;

std::string wordcount(const std::string& more_for_counter = {}, const std::string& more = {}) {
    return R"(
version = 1
[supervisor]
name = "wordcount"
run_dir = "${RUN}"
[sockets.web]
listen = "tcp://127.0.0.1:0"
[sockets.report]
listen = "tcp://127.0.0.1:0"
[queues.texts]
schema = "wordcount.capnp:Document"
producers = ["web"]
consumers = ["counter"]
capacity = 1024
[queues.totals]
schema = "wordcount.capnp:Total"
producers = ["counter"]
consumers = ["report"]
[workers.web]
kind = "hub"
command = ["${BIN}/wordcount-web"]
count = 2
sockets = ["web"]
roll.min_ready = "0s"
[workers.counter]
kind = "hub"
command = ["${BIN}/wordcount-counter"]
count = 2
roll.min_ready = "0s"
)" + more_for_counter +
           R"(
[workers.report]
kind = "hub"
command = ["${BIN}/wordcount-report"]
sockets = ["report"]
roll.min_ready = "0s"
)" + more;
}

const std::map<std::string, std::size_t> everybody{{"web", 2}, {"counter", 2}, {"report", 1}};

std::string post(const std::string& name, const std::string& body, bool keep_alive = true) {
    return "POST /texts/" + name +
           " HTTP/1.1\r\nHost: test\r\nContent-Length: " + std::to_string(body.size()) +
           (keep_alive ? "\r\n\r\n" : "\r\nConnection: close\r\n\r\n") + body;
}

nlohmann::json totals(Greensup& greensup) {
    HttpClient client{greensup.socket("report")};
    const Answer answer = client.get("/totals");
    REQUIRE(answer.status == 200);
    return nlohmann::json::parse(answer.body);
}

// Asks until so many names are there: each question takes its time, and the answer decides, not the
// clock.
nlohmann::json await_totals(Greensup& greensup, std::size_t names) {
    const green::Deadline limit{240s};
    for (;;) {
        auto all = totals(greensup);
        if (all.size() >= names) return all;
        INFO(all.size() << " of " << names << " names are there");
        REQUIRE_FALSE(limit.has_passed());
    }
}

bool agrees(const nlohmann::json& total, const Count& expected) {
    return total.at("lines") == expected.lines && total.at("words") == expected.words &&
           total.at("bytes") == expected.bytes;
}

std::string text_number(int number) {
    std::string text;
    for (int i = 0; i <= number % 17; ++i)
        text += "word" + std::to_string(number + i) + (i % 3 == 0 ? "\n" : " ");
    return text;
}

green::ipc::shm::Status queue_status(const Greensup& greensup, const std::string& name) {
    for (const auto& file : std::filesystem::recursive_directory_iterator(greensup.run_dir())) {
        if (file.path().stem() != name || !file.is_regular_file()) continue;
        return green::ipc::shm::status(green::ipc::shm::Segment::open(file.path().string()));
    }
    FAIL("no segment of queue " << name);
    throw std::logic_error("unreachable");
}

/// Clients that ask without a pause, and accept no excuse: a request of which a byte was sent gets
/// its whole answer.
class Load {
 public:
    explicit Load(green::Endpoint at) : at_{at} {}

    void start(int kept_alive, int fresh) {
        for (int i = 0; i < kept_alive; ++i) group_.spawn([this] { ask_on_one_connection(); });
        for (int i = 0; i < fresh; ++i) group_.spawn([this] { ask_on_new_connections(); });
    }
    /// Each client finishes what it is at.
    void finish() {
        finishing_ = true;
        REQUIRE(group_.join(60s));
    }
    /// From here on a new connection may find nobody.
    void expect_the_end() { end_expected_ = true; }
    void join() { REQUIRE(group_.join(60s)); }

    std::uint64_t answered = 0;
    std::uint64_t reconnects = 0;
    std::vector<std::string> failures;

 private:
    void check(const Answer& answer) {
        if (answer.status >= 200 && answer.status < 300) {
            ++answered;
        } else {
            failures.push_back("status " + std::to_string(answer.status));
        }
    }
    std::string request(bool keep_alive) {
        if (number_++ % 4 != 0) {
            return std::string("GET / HTTP/1.1\r\nHost: test\r\n") +
                   (keep_alive ? "\r\n" : "Connection: close\r\n\r\n");
        }
        return post("load" + std::to_string(number_ % 50), "some words here\n", keep_alive);
    }
    void ask_on_one_connection() {
        while (!finishing_) {
            std::optional<HttpClient> client = connect();
            if (!client) return;
            bool served = false;
            for (bool open = true; open && !finishing_;) {
                try {
                    client->send(request(true));
                    const Answer answer = client->read();
                    check(answer);
                    open = !answer.closes();
                    served = true;
                } catch (const std::exception& error) {
                    // A connection that was never served may have been left in the backlog when
                    // everything ended.
                    if (!(end_expected_ && !served))
                        failures.push_back(std::string("kept alive: ") + error.what());
                    if (end_expected_) return;
                    open = false;
                }
            }
            ++reconnects;
        }
    }
    void ask_on_new_connections() {
        while (!finishing_) {
            std::optional<HttpClient> client = connect();
            if (!client) return;
            try {
                client->send(request(false));
                check(client->read());
            } catch (const std::exception& error) {
                if (end_expected_ && client->buffer.empty()) return;
                failures.push_back(std::string("new connection: ") + error.what());
            }
        }
    }
    std::optional<HttpClient> connect() {
        try {
            return HttpClient{at_};
        } catch (const std::system_error& error) {
            if (!end_expected_) failures.push_back(std::string("connecting: ") + error.what());
            return std::nullopt;
        }
    }

    green::Endpoint at_;
    bool finishing_ = false;
    bool end_expected_ = false;
    std::uint64_t number_ = 0;
    green::Group group_;
};

std::string first_of(const std::vector<std::string>& texts) {
    return texts.empty() ? "none" : texts.front();
}

}  // namespace

TEST_CASE("wordcount: the totals of real files agree with wc", "[integration]") {
    run_green_for_real([] {
        Greensup greensup{wordcount()};
        greensup.await_ready(everybody);
        HttpClient web{greensup.socket("web")};
        CHECK(web.get("/").status == 200);
        std::map<std::string, Count> expected;
        for (const auto& file : std::filesystem::directory_iterator("/usr/share/common-licenses")) {
            std::ifstream stream{file.path()};
            std::ostringstream text;
            text << stream.rdbuf();
            const std::string name = file.path().filename().string();
            web.send(post(name, text.str()));
            REQUIRE(web.read().status == 202);
            expected[name] = count(text.str());
        }
        REQUIRE(expected.size() > 5);
        web.stream.close();  // a silent connection would be waited for
        const auto all = await_totals(greensup, expected.size());
        for (const auto& [name, counted] : expected) {
            INFO(name << " " << all.at(name).dump());
            CHECK(agrees(all.at(name), counted));
        }
        CHECK(greensup.stop().success());
    });
}

TEST_CASE("wordcount: counters that are killed lose nothing and double nothing", "[integration]") {
    run_green_for_real([] {
        const tests::TempDir drill;
        const std::string chances = GREEN_ADDRESS_SANITIZER ? "300" : "400";
        Greensup greensup{
            wordcount("backoff.initial = \"off\"\nintensity.max = \"off\"\n"
                      "env = { GREEN_CRASH_LOG = \"" +
                      (drill / "crashes") + "\", GREEN_CRASH_POINTS = \"get.done=" + chances +
                      ",put.announced=" + chances + ",ack.done=" + chances + "\" }\n")};
        greensup.await_ready(everybody);
        const auto seed = tests::seed();
        INFO("GREENSUP_SEED=" << seed);
        std::mt19937_64 random{seed};
        const green::Endpoint at = greensup.socket("web");

        // Every 100 ms one of them, whichever is there; and the posting waits for at least five of
        // these deaths, so that they fall into it on a fast machine too.
        bool posting = true;
        int random_kills = 0;
        green::Event killed;
        auto killer = green::spawn([&] {
            tests::Transitions& log = greensup.transitions();
            while (posting) {
                green::sleep(100ms);
                REQUIRE(log.wait_for([&] { return !log.ready_pids("counter").empty(); }, 60s));
                const auto pids = log.ready_pids("counter");
                const auto chosen = static_cast<std::ptrdiff_t>(random() % pids.size());
                if (::kill(*std::next(pids.begin(), chosen), SIGKILL) != 0) continue;
                ++random_kills;
                killed.set();
                killed.clear();
            }
        });
        green::Group clients;
        int next = 0;
        for (int client = 0; client < 8; ++client) {
            clients.spawn([&] {
                HttpClient connection{at};
                while (next < texts_to_post) {
                    const int number = next++;
                    while (random_kills < number * 5 / texts_to_post) killed.wait();
                    connection.send(post("t" + std::to_string(number), text_number(number)));
                    const Answer answer = connection.read();
                    CHECK(answer.status == 202);
                }
            });
        }
        clients.join();
        posting = false;
        killer.join();

        const auto all = await_totals(greensup, static_cast<std::size_t>(texts_to_post));
        CHECK(all.size() == static_cast<std::size_t>(texts_to_post));
        int wrong = 0;
        for (int number = 0; number < texts_to_post; ++number) {
            wrong += !agrees(all.at("t" + std::to_string(number)), count(text_number(number)));
        }
        CHECK(wrong == 0);

        std::map<std::string, int> hits;
        std::ifstream crashes{drill / "crashes"};
        for (std::string point, pid; crashes >> point >> pid;) ++hits[point];
        const auto texts = queue_status(greensup, "texts");
        std::printf(
            "kills: %d at random, %d after get, %d after put, %d after ack; redeliveries: %llu\n",
            random_kills, hits["get.done"], hits["put.announced"], hits["ack.done"],
            static_cast<unsigned long long>(texts.redelivered));
        CHECK(random_kills >= 4);
        CHECK(hits["get.done"] > 0);
        CHECK(hits["put.announced"] > 0);
        CHECK(hits["ack.done"] > 0);
        CHECK(texts.redelivered > 0);
        INFO(greensup.log());
        CHECK(greensup.stop().success());
    });
}

TEST_CASE("wordcount: twenty SIGHUPs in a row under load cost no request and no ready worker",
          "[integration]") {
    run_green_for_real([] {
        Greensup greensup{wordcount()};
        greensup.await_ready(everybody);
        tests::Transitions& log = greensup.transitions();
        HttpClient web{greensup.socket("web")};
        for (int i = 0; i < 50; ++i) {
            web.send(post("before" + std::to_string(i), text_number(i)));
            REQUIRE(web.read().status == 202);
        }
        web.stream.close();
        (void)await_totals(greensup, 50);
        Load load{greensup.socket("web")};
        load.start(4, 4);
        log.reset_fewest();
        for (int round = 1; round <= 20; ++round) {
            INFO("round " << round);
            const std::set<int> old = log.living_pids();
            REQUIRE(old.size() == 5);
            greensup.signal(SIGHUP);
            const bool replaced = log.wait_for(
                [&] {
                    const auto living = log.living_pids();
                    const bool all_ready = log.ready_pids("web").size() == 2 &&
                                           log.ready_pids("counter").size() == 2 &&
                                           log.ready_pids("report").size() == 1;
                    return living.size() == 5 && all_ready &&
                           std::none_of(living.begin(), living.end(),
                                        [&](int pid) { return old.count(pid) > 0; });
                },
                60s);
            INFO(log.text());
            INFO(greensup.log());
            REQUIRE(replaced);
        }
        load.finish();
        INFO("first failure: " << first_of(load.failures));
        CHECK(load.failures.empty());
        CHECK(load.answered > 1000);
        CHECK(load.reconnects > 0);
        std::printf("answered: %llu, reconnects of kept-alive clients: %llu, failures: %zu\n",
                    static_cast<unsigned long long>(load.answered),
                    static_cast<unsigned long long>(load.reconnects), load.failures.size());
        CHECK(log.fewest_ready("web") >= 2);
        CHECK(log.fewest_ready("counter") >= 2);
        CHECK(log.fewest_ready("report") >= 1);
        const auto after = totals(greensup);
        for (int i = 0; i < 50; ++i)
            CHECK(agrees(after.at("before" + std::to_string(i)), count(text_number(i))));
        CHECK(greensup.stop().success());
    });
}

TEST_CASE("wordcount: SIGTERM under load ends well and leaves nothing", "[integration]") {
    run_green_for_real([] {
        Greensup greensup{wordcount()};
        greensup.await_ready(everybody);
        Load load{greensup.socket("web")};
        load.start(4, 4);
        while (load.answered < 500) green::yield();
        load.expect_the_end();
        const green::ExitStatus status = greensup.stop();
        load.join();
        INFO(greensup.log());
        INFO("first failure: " << first_of(load.failures));
        CHECK(status == green::ExitStatus{});
        CHECK(load.failures.empty());
        for (const int pid : greensup.transitions().all_pids())
            CHECK_FALSE(tests::process_exists(pid));
        for (const auto& file : std::filesystem::recursive_directory_iterator(greensup.run_dir())) {
            INFO(file.path());
            CHECK_FALSE(file.is_socket());
            CHECK(file.path().extension() != ".queue");  // both were emptied
        }
    });
}

TEST_CASE("wordcount: what is left in a queue stays for the next start", "[integration]") {
    run_green_for_real([] {
        const std::string without_counters = [] {
            std::string text = wordcount();
            const std::string two = "command = [\"${BIN}/wordcount-counter\"]\ncount = 2";
            text.replace(text.find(two), two.size(),
                         "command = [\"${BIN}/wordcount-counter\"]\ncount = 0");
            return text;
        }();
        Greensup greensup{without_counters};
        greensup.await_ready({{"web", 2}, {"report", 1}});
        HttpClient web{greensup.socket("web")};
        for (int i = 0; i < 30; ++i) {
            web.send(post("kept" + std::to_string(i), text_number(i)));
            REQUIRE(web.read().status == 202);
        }
        web.stream.close();
        CHECK(greensup.stop().success());
        CHECK(queue_status(greensup, "texts").ready == 30);

        greensup.rewrite(wordcount());
        greensup.start();
        greensup.await_ready(everybody);
        const auto all = await_totals(greensup, 30);
        for (int i = 0; i < 30; ++i)
            CHECK(agrees(all.at("kept" + std::to_string(i)), count(text_number(i))));
        CHECK(greensup.stop().success());
    });
}

TEST_CASE("wordcount: a killed supervisor's workers leave and a new start delivers what was queued",
          "[integration]") {
    run_green_for_real([] {
        Greensup greensup{wordcount("stop.drain = \"10s\"\n")};
        greensup.await_ready(everybody);
        HttpClient web{greensup.socket("web")};
        for (int i = 0; i < 200; ++i) {
            web.send(post("k" + std::to_string(i), text_number(i)));
            REQUIRE(web.read().status == 202);
        }
        const std::set<int> orphans = greensup.transitions().living_pids();
        REQUIRE(orphans.size() == 5);
        std::vector<green::Fd> handles;
        for (const int pid : orphans) {
            handles.emplace_back(
                static_cast<int>(green::sys::must(green::sys::pidfd_open(pid), "pidfd_open")));
        }
        greensup.signal(SIGKILL);
        CHECK(greensup.join().kind == green::ExitStatus::Kind::signaled);
        web.stream.close();
        for (green::Fd& handle : handles) CHECK(handle.wait_readable(40s));

        greensup.start();
        greensup.await_ready(everybody);
        const auto all = await_totals(greensup, 200);
        for (int i = 0; i < 200; ++i)
            CHECK(agrees(all.at("k" + std::to_string(i)), count(text_number(i))));
        CHECK(greensup.stop().success());
    });
}
