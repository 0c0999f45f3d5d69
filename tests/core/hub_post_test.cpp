// What other threads post to a hub, also while it comes and goes.

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>

#include "loop/ev_reactor.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::settle;
namespace gd = green::detail;

TEST_CASE("hub: a thread wakes a sleeping hub", "[core][hub]") {
    tests::run_green_for_real([] {
        green::Event event;
        int calls = 0;
        const green::HubRef hub;
        std::thread thread;
        auto waiter = green::spawn([&] {
            // The sleep keeps the hub alive; what ends it is the post.
            while (!event.wait(1h)) {
            }
        });
        green::yield();
        thread = std::thread([&] {
            for (int i = 0; i < 10; ++i) {
                hub.post([&] {
                    if (++calls == 10) event.set();
                });
            }
        });
        CHECK(waiter.join());
        thread.join();
        CHECK(calls == 10);
    });
}

TEST_CASE("hub: posting to one that has gone drops the function, where it was posted",
          "[core][hub]") {
    auto token = std::make_shared<int>(0);
    std::optional<green::HubRef> hub;
    std::thread{[&] { hub.emplace(); }}.join();  // the thread's hub goes with it
    CHECK_FALSE(hub->post([token] { FAIL("it ran"); }));
    CHECK(token.use_count() == 1);
    CHECK_THROWS_AS(hub->post({}), green::UsageError);
}

TEST_CASE("hub: what is posted and not run when it goes is dropped by it", "[core][hub]") {
    std::thread::id of_hub;
    std::thread::id of_end;
    std::thread{[&] {
        of_hub = std::this_thread::get_id();
        const green::HubRef hub;
        std::thread{[&] {
            const std::shared_ptr<void> held{nullptr,
                                             [&](void*) { of_end = std::this_thread::get_id(); }};
            CHECK(hub.post([held] { FAIL("it ran"); }));
        }}.join();
    }}.join();
    CHECK(of_end == of_hub);
}

TEST_CASE("hub: greenlets that its last posts would start are unwound too", "[core][hub]") {
    auto token = std::make_shared<int>(0);
    {
        gd::Hub hub{std::make_unique<tests::VirtualReactor>()};
        const std::shared_ptr<void> starts_another{
            nullptr, [token](void*) { green::spawn([token] { green::sleep(1h); }); }};
        green::HubRef{}.post([starts_another] {});
    }
    CHECK(token.use_count() == 1);
}

TEST_CASE("hub: threads may post while it comes and goes", "[core][hub]") {
    auto token = std::make_shared<int>(0);
    std::atomic<int> accepted{0};
    std::atomic<int> ran{0};
    std::atomic<bool> done{false};
    std::mutex mutex;  // for the reference only
    std::optional<green::HubRef> shared;
    std::thread poster{[&] {
        while (!done) {
            std::optional<green::HubRef> hub;
            {
                const std::lock_guard lock{mutex};
                hub = shared;
            }
            if (hub && hub->post([&, token] { ++ran; })) ++accepted;
        }
    }};
    for (int i = 0; i < 200; ++i) {
        gd::Hub hub{gd::make_ev_reactor()};
        {
            const std::lock_guard lock{mutex};
            shared.emplace();
        }
        if (i % 4 == 0) {
            for (const int before = accepted; accepted == before;) std::this_thread::yield();
        }
        for (int turn = 0; turn < i % 3; ++turn) settle();
    }
    done = true;
    poster.join();
    CHECK(token.use_count() == 1);  // each was run or dropped, none forgotten
    CHECK(ran > 0);
    CHECK(ran <= accepted);
}
