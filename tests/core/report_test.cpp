// What people are told when a greenlet fails.

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <green/basic_greenlet.hpp>
#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/group.hpp>
#include <green/hub.hpp>
#include <green/joinall.hpp>
#include <green/queue.hpp>
#include <green/select.hpp>
#include <green/trace.hpp>

#include "sched/symbols.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;

// Not static and not inlined, so that they have a name in the report.
[[gnu::noinline]] void tests_report_deep_thrower(int depth) {
    if (depth == 0) throw std::runtime_error("deep");
    tests_report_deep_thrower(depth - 1);
    asm volatile("");  // no tail call
}
[[gnu::noinline]] void tests_report_body(int depth, const std::string&) {
    try {
        tests_report_deep_thrower(1);
    } catch (const std::runtime_error&) {  // a caught one leaves no trace
    }
    tests_report_deep_thrower(depth);
    asm volatile("");
}

TEST_CASE("report: name, types of the arguments, where it was thrown and where it was spawned",
          "[core][report]") {
    run_green([] {
        std::vector<green::ErrorReport> reports;
        green::set_error_handler(
            [&](const green::ErrorReport& report) { reports.push_back(report); });
        green::spawn(tests_report_body, 3, std::string("x")).join();
        green::set_error_handler({});
        REQUIRE(reports.size() == 1);
        const green::ErrorReport& report = reports[0];
        CHECK(report.where.find("(int, std::") != std::string::npos);
        CHECK(report.spawned_at != nullptr);
#if defined(__x86_64__)
        std::vector<std::string> frames;
        for (const void* address : report.thrown_at)
            frames.push_back(green::detail::code_address(address));
        const auto at = [&](const char* function) {
            return std::find_if(frames.begin(), frames.end(), [&](const std::string& frame) {
                return frame.find(function) == 0;
            });
        };
        // Nothing of throwing itself comes first, but the throw can stand in a part of the function
        // that the compiler put elsewhere and that has no name.
        REQUIRE(at("tests_report_deep_thrower") - frames.begin() <= 1);
        CHECK(at("tests_report_body") < frames.end());
#endif
        const std::string text = report.text();
        CHECK(text.find("failed: std::runtime_error: deep\n") != std::string::npos);
        CHECK(text.find("spawned at ") != std::string::npos);
    });
}

TEST_CASE("report: a failure without a throw of its own has no place", "[core][report]") {
    run_green([] {
        std::vector<green::ErrorReport> reports;
        green::set_error_handler(
            [&](const green::ErrorReport& report) { reports.push_back(report); });
        green::spawn([] { throw std::runtime_error("first"); }).join();
        green::deferred([] {}).kill(std::make_exception_ptr(std::runtime_error("second")));
        green::set_error_handler({});
        REQUIRE(reports.size() == 2);
        CHECK(reports[1].thrown_at.empty());
    });
}

TEST_CASE("report: the place of a throw is never another greenlet's", "[core][report]") {
    run_green([] {
        std::vector<green::ErrorReport> reports;
        green::set_error_handler(
            [&](const green::ErrorReport& report) { reports.push_back(report); });
        auto killed = green::spawn([] { green::sleep(1h); });
        green::yield();
        killed.kill();
        green::deferred([] {}).kill(std::make_exception_ptr(std::runtime_error("never ran")));
        REQUIRE(reports.size() == 1);
        CHECK(reports[0].thrown_at.empty());

        struct Waits {
            ~Waits() { green::sleep(1ms); }
        };
        auto slow = green::spawn([] {
            const Waits last_words;
            throw std::runtime_error("unwinds slowly");
        });
        green::yield();
        green::deferred([] {}).kill(std::make_exception_ptr(std::runtime_error("never ran")));
        REQUIRE(reports.size() == 2);
        CHECK(reports[1].thrown_at.empty());
        slow.join();
        REQUIRE(reports.size() == 3);
#if defined(__x86_64__)
        CHECK_FALSE(reports[2].thrown_at.empty());
#endif

        green::set_error_policy(green::ErrorPolicy::unobserved);
        {
            auto failed = green::spawn([] { throw std::runtime_error("told late"); });
            failed.join();
            auto other = green::spawn([] { green::sleep(1h); });
            green::yield();
            other.kill();
        }
        REQUIRE(reports.size() == 4);
        CHECK(reports[3].thrown_at.empty());
        green::set_error_policy(green::ErrorPolicy::immediate);
        green::set_error_handler({});
    });
}

TEST_CASE("report: the policy says which failures are told", "[core][report]") {
    run_green([] {
        const tests::Errors errors;
        const auto failing = [] { throw std::runtime_error("boom"); };
        green::set_error_policy(green::ErrorPolicy::unobserved);
        {
            auto observed = green::spawn(failing);
            CHECK_THROWS_AS(observed.get(), std::runtime_error);
            auto asked = green::spawn(failing);
            asked.join();
            CHECK(asked.exception() != nullptr);
        }
        CHECK(errors.count() == 0);
        {
            auto joined = green::spawn(failing);
            joined.join();
            CHECK(errors.count() == 0);
        }
        CHECK(errors.count() == 1);
        green::spawn(failing);  // nobody holds it
        green::yield();
        CHECK(errors.count() == 2);
        green::set_error_policy(green::ErrorPolicy::off);
        green::spawn(failing).join();
        CHECK(errors.count() == 2);
        green::set_error_policy(green::ErrorPolicy::immediate);
        auto held = green::spawn(failing);
        held.join();
        CHECK(errors.count() == 3);
    });
}

TEST_CASE("report: a group asks for a member's failure only when it throws it", "[core][report]") {
    run_green([] {
        const tests::Errors errors;
        const auto failing = [] { throw std::runtime_error("boom"); };
        green::set_error_policy(green::ErrorPolicy::unobserved);
        {
            green::Group group;
            group.spawn(failing);
            group.join();
            CHECK(errors.count() == 0);  // it may throw it yet
        }
        CHECK(errors.count() == 1);
        {
            green::Group group;
            group.spawn(failing);
            CHECK_THROWS_AS(group.join_or_raise(), std::runtime_error);
        }
        CHECK(errors.count() == 1);
        {
            green::Group group;
            group.spawn(failing);
            group.spawn(failing);
            group.join();
            CHECK(errors.count() == 2);  // it would throw the first one
        }
        CHECK(errors.count() == 3);
    });
}

TEST_CASE("report: the trace sees start, entry and end of each greenlet", "[core][trace]") {
    run_green([] {
        std::string seen;
        std::uint64_t id = 0;
        green::set_trace_hook([&](green::TraceEvent event, const green::AnyGreenlet& greenlet) {
            if (greenlet.id() != id) return;
            seen += event == green::TraceEvent::started ? 's'
                    : event == green::TraceEvent::ended ? 'e'
                                                        : '>';
        });
        auto greenlet = green::deferred([] { green::sleep(1ms); });
        id = greenlet.id();
        greenlet.start();
        greenlet.join();
        green::set_trace_hook({});
        CHECK(seen == "s>>e");
    });
}

namespace {

/// Something for a function to capture: looks whether it is still there.
struct Captured {
    explicit Captured(bool& its_flag) : alive{&its_flag} { *alive = true; }
    Captured(const Captured&) = delete;
    Captured& operator=(const Captured&) = delete;
    ~Captured() { *alive = false; }
    bool* alive;
};

}  // namespace

TEST_CASE("report: a handler that waits is refused, and its greenlet ends", "[core][report]") {
    run_green([] {
        bool refused = false;
        green::set_error_handler([&](const green::ErrorReport&) {
            try {
                green::yield();
            } catch (const green::BlockingInHub&) {
                refused = true;
            }
        });
        auto fails = green::spawn([] { throw std::runtime_error("it fails"); });
        CHECK(fails.join());
        green::set_error_handler({});
        CHECK(refused);
        CHECK(fails.ready());
        CHECK(fails.join());
        green::yield();  // the fence has gone with it
    });
}

TEST_CASE("report: a hook or a handler that removes itself lives until it returns",
          "[core][report][trace]") {
    run_green([] {
        bool alive = false;
        int calls = 0;
        green::set_trace_hook([&, captured = std::make_shared<Captured>(alive)](
                                  green::TraceEvent, const green::AnyGreenlet&) {
            green::set_trace_hook({});
            CHECK(alive);
            ++calls;
        });
        green::spawn([] {}).join();
        CHECK(calls == 1);
        CHECK_FALSE(alive);

        green::set_error_handler(
            [&, captured = std::make_shared<Captured>(alive)](const green::ErrorReport&) {
                green::set_error_handler([&](const green::ErrorReport&) { calls += 10; });
                CHECK(alive);
                ++calls;
            });
        green::spawn([] { throw std::runtime_error("first"); }).join();
        CHECK(calls == 2);
        CHECK_FALSE(alive);
        green::spawn([] { throw std::runtime_error("second"); }).join();
        CHECK(calls == 12);
        green::set_error_handler({});
    });
}

TEST_CASE("report: greenlets as data, who waits on what and since when, and who made whom",
          "[core][report]") {
    run_green([] {
        green::Event event;
        green::Queue<int> queue;
        auto late = green::deferred([] {});
        late.start_later(1h);
        auto parent = green::spawn([&] {
            auto child = green::spawn([&] { green::select(event, green::recv(queue)); });
            child.set_name("child");
            green::spawn([] { green::sleep(1h); }).set_name("other child");
            event.wait();
        });
        parent.set_name("parent");
        green::sleep(5ms);
        auto fresh = green::spawn([] {});
        fresh.set_name("fresh");
        const auto all = green::hub_greenlets();
        const auto find = [&](const std::string& name) {
            const auto found = std::find_if(all.begin(), all.end(),
                                            [&](const auto& one) { return one.name == name; });
            REQUIRE(found != all.end());
            return *found;
        };
        REQUIRE(all.size() == 6);
        CHECK(all[0].name == "main");
        CHECK(all[0].state == green::GreenletState::running);
        CHECK(all[0].spawned_at == nullptr);
        CHECK(all[1].id == late.id());
        CHECK(all[1].state == green::GreenletState::delayed);
        CHECK(find("fresh").state == green::GreenletState::ready);
        const auto child = find("child");
        CHECK(child.state == green::GreenletState::waiting);
        CHECK(child.waits_on == std::vector<std::string>{"an event", "a queue's get"});
        CHECK(green::now() - child.since == 5ms);
        CHECK(child.spawner == parent.id());
        CHECK(child.spawned_at != nullptr);
        CHECK(find("other child").waits_on == std::vector<std::string>{"a time"});

        // The report for people says the same.
        const std::string report = green::hub_report();
        for (const auto& one : all) CHECK_THAT(report, Catch::Contains("  " + one.text() + "\n"));
        CHECK_THAT(
            child.text(),
            Catch::StartsWith("child: waits on an event or a queue's get for 5 ms, spawned"));

        const auto indented = [](const green::GreenletReport& one, std::size_t depth) {
            return std::string(2 * depth, ' ') + one.text() + "\n";
        };
        CHECK(green::hub_tree() == indented(all[0], 1) + indented(all[1], 2) +
                                       indented(find("parent"), 2) + indented(child, 3) +
                                       indented(find("other child"), 3) +
                                       indented(find("fresh"), 2));
        parent.kill();
        CHECK(green::hub_tree().find("\n  child: ") != std::string::npos);  // at the top now
        fresh.join();
        late.kill();
        event.set();
        green::sleep(1h);
    });
}

TEST_CASE("greenlet: idents are the smallest that are free", "[core][greenlet]") {
    run_green([] {
        auto a = green::spawn([] { green::sleep(1h); });
        auto b = green::spawn([] { green::sleep(1h); });
        CHECK(a.minimal_ident() == 0);
        CHECK(b.minimal_ident() == 1);
        CHECK(a.minimal_ident() == 0);
        a.kill();
        auto c = green::spawn([] { green::sleep(1h); });
        CHECK(c.minimal_ident() == 0);
        b.kill();
        c.kill();
    });
}

TEST_CASE("greenlet: an ident does not outlast what never lives or has lived", "[core][greenlet]") {
    run_green([] {
        auto ended = green::spawn([] {});
        ended.join();
        CHECK(ended.minimal_ident() == 0);
        (void)green::deferred([] {}).minimal_ident();
        auto living = green::deferred([] {});
        CHECK(living.minimal_ident() == 0);
        CHECK(ended.minimal_ident() == 0);
        living.kill();
    });
}

TEST_CASE("greenlet: knows who made it", "[core][greenlet]") {
    run_green([] {
        CHECK(green::current().id() == 0);
        auto parent = green::spawn([] { return green::spawn([] {}); });
        CHECK(parent.spawner() == 0);
        CHECK(parent.get().spawner() == parent.id());
    });
}

TEST_CASE("greenlet: spawn_later fires after its time, whoever has gone", "[core][greenlet]") {
    run_green([] {
        const auto start = green::now();
        green::Duration ran_after{};
        green::spawn([&] { green::spawn_later(20ms, [&] { ran_after = green::now() - start; }); });
        green::sleep(10ms);
        CHECK(green::hub_figures().greenlets == 1);
        CHECK(ran_after == 0ms);
        green::sleep(11ms);
        CHECK(ran_after == 20ms);
    });
}

namespace {

struct Counter final : green::BasicGreenlet {
    explicit Counter(int up_to) : last{up_to} {}
    int last;
    int count = 0;
    bool saw_itself = false;

 protected:
    void run() override {
        saw_itself = green::current().started();
        while (count < last) {
            ++count;
            green::sleep(1ms);
        }
    }
};

}  // namespace

TEST_CASE("greenlet: a derived class runs its own body and keeps its state", "[core][greenlet]") {
    run_green([] {
        auto counter = green::make_greenlet<Counter>(3);
        CHECK_FALSE(counter.started());
        counter.start();
        CHECK(counter->count == 0);
        CHECK(counter.join());
        CHECK(counter->count == 3);
        CHECK(counter->saw_itself);
        CHECK(counter.successful());

        auto killed = green::make_greenlet<Counter>(1000);
        int links = 0;
        const green::Link link = killed.link([&](const green::AnyGreenlet&) { ++links; });
        killed.start();
        green::sleep(5ms);
        green::joinall({killed, counter}, 1ms);
        killed.kill();
        CHECK(killed->count == 6);
        CHECK(killed.outcome() == green::Outcome::exited);
        tests::settle();
        CHECK(links == 1);
    });
}
