// Greenlets that are objects: when the object goes, and what its destructor may do.

#include <memory>
#include <optional>

#include <catch2/catch.hpp>

#include <green/basic_greenlet.hpp>
#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/local.hpp>
#include <green/pool.hpp>
#include <green/timeout.hpp>
#include <green/watcher.hpp>

#include "sched/hub.hpp"
#include "support/run_green.hpp"
#include "support/stopwatch.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::Stopwatch;

namespace {

/// Takes its time to go.
struct Waits : green::BasicGreenlet {
    explicit Waits(bool& its_end) : gone{&its_end} {}
    Waits(const Waits&) = delete;
    Waits& operator=(const Waits&) = delete;
    ~Waits() override {
        green::sleep(20ms);
        *gone = true;
    }
    bool* gone;

 protected:
    void run() override {}
};

/// A wait of its own is as long as it should be.
void check_wait() {
    green::Event never;
    const Stopwatch elapsed;
    CHECK_FALSE(never.wait(50ms));
    CHECK(elapsed() == 50);
    green::yield();
}

}  // namespace

TEST_CASE("greenlet object: one that is killed before it ran goes where its last handle does",
          "[core][greenlet]") {
    const bool warm = GENERATE(false, true);  // else the hub finds it in the ring
    CAPTURE(warm);
    run_green([warm] {
        bool gone = false;
        if (warm) green::yield();
        SECTION("at once") {
            {
                auto greenlet = green::make_greenlet<Waits>(gone);
                greenlet.start();
                greenlet.kill();
                CHECK(greenlet.ready());
                CHECK_FALSE(gone);
            }
            CHECK(gone);
        }
        SECTION("when the ring has dropped it already") {
            std::optional greenlet{green::make_greenlet<Waits>(gone)};
            greenlet->start();
            greenlet->kill();
            green::yield();
            CHECK_FALSE(gone);
            greenlet.reset();
            CHECK(gone);
        }
        SECTION("killed in a callback of the hub") {
            std::optional greenlet{green::make_greenlet<Waits>(gone)};
            green::TimerWatcher timer{1ms};
            timer.start([&] {
                greenlet->start();
                greenlet->kill_soon();
            });
            green::sleep(2ms);
            CHECK(greenlet->ready());
            greenlet.reset();
            CHECK(gone);
        }
        SECTION("by the end of its group") {
            {
                green::Group group;
                auto greenlet = green::make_greenlet<Waits>(gone);
                group.start(greenlet);
            }
            CHECK(gone);
        }
        check_wait();
    });
}

TEST_CASE("greenlet object: its hub waits for a destructor that waits", "[core][greenlet]") {
    bool gone = false;
    {
        const green::detail::Hub hub{std::make_unique<tests::VirtualReactor>()};
        green::make_greenlet<Waits>(gone).start();
        green::yield();
        green::yield();
        CHECK(green::hub_figures().greenlets == 1);
        CHECK_FALSE(gone);
    }
    CHECK(gone);
}

TEST_CASE("greenlet object: no interrupt appears in the destructors of its locals",
          "[core][greenlet][local]") {
    run_green([] {
        struct Slow {
            Slow() = default;
            Slow(const Slow&) = delete;
            Slow& operator=(const Slow&) = delete;
            ~Slow() { green::sleep(20ms); }
        };
        struct HasLocal : green::BasicGreenlet {
            explicit HasLocal(green::GreenletLocal<Slow>& its) : local{&its} {}
            green::GreenletLocal<Slow>* local;

         protected:
            void run() override { (void)local->get(); }
        };
        green::GreenletLocal<Slow> local;
        auto greenlet = green::make_greenlet<HasLocal>(local);
        greenlet.start();
        green::sleep(5ms);
        CHECK_FALSE(greenlet.ready());
        const Stopwatch elapsed;
        CHECK(greenlet.kill());
        CHECK(elapsed() == 15);
        CHECK(greenlet.successful());
    });
}
