// Random programs over everything that select(), a set, a link or a join can wait for, with limits
// inside each other, stretches that nothing may interrupt, and kills at every suspension point. A
// linked function runs once or never, a limit is thrown by its own scope, and in the end no permit
// and no item is lost and nothing that was made is left.

#include <array>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "core/nothing_left.hpp"
#include "core/queue_schedule.hpp"

using namespace std::chrono_literals;
using tests::Item;
using tests::Schedule;

namespace {

struct Boom : std::runtime_error {
    Boom() : std::runtime_error{"boom"} {}
};

class OperationSchedule final : public Schedule {
 public:
    using Schedule::Schedule;

 private:
    struct Result {
        green::AsyncResult<int> result;
        int value = 0;
        std::exception_ptr error;
    };
    struct Linked {
        int runs = 0;
        bool taken_back = false;
    };
    struct Tie {
        green::Link link;
        std::shared_ptr<Linked> fate;
    };

    static constexpr std::size_t permits = 2;

    Result& any_result() { return results_[below(2)]; }
    green::Greenlet<int> any_child() {
        if (children_.empty()) bear();
        return children_[static_cast<std::size_t>(below(static_cast<int>(children_.size())))];
    }

    void act() override {
        constexpr std::array acts{
            &OperationSchedule::bear,      &OperationSchedule::wait_for_child,
            &OperationSchedule::wait_some, &OperationSchedule::wait_for_result,
            &OperationSchedule::tie,       &OperationSchedule::hold_permit,
            &OperationSchedule::choose,    &OperationSchedule::choose,
            &OperationSchedule::nurse,     &OperationSchedule::use_a_set,
            &OperationSchedule::rest,      &OperationSchedule::limit_twice};
        (this->*acts[static_cast<std::size_t>(below(int(acts.size())))])();
    }

    void bear();
    void wait_for_child();
    void wait_some();
    void wait_for_result();
    void tie();
    void hold_permit();
    void keep_permit();
    void choose();
    void nurse();
    void use_a_set();
    void rest();
    void limit_twice();

    void set(Result& result);
    void untie();
    void meddle() override;
    void check_at_rest() override;
    void check() override;
    void check_ties();

    green::HubRef hub_;
    green::Event event_;
    Result results_[2];
    green::Latch latch_{3};
    green::BoundedSemaphore bounded_{permits};
    std::size_t held_ = 0;
    green::Queue<Item> queue_{1};
    green::Channel<Item> channel_;
    std::multiset<int> sent_;
    std::multiset<int> received_;
    green::Group nursery_;
    std::vector<green::Greenlet<int>> children_;
    std::vector<Tie> ties_;
};

void OperationSchedule::bear() {
    const auto live = [this] {
        pass_time();
        if (below(6) == 0) throw Boom{};
        if (below(4) == 0) {
            const green::Shield shield;
            pass_time();
        }
        return 1;
    };
    switch (below(4)) {
        case 0:
            children_.push_back(green::spawn_later(some_time(), live));
            break;
        case 1:
            children_.push_back(green::deferred(live));
            break;
        default:
            children_.push_back(green::spawn(live));
            break;
    }
}

void OperationSchedule::wait_for_child() {
    auto child = any_child();
    child.start();
    try {
        switch (below(6)) {
            case 0:
                if (child.join(limit())) expect(child.ready(), "who was joined has ended");
                break;
            case 1:
                expect(child.get_for(some_time()).value_or(1) == 1, "a greenlet gives its value");
                break;
            case 2:
                if (child.kill(limit())) expect(child.ready(), "who was killed has ended");
                break;
            case 3: {
                const std::vector<green::AnyGreenlet> all{children_.begin(), children_.end()};
                const auto ended = green::joinall(
                    all, {.deadline = some_time(), .count = 2, .raise_error = maybe()});
                for (const auto& one : ended) expect(one.ready(), "who is given has ended");
                break;
            }
            case 4:
                green::with_greenlet(child, [this] { pass_time(); });
                expect(child.ready(), "a greenlet does not outlive its scope");
                break;
            default:
                if (below(4) == 0) green::current().kill();
                expect(child.get() == 1, "a greenlet gives its value");
                break;
        }
    } catch (const Boom&) {  // of a child; its GreenletExit ends this one too
    }
}

void OperationSchedule::wait_some() {
    const green::AnyGreenlet child = any_child();
    const green::After after = green::after(some_time());
    const auto ready = green::wait({event_, child, any_result().result, latch_, after},
                                   {.deadline = limit(), .count = std::size_t(1 + below(3))});
    expect(std::set<std::size_t>(ready.begin(), ready.end()).size() == ready.size(),
           "each is given once");
}

void OperationSchedule::wait_for_result() {
    Result& one = any_result();
    try {
        switch (below(3)) {
            case 0:
                expect(one.result.get() == one.value, "the value that was set first comes");
                break;
            case 1:
                if (const auto value = one.result.get_for(some_time()))
                    expect(*value == one.value, "the value that was set first comes");
                break;
            default:
                if (one.result.wait(limit()))
                    expect(one.result.ready(), "what was waited for is there");
                break;
        }
    } catch (const Boom&) {
        expect(std::current_exception() == one.error, "the error that was set first comes");
    }
}

void OperationSchedule::tie() {
    auto fate = std::make_shared<Linked>();
    const bool waits = maybe();
    const auto function = [this, fate, waits] {
        expect(!fate->taken_back, "a link that was taken back is not called");
        expect(++fate->runs == 1, "a link is called once");
        if (waits) pass_time();
    };
    const auto to = [&](green::AnyWaitable object) {
        ties_.push_back({waits ? green::link(object, function) : green::rawlink(object, function),
                         std::move(fate)});
    };
    switch (below(4)) {
        case 0:
            to(event_);
            break;
        case 1:
            to(any_result().result);
            break;
        case 2:
            to(nursery_);
            break;
        default: {
            const auto child = any_child();
            const auto with_child = [function](const green::AnyGreenlet&) { function(); };
            ties_.push_back({waits ? child.link(with_child) : child.rawlink(with_child), fate});
            if (below(4) != 0) break;
            ties_.back().link.detach();
            ties_.pop_back();
            break;
        }
    }
    pass_time();
    if (maybe()) untie();
}

void OperationSchedule::hold_permit() {
    if (below(3) == 0) {
        (void)bounded_.wait_available(limit());
    } else if (bounded_.acquire(limit())) {
        keep_permit();
    }
}

void OperationSchedule::keep_permit() {
    ++held_;
    struct Release {
        OperationSchedule* schedule;
        ~Release() {
            --schedule->held_;
            schedule->bounded_.release();
        }
    } const release{this};
    pass_time();
}

void OperationSchedule::choose() {
    const green::AnyGreenlet child = any_child();
    Item item = next_item();
    const int number = item.number();
    std::optional<Item> got;
    bool has_permit = false;
    const auto won = [&](auto result) {
        std::visit(
            [&]<class T>(T& value) {
                if constexpr (std::is_same_v<T, Item>) got.emplace(std::move(value));
            },
            result);
        return result.index();
    };
    const green::After after = green::after(some_time());
    const bool given = give(item, [&] {
        switch (below(4)) {
            case 0:
                has_permit = won(green::select(green::acquire(bounded_), green::recv(queue_),
                                               event_, after)) == 0;
                return false;
            case 1:
                return won(green::select(child, green::send(queue_, item), any_result().result,
                                         after)) == 1;
            case 2:
                has_permit = won(green::select(green::recv(channel_), green::acquire(bounded_),
                                               latch_, nursery_)) == 1;
                return false;
            default:
                return won(green::select(green::recv(queue_), green::send(channel_, item), child,
                                         bounded_)) == 1;
        }
    });
    if (given) sent_.insert(number);
    if (got) received_.insert(got->number());
    if (has_permit) keep_permit();
}

void OperationSchedule::nurse() {
    nursery_.spawn([this] { pass_time(); });
    switch (below(4)) {
        case 0:
            (void)nursery_.join(limit());
            break;
        case 1:
            (void)nursery_.kill(some_time());
            break;
        case 2: {
            green::Group own;
            own.spawn([this] { pass_time(); });
            pass_time();
            break;
        }
        default:
            break;
    }
}

void OperationSchedule::use_a_set() {
    const green::AnyGreenlet child = any_child();
    const green::After after = green::after(some_time());
    green::WaitSet set{
        event_, any_result().result, latch_, bounded_, queue_, child, channel_, nursery_, after};
    std::set<std::size_t> seen;
    const std::size_t all = set.remaining();
    for (int i = 1 + below(5); i > 0; --i) {
        const auto next = set.next(limit());
        if (!next) break;
        expect(seen.insert(*next).second, "each is given once");
        expect(set.remaining() + seen.size() == all, "those that were not given remain");
        if (maybe()) pass_time();
    }
}

void OperationSchedule::rest() {
    switch (below(5)) {
        case 0:
            green::idle();
            break;
        case 1:
            green::sleep_until(green::now() + some_time());
            break;
        case 2:
            (void)event_.wait(limit());
            break;
        case 3:
            if (latch_.count() > 0) {
                (void)latch_.arrive_and_wait(limit());
            } else {
                expect(latch_.wait(limit()), "an open latch lets everybody through");
            }
            break;
        default: {
            const green::Shield shield;
            try {
                pass_time();
                (void)event_.wait(some_time());
            } catch (...) {
                expect(false, "nothing comes through a shield");
                throw;
            }
            break;
        }
    }
}

void OperationSchedule::limit_twice() {
    const bool throws_boom = below(4) == 0;
    const auto instead = throws_boom ? std::make_exception_ptr(Boom{}) : nullptr;
    green::TimeoutScope outer{some_time(), instead};
    bool cancelled = false;
    try {
        green::TimeoutScope inner{limit()};
        try {
            pass_time();
            if (maybe()) {
                inner.restart(some_time());
            } else if (maybe()) {
                inner.cancel();
                cancelled = true;
            }
            (void)event_.wait(limit());
            pass_time();
        } catch (const green::Timeout& timeout) {
            if (!inner.owns(timeout)) throw;
            expect(inner.expired() && !cancelled, "a limit that passed is thrown, no other");
            expect(!outer.expired(), "of limits that pass together the outermost is thrown");
        }
        if (maybe()) pass_time();
    } catch (const green::Timeout& timeout) {
        if (!outer.owns(timeout)) throw;
        expect(outer.expired() && !throws_boom, "a limit that passed is thrown, no other");
    } catch (const Boom&) {
        expect(outer.expired() && throws_boom, "what stands for a limit is thrown when it passed");
    }
}

void OperationSchedule::set(Result& one) {
    const bool first = !one.result.ready();
    const int value = below(100);
    const auto error = std::make_exception_ptr(Boom{});
    const bool fails = below(3) == 0;
    const bool taken = fails ? one.result.set_exception(error) : one.result.set(value);
    expect(taken == first, "the first to set a result wins");
    if (!taken) return;
    one.value = value;
    if (fails) one.error = error;
}

void OperationSchedule::untie() {
    if (ties_.empty()) return;
    const auto which = ties_.begin() + below(static_cast<int>(ties_.size()));
    which->fate->taken_back = true;
    ties_.erase(which);
}

void OperationSchedule::meddle() {
    switch (below(10)) {
        case 0:
        case 1:
            event_.set();
            break;
        case 2:
            event_.clear();
            break;
        case 3:
            set(any_result());
            break;
        case 4:
            if (latch_.count() > 0) latch_.count_down();
            break;
        case 5:
            any_child().kill_soon(maybe() ? std::make_exception_ptr(Boom{}) : nullptr);
            break;
        case 6:
            nursery_.kill_soon();
            break;
        case 7:
            untie();
            break;
        default:
            hub_.post([this, puts = maybe()] {
                if (!puts) {
                    if (const auto item = queue_.try_get()) received_.insert(item->number());
                    return;
                }
                Item item = next_item();
                const int number = item.number();
                if (queue_.try_put(std::move(item))) sent_.insert(number);
            });
            break;
    }
}

void OperationSchedule::check_at_rest() {
    expect(bounded_.permits() + held_ == permits, "no permit is lost");
    expect(bounded_.permits() == 0 || bounded_.waiting() == 0, "who could be served is");
    expect(!event_.is_set() || event_.waiting() == 0, "nobody waits for what is");
    expect(latch_.count() > 0 || latch_.waiting() == 0, "nobody waits for what is");
    expect(queue_.empty() || queue_.waiting_getters() == 0, "who could be served is");
    expect(queue_.full() || queue_.waiting_putters() == 0, "who could be served is");
    check_ties();
}

void OperationSchedule::check_ties() {
    for (const Tie& one : ties_) expect(one.fate->runs <= 1, "a link is called once");
}

void OperationSchedule::check() {
    nursery_.kill();
    green::killall(std::vector<green::AnyGreenlet>{children_.begin(), children_.end()});
    event_.set();
    for (Result& one : results_) set(one);
    tests::settle();
    green::sleep(1s);  // functions of links end by themselves
    for (const Tie& one : ties_) expect(one.fate->runs == 1, "what is ready has called its links");
    while (const auto item = queue_.try_get()) received_.insert(item->number());
    expect(received_ == sent_, "nothing is lost");
    expect(bounded_.permits() == permits, "no permit is lost");
    expect(bounded_.waiting() + event_.waiting() + latch_.waiting() == 0, "nobody is left");
    expect(queue_.waiting_getters() + queue_.waiting_putters() == 0, "nobody is left");
    expect(channel_.waiting_getters() + channel_.waiting_putters() == 0, "nobody is left");
}

void run_schedules(unsigned half) {
    tests::run_green([&] {
        const tests::Errors quiet;
        tests::for_each_schedule(tests::share::operations, {half, 2}, [](std::uint64_t seed) {
            OperationSchedule{seed}.run();
            tests::settle();
            tests::require_nothing_left();
        });
    });
}

}  // namespace

// Two cases, so that they run beside each other.
TEST_CASE("operation schedules: each is done once and nothing is left, first half",
          "[core][schedules]") {
    run_schedules(0);
}
TEST_CASE("operation schedules: each is done once and nothing is left, second half",
          "[core][schedules]") {
    run_schedules(1);
}
