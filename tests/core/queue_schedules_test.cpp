// Random programs over queues: puts, gets, peeks, operations side by side, limits and kills at
// every suspension point. Beside each queue stands a plain list of what must be in it: every item
// that comes out is compared with the one that the order demands, every item that does not go in
// must still be with its putter, and in the end nothing may be left and nobody may wait.

#include <algorithm>
#include <optional>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "core/queue_schedule.hpp"
#include "support/one_of.hpp"

using namespace std::chrono_literals;
using tests::Item;
using tests::run_schedules;
using tests::Schedule;

namespace {

// Which of the listed items, in the order in which they came, is the next. `promised` of them
// belong to getters that were woken before and did not run yet.
template <class T>
std::size_t next_of(const green::Fifo<T>*, const std::vector<int>&, std::size_t promised) {
    return promised;
}
template <class T>
std::size_t next_of(const green::Lifo<T>*, const std::vector<int>& items, std::size_t) {
    return items.size() - 1;
}
template <class T>
std::size_t next_of(const green::LowestFirst<T>*, const std::vector<int>& items, std::size_t) {
    const auto lower = [](int a, int b) { return Item::rank(a) < Item::rank(b); };
    return static_cast<std::size_t>(std::min_element(items.begin(), items.end(), lower) -
                                    items.begin());
}

template <class Queue, class Store>
class QueueSchedule final : public Schedule {
    static constexpr bool counts_tasks = requires(Queue & queue) { queue.task_done(); };

    struct Tracked {
        explicit Tracked(std::size_t capacity) : queue{capacity} {}
        /// How many items a getter that comes now must leave to others.
        [[nodiscard]] std::size_t promised() const {
            return queue.empty() ? 0 : items.size() - queue.size();
        }
        Queue queue;
        std::vector<int> items;   // what must be in it, in the order in which it came
        std::size_t in_hand = 0;  // got and not done
    };
    struct InHand {
        explicit InHand(Tracked& tracked) : tracked_{&tracked} { ++tracked.in_hand; }
        ~InHand() { --tracked_->in_hand; }
        Tracked* tracked_;
    };

 public:
    explicit QueueSchedule(std::uint64_t seed)
        : Schedule{seed}, queues_{Tracked{random_capacity()}, Tracked{random_capacity()}} {}

 private:
    std::size_t random_capacity() {
        const int capacity = 1 + below(4);
        return capacity == 4 ? Queue::unbounded : static_cast<std::size_t>(capacity);
    }
    Tracked& any() { return queues_[below(2)]; }

    void act() override {
        Tracked& tracked = any();
        switch (below(8)) {
            case 0:
                pass_time();
                break;
            case 1:
            case 2:
                put(tracked);
                break;
            case 3:
            case 4:
                get(tracked);
                break;
            case 5:
                peek(tracked);
                break;
            case 6:
                choose(tracked, any());
                break;
            default:
                if constexpr (counts_tasks) {
                    work(tracked);
                } else {
                    typename Queue::Ready ready{tracked.queue};
                    (void)green::detail::park(ready, limit());
                }
                break;
        }
    }

    void meddle() override {
        Tracked& tracked = any();
        switch (below(16)) {
            case 0:
                tracked.queue.close();
                break;
            case 1:
                tracked.queue.close_now();
                tracked.items.clear();
                break;
            case 2:
            case 3:
                tracked.queue.set_capacity(random_capacity());
                break;
            default:
                hub_.post([this, &tracked, puts = maybe()] {
                    if (tracked.queue.closed()) return;
                    if (puts) {
                        put_now(tracked);
                    } else {
                        get_now(tracked);
                    }
                });
                break;
        }
    }

    void put(Tracked& tracked) {
        Item item = next_item();
        const int number = item.number();
        const bool waits = tracked.queue.full();
        const bool given = give(item, [&] { return tracked.queue.put(std::move(item), limit()); });
        expect(waits || given, "a put into a queue with room succeeds");
        if (given) tracked.items.push_back(number);
    }
    bool put_now(Tracked& tracked) {
        Item item = next_item();
        const int number = item.number();
        const bool room = !tracked.queue.full();
        const bool given = give(item, [&] { return tracked.queue.try_put(std::move(item)); });
        expect(room == given, "try_put succeeds when there is room");
        if (given) tracked.items.push_back(number);
        return given;
    }

    void get(Tracked& tracked) {
        const bool waits = tracked.queue.empty();
        const std::size_t promised = tracked.promised();
        std::optional<Item> item;
        try {
            if (const int way = below(3); way == 0) {
                item.emplace(tracked.queue.get());
            } else if (way == 1) {
                item = tracked.queue.get_for(std::chrono::milliseconds(below(5)));
            } else {
                item = tracked.queue.next(limit());
            }
        } catch (const green::Closed&) {
            expect(tracked.items.empty(), "what is left comes before Closed");
            throw;
        }
        expect(waits || item.has_value(), "a get from a queue with an item succeeds");
        if (item) deal_with(tracked, item->number(), promised);
    }
    bool get_now(Tracked& tracked) {
        const bool there = !tracked.queue.empty();
        const std::size_t promised = tracked.promised();
        const std::optional<Item> item = tracked.queue.try_get();
        expect(there == item.has_value(), "try_get succeeds when there is an item");
        if (!item) return false;
        take_off(tracked, item->number(), promised);
        if constexpr (counts_tasks) tracked.queue.task_done();
        return true;
    }
    void take_off(Tracked& tracked, int number, std::size_t promised) {
        if (promised >= tracked.items.size()) {
            expect(false, "no item comes that nobody put");
            return;
        }
        const auto next = tracked.items.begin() +
                          static_cast<std::ptrdiff_t>(next_of(store, tracked.items, promised));
        expect(*next == number, "the next item comes next");
        tracked.items.erase(next);
    }
    /// It is done in the end, also when who got it is killed meanwhile.
    void deal_with(Tracked& tracked, int number, std::size_t promised) {
        take_off(tracked, number, promised);
        if constexpr (counts_tasks) {
            const InHand in_hand{tracked};
            struct Done {
                Queue* queue;
                ~Done() { queue->task_done(); }
            } const done{&tracked.queue};
            check_tasks(tracked);
            if (maybe()) pass_time();
        }
    }

    void work(Tracked& tracked) {
        if (below(3) == 0) (void)tracked.queue.join(limit());
        const std::size_t promised = tracked.promised();
        std::optional<typename Queue::Job> job = tracked.queue.next_job(limit());
        if (!job) return;
        take_off(tracked, (*job)->number(), promised);
        const InHand in_hand{tracked};
        check_tasks(tracked);
        if (maybe()) pass_time();
    }
    void check_tasks(Tracked& tracked) {
        expect(tracked.queue.unfinished_tasks() == tracked.items.size() + tracked.in_hand,
               "unfinished are those in the queue and those in hand");
    }

    void peek(Tracked& tracked) {
        const bool waits = tracked.queue.empty();
        const std::size_t promised = tracked.promised();
        const Item* seen = nullptr;
        try {
            if (const int way = below(3); way == 0) {
                seen = &tracked.queue.peek();
            } else if (way == 1) {
                seen = tracked.queue.peek_for(std::chrono::milliseconds(below(5)));
            } else {
                seen = tracked.queue.try_peek();
            }
        } catch (const green::Closed&) {
            expect(tracked.items.empty(), "what is left is seen before Closed");
            throw;
        }
        expect(waits || seen != nullptr, "a peek into a queue with an item succeeds");
        if (seen == nullptr) return;
        const bool listed = promised < tracked.items.size();
        expect(listed && seen->number() == tracked.items[next_of(store, tracked.items, promised)],
               "the next item is seen");
    }

    /// Two operations side by side, also on the same queue.
    void choose(Tracked& one, Tracked& other) {
        Item item = next_item();
        const int number = item.number();
        const std::size_t promised_one = one.promised();
        const std::size_t promised_other = other.promised();
        const int way = below(3);
        give(item, [&] {
            if (way == 0) {
                auto to_one = green::send(one.queue, item);
                auto to_other = green::send(other.queue, item);
                const std::size_t won = tests::one_of(limit(), to_one, to_other);
                expect(won < 2 || won == tests::none, "one operation wins");
                if (won == tests::none) return false;
                (won == 0 ? to_one : to_other).take();
                (won == 0 ? one : other).items.push_back(number);
                return true;
            }
            auto from_one = green::recv(one.queue);
            if (way == 1) {
                auto from_other = green::recv(other.queue);
                const std::size_t won = tests::one_of(limit(), from_one, from_other);
                expect(won < 2 || won == tests::none, "one operation wins");
                if (won == 0) deal_with(one, from_one.take().number(), promised_one);
                if (won == 1) deal_with(other, from_other.take().number(), promised_other);
                return false;
            }
            auto to_other = green::send(other.queue, item);
            const std::size_t won = tests::one_of(limit(), from_one, to_other);
            expect(won < 2 || won == tests::none, "one operation wins");
            if (won == 0) deal_with(one, from_one.take().number(), promised_one);
            if (won != 1) return false;
            to_other.take();
            other.items.push_back(number);
            return true;
        });
    }

    void check_at_rest() override {
        for (Tracked& tracked : queues_) {
            const Queue& queue = tracked.queue;
            const bool over = queue.closed() && queue.empty();
            if (!queue.empty() || over) {
                expect(queue.waiting_getters() == 0, "no getter waits that could be served");
                expect(queue.waiting_lookers() == 0, "no looker waits that could be served");
            }
            if (!queue.full() || over)
                expect(queue.waiting_putters() == 0, "no putter waits that could be served");
            expect(queue.size() == tracked.items.size(), "no promise is forgotten");
        }
    }

    void check() override {
        for (Tracked& tracked : queues_) {
            Queue& queue = tracked.queue;
            while (!queue.empty()) get_now(tracked);
            expect(tracked.items.empty(), "nothing is lost");
            expect(queue.waiting_getters() == 0, "no getter is left");
            expect(queue.waiting_putters() == 0, "no putter is left");
            expect(queue.waiting_lookers() == 0, "no looker is left");
            if constexpr (counts_tasks) expect(queue.join(0s), "every task is done");
            if (queue.closed() || queue.capacity() == Queue::unbounded) continue;
            for (std::size_t i = 0; i < queue.capacity(); ++i) put_now(tracked);
            expect(queue.size() == queue.capacity(), "all its room is free in the end");
        }
    }

    static constexpr const Store* store = nullptr;
    green::HubRef hub_;
    Tracked queues_[2];
};

}  // namespace

TEST_CASE("queue schedules: first in, first out", "[core][schedules]") {
    run_schedules<QueueSchedule<green::Queue<Item>, green::Fifo<Item>>>(tests::share::queues);
}
TEST_CASE("queue schedules: last in, first out", "[core][schedules]") {
    run_schedules<QueueSchedule<green::LifoQueue<Item>, green::Lifo<Item>>>(tests::share::queues);
}
TEST_CASE("queue schedules: lowest first", "[core][schedules]") {
    run_schedules<QueueSchedule<green::PriorityQueue<Item>, green::LowestFirst<Item>>>(
        tests::share::queues);
}
TEST_CASE("queue schedules: tasks", "[core][schedules]") {
    run_schedules<QueueSchedule<green::JoinableQueue<Item>, green::Fifo<Item>>>(
        tests::share::queues);
}
