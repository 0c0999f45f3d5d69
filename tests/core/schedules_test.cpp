// Random programs of waits, kills and timeouts on the virtual clock. Whatever happens, afterwards
// nothing may be left behind and nothing may be lost: items, permits, waiters, timers, descriptors,
// greenlets.

#include "support/schedules.hpp"

#include <array>
#include <csignal>
#include <set>

#include <catch2/catch.hpp>

#include <green/detail/fd_wait.hpp>
#include <green/green.hpp>

#include "core/dice.hpp"
#include "core/nothing_left.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
namespace gd = green::detail;

namespace {

constexpr int first_fd = 1000;
constexpr int fd_count = 3;

class Schedule : tests::Dice {
 public:
    Schedule(std::uint64_t seed, tests::VirtualReactor& world) : Dice{seed}, world_{&world} {
        for (int fd = first_fd; fd < first_fd + fd_count; ++fd) gd::Hub::current().fds().open(fd);
    }

    void run() {
        std::vector<green::AnyGreenlet> players;
        const int count = 2 + below(5);
        for (int i = 0; i < count; ++i) {
            players.push_back(group_.spawn([this] { play(); }));
        }
        for (int i = below(8); i > 0; --i) {
            meddle(players[static_cast<std::size_t>(below(count))]);
            pass_time();
        }
        for (const auto& player : players) player.kill_soon();
        group_.join();
        check();
        for (int fd = first_fd; fd < first_fd + fd_count; ++fd) gd::Hub::current().fds().close(fd);
    }

 private:
    void meddle(const green::AnyGreenlet& player) {
        switch (below(6)) {
            case 0:
                player.kill_soon();
                break;
            case 1:
                event_.set();
                break;
            case 2:
                event_.clear();
                break;
            case 3:
                world_->make_ready(first_fd + below(fd_count), {below(2) == 0, below(2) == 0});
                break;
            case 4:
                world_->raise(SIGUSR1);
                break;
            default:
                if (const auto item = queue_.try_get()) got_.insert(*item);
                break;
        }
    }

    void play() {
        for (int i = 1 + below(6); i > 0; --i) {
            once_or_twice([this] { act(); });
        }
    }

    void act();
    void check();

    tests::VirtualReactor* world_;
    green::Event event_;
    green::Semaphore semaphore_{2};
    green::Queue<int> queue_{2};
    green::AsyncResult<int> result_;
    int held_ = 0;
    std::set<int> put_;
    std::set<int> got_;
    int next_item_ = 0;
    green::Group group_;
};

void Schedule::act() {
    switch (below(10)) {
        case 0:
            green::yield();
            break;
        case 1:
            green::sleep(std::chrono::milliseconds(below(4)));
            break;
        case 2:
            (void)event_.wait(limit());
            break;
        case 3:
            event_.set();
            break;
        case 4:
            if (semaphore_.acquire(limit())) {
                ++held_;
                struct Release {
                    Schedule* schedule;
                    ~Release() {
                        --schedule->held_;
                        schedule->semaphore_.release();
                    }
                } const release{this};
                pass_time();
            }
            break;
        case 5: {
            const int item = next_item_++;
            if (queue_.put(item, limit())) put_.insert(item);
            break;
        }
        case 6: {
            const auto until = limit();
            if (until.is_never()) {
                got_.insert(queue_.get());
            } else if (const auto item = queue_.get_for(std::chrono::milliseconds(2))) {
                got_.insert(*item);
            }
            break;
        }
        case 7: {
            gd::FdNode node{first_fd + below(fd_count),
                            below(2) == 0 ? gd::Direction::read : gd::Direction::write};
            green::Event::Ready event{event_};
            const std::array<gd::WaitNode*, 2> both{&node, &event};
            node.blocked();
            try {
                if (below(2) == 0) {
                    (void)gd::park(node, limit());
                } else {
                    (void)gd::park(both, limit());
                }
            } catch (const green::ConcurrentUse&) {  // somebody else waits for it already
            }
            break;
        }
        case 8: {
            green::Group children;
            for (int i = below(3); i > 0; --i) {
                children.spawn([this] { pass_time(); });
            }
            if (below(2) == 0) (void)children.join(limit());
            break;
        }
        default: {
            green::SignalSet signals{SIGUSR1};
            if (below(2) == 0) {
                (void)signals.next(std::chrono::milliseconds(below(4)));
            } else {
                (void)green::wait({signals, event_}, {.deadline = limit(), .count = 1});
            }
            (void)result_.get_for(std::chrono::milliseconds(below(4)));
            break;
        }
    }
}

void Schedule::check() {
    while (const auto item = queue_.try_get()) got_.insert(*item);
    CHECK(got_ == put_);
    CHECK(held_ == 0);
    CHECK(semaphore_.permits() == 2);
    CHECK(semaphore_.waiting() == 0);
    CHECK(queue_.waiting_getters() == 0);
    CHECK(queue_.waiting_putters() == 0);
    CHECK(event_.waiting() == 0);
}

void run_schedules(unsigned quarter) {
    tests::run_green([&](tests::VirtualReactor& world) {
        tests::for_each_schedule(tests::share::waits, {quarter, 4}, [&](std::uint64_t seed) {
            Schedule{seed, world}.run();
            tests::settle();
            tests::require_nothing_left();
            REQUIRE(world.watched() == 0);
            REQUIRE(world.watched_signals() == 0);
        });
    });
}

}  // namespace

// Four cases, so that they run beside each other.
TEST_CASE("schedules: nothing is lost and nothing is left, first quarter", "[core][schedules]") {
    run_schedules(0);
}
TEST_CASE("schedules: nothing is lost and nothing is left, second quarter", "[core][schedules]") {
    run_schedules(1);
}
TEST_CASE("schedules: nothing is lost and nothing is left, third quarter", "[core][schedules]") {
    run_schedules(2);
}
TEST_CASE("schedules: nothing is lost and nothing is left, last quarter", "[core][schedules]") {
    run_schedules(3);
}
