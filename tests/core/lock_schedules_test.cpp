// Random programs of locks, kills and timeouts on the virtual clock. Whenever all is at rest nobody
// may wait for what is there, and nobody may have what another one has; in the end all is back.

#include <array>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "core/dice.hpp"
#include "support/run_green.hpp"
#include "support/schedules.hpp"

using namespace std::chrono_literals;

namespace {

/// Counts while it lives.
class Count {
 public:
    explicit Count(int& number) noexcept : number_{&number} { ++number; }
    Count(const Count&) = delete;
    Count& operator=(const Count&) = delete;
    ~Count() { --*number_; }

 private:
    int* number_;
};

class LockSchedule : tests::Dice {
 public:
    explicit LockSchedule(std::uint64_t seed) : Dice{seed} {}

    void run() {
        const int count = 2 + below(5);
        for (int i = 0; i < count; ++i) {
            players_.push_back(group_.spawn([this] { play(); }));
        }
        for (int i = below(10); i > 0; --i) {
            strike();
            pass_time();
            check_at_rest();
        }
        for (const auto& player : players_) player.kill_soon();
        group_.join();
        check_at_rest();
        check_at_end();
    }

 private:
    static constexpr std::size_t permits = 2;
    static constexpr std::size_t parties = 3;

    /// Kills somebody, perhaps one that was woken just now and has not run yet.
    void strike() {
        const auto& victim = players_[static_cast<std::size_t>(below(int(players_.size())))];
        if (below(3) == 0 && !(victim == green::current())) victim.kill_soon();
    }

    void play() {
        for (int i = 1 + below(8); i > 0; --i) {
            once_or_twice([this] { act(); });
            strike();
        }
    }

    void act() {
        constexpr std::array acts{
            &LockSchedule::take_permit, &LockSchedule::take_either,  &LockSchedule::watch,
            &LockSchedule::use_mutex,   &LockSchedule::use_rlock,    &LockSchedule::read,
            &LockSchedule::write,       &LockSchedule::produce,      &LockSchedule::consume,
            &LockSchedule::meet,        &LockSchedule::use_the_latch};
        (this->*acts[static_cast<std::size_t>(below(int(acts.size())))])();
    }

    void take_permit();
    void take_either();
    void watch();
    void use_mutex();
    void use_rlock();
    void read();
    void write();
    void produce();
    void consume();
    void meet();
    void use_the_latch();
    void hold_permit(green::Semaphore& semaphore, int& held);

    void check_at_rest();
    void check_at_end();

    green::Semaphore semaphore_{permits};
    int held_ = 0;
    green::Semaphore single_{1};
    int held_single_ = 0;
    green::Mutex mutex_;
    int in_mutex_ = 0;
    green::RLock rlock_;
    int in_rlock_ = 0;
    green::SharedMutex shared_;
    int reading_ = 0;
    int writing_ = 0;
    int would_write_ = 0;
    green::Mutex store_;
    green::Condition delivered_;
    int goods_ = 0;
    int produced_ = 0;
    int consumed_ = 0;
    int rounds_ = 0;
    int passed_ = 0;
    green::Barrier barrier_{parties, [this] { ++rounds_; }};
    green::Latch latch_{5};
    std::vector<green::AnyGreenlet> players_;
    green::Group group_;
};

void LockSchedule::hold_permit(green::Semaphore& semaphore, int& held) {
    struct Release {
        green::Semaphore* semaphore;
        ~Release() { semaphore->release(); }
    };
    const Release release{&semaphore};
    const Count count{held};
    pass_time();
}

void LockSchedule::take_permit() {
    if (semaphore_.acquire(limit())) hold_permit(semaphore_, held_);
}

void LockSchedule::take_either() {
    green::Semaphore::Acquire one{semaphore_};
    green::Semaphore::Acquire other{single_};
    const std::array<green::detail::WaitNode*, 2> both{&one, &other};
    if (!green::detail::park(both, limit())) return;
    CHECK(one.fired() != other.fired());
    if (one.fired()) {
        hold_permit(semaphore_, held_);
    } else {
        hold_permit(single_, held_single_);
    }
}

void LockSchedule::watch() { (void)semaphore_.wait_available(limit()); }

void LockSchedule::use_mutex() {
    if (!mutex_.lock(limit())) return;
    const std::lock_guard guard{mutex_, std::adopt_lock};
    CHECK(in_mutex_ == 0);
    const Count count{in_mutex_};
    pass_time();
}

void LockSchedule::use_rlock() {
    if (!rlock_.lock(limit())) return;
    const std::lock_guard guard{rlock_, std::adopt_lock};
    CHECK(in_rlock_ == 0);
    const Count count{in_rlock_};
    pass_time();
    const std::lock_guard again{rlock_};
    pass_time();
}

void LockSchedule::read() {
    if (!shared_.lock_shared(limit())) return;
    const std::shared_lock guard{shared_, std::adopt_lock};
    CHECK(writing_ == 0);
    const Count count{reading_};
    pass_time();
}

void LockSchedule::write() {
    const Count would{would_write_};
    if (!shared_.lock(limit())) return;
    const std::lock_guard guard{shared_, std::adopt_lock};
    CHECK(reading_ + writing_ == 0);
    const Count count{writing_};
    pass_time();
}

void LockSchedule::produce() {
    const std::lock_guard lock{store_};
    ++goods_;
    ++produced_;
    if (below(4) == 0) {
        delivered_.notify_all();
    } else {
        delivered_.notify_one();
    }
    if (below(2) == 0) pass_time();
}

void LockSchedule::consume() {
    std::unique_lock lock{store_};
    const auto is_there = [this] {
        CHECK(store_.owned());
        return goods_ > 0;
    };
    try {
        if (!delivered_.wait(lock, is_there, limit())) return;
    } catch (...) {
        CHECK(store_.owned());
        throw;
    }
    --goods_;
    ++consumed_;
    if (below(2) == 0) pass_time();
}

void LockSchedule::meet() {
    const int before = rounds_;
    if (below(4) == 0) {  // who is no party looks on
        if (!green::wait({barrier_}, {.deadline = limit()}).empty()) CHECK(rounds_ > before);
        return;
    }
    if (!barrier_.arrive_and_wait(limit())) return;
    CHECK(rounds_ > before);
    ++passed_;
}

void LockSchedule::use_the_latch() {
    if (latch_.count() > 0 && below(2) == 0) {
        latch_.count_down();
    } else {
        const bool open = latch_.wait(limit());
        CHECK(open == latch_.try_wait());
    }
}

void LockSchedule::check_at_rest() {
    tests::settle();
    CHECK(held_ + static_cast<int>(semaphore_.permits()) == static_cast<int>(permits));
    CHECK((semaphore_.permits() == 0 || semaphore_.waiting() == 0));
    CHECK(held_single_ + static_cast<int>(single_.permits()) == 1);
    CHECK((single_.permits() == 0 || single_.waiting() == 0));
    CHECK(static_cast<int>(mutex_.locked()) == in_mutex_);
    CHECK((mutex_.locked() || mutex_.waiting() == 0));
    CHECK(static_cast<int>(rlock_.locked()) == in_rlock_);
    CHECK((rlock_.locked() || rlock_.waiting() == 0));
    CHECK(static_cast<int>(shared_.locked()) == writing_);
    CHECK(static_cast<int>(shared_.readers()) == reading_);
    if (shared_.waiting() > 0) CHECK((writing_ > 0 || (reading_ > 0 && would_write_ > 0)));
    CHECK(produced_ == consumed_ + goods_);
    CHECK((goods_ == 0 || store_.locked() || delivered_.waiting() == 0));
    CHECK(barrier_.waiting() < parties);
    CHECK(passed_ <= rounds_ * static_cast<int>(parties));
    CHECK((!latch_.try_wait() || latch_.waiting() == 0));
}

void LockSchedule::check_at_end() {
    CHECK(held_ + held_single_ + in_mutex_ + in_rlock_ + reading_ + writing_ == 0);
    CHECK(semaphore_.waiting() + single_.waiting() + mutex_.waiting() + rlock_.waiting() == 0);
    CHECK(shared_.waiting() + store_.waiting() + delivered_.waiting() == 0);
    CHECK_FALSE(store_.locked());
    CHECK(barrier_.waiting() == 0);
    CHECK(latch_.waiting() == 0);
    // All who left it took their arrival back: it takes as many as ever.
    green::Group others;
    for (std::size_t i = 1; i < parties; ++i) {
        others.spawn([this] { CHECK(barrier_.arrive_and_wait()); });
    }
    tests::settle();
    CHECK(barrier_.waiting() == parties - 1);
    CHECK(barrier_.arrive_and_wait(green::Deadline::passed()));
    others.join();
}

void run_schedules(unsigned quarter) {
    tests::run_green([&] {
        tests::for_each_schedule(tests::share::locks, {quarter, 4}, [](std::uint64_t seed) {
            LockSchedule{seed}.run();
            const green::HubFigures left = green::hub_figures();
            REQUIRE(left.greenlets == 0);
            REQUIRE(left.timers == 0);
        });
    });
}

}  // namespace

// Four cases, so that they run beside each other.
TEST_CASE("lock schedules: nothing is lost and nobody is left, first quarter",
          "[core][schedules]") {
    run_schedules(0);
}
TEST_CASE("lock schedules: nothing is lost and nobody is left, second quarter",
          "[core][schedules]") {
    run_schedules(1);
}
TEST_CASE("lock schedules: nothing is lost and nobody is left, third quarter",
          "[core][schedules]") {
    run_schedules(2);
}
TEST_CASE("lock schedules: nothing is lost and nobody is left, last quarter", "[core][schedules]") {
    run_schedules(3);
}
