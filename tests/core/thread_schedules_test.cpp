// Random programs over what threads share, in one hub, where a schedule can be repeated: puts, gets
// and waits alone and side by side, limits and kills at every suspension point. What comes out is
// what was put first, and in the end nothing is lost and nobody waits.

#include <deque>
#include <optional>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "core/queue_schedule.hpp"

using tests::Item;
using tests::Schedule;

namespace {

class ThreadSchedule final : public Schedule {
 public:
    using Schedule::Schedule;

 private:
    static constexpr std::size_t capacity = 2;

    std::chrono::milliseconds some_time() { return std::chrono::milliseconds(below(5)); }

    void act() override {
        switch (below(8)) {
            case 0:
            case 1:
                put();
                break;
            case 2:
            case 3:
                get();
                break;
            case 4:
                if (event_.wait(limit())) was_set();
                break;
            case 5:
                if (result_.wait(limit())) expect(result_.ready(), "what was waited for is there");
                if (result_.ready()) expect(result_.get() == 7, "a result is what was set");
                break;
            case 6:
                choose();
                break;
            default: {
                pass_time();
                green::ThreadQueue<Item>::Ready ready{queue_};
                (void)green::detail::park(ready, limit());
                break;
            }
        }
    }
    void meddle() override {
        switch (below(8)) {
            case 0:
                event_.set();
                ++sets_;
                break;
            case 1:
                event_.clear();
                break;
            case 2:
                expect(result_.set(7) != was_ready_, "the first to set a result wins");
                was_ready_ = true;
                break;
            case 3:
                if (below(3) == 0) queue_.close();
                break;
            default:
                if (queue_.closed()) break;
                if (maybe()) {
                    if (const auto item = queue_.try_get()) took(item->number());
                    break;
                }
                Item item = next_item();
                const int number = item.number();
                if (give(item, [&] { return queue_.try_put(std::move(item)); }))
                    items_.push_back(number);
                break;
        }
    }

    void put() {
        Item item = next_item();
        const int number = item.number();
        if (give(item, [&] { return queue_.put(std::move(item), limit()); }))
            items_.push_back(number);
    }
    void get() {
        std::optional<Item> item;
        if (maybe()) {
            item.emplace(queue_.get());
        } else {
            item = queue_.get_for(some_time());
        }
        if (item) took(item->number());
    }
    void took(int number) {
        expect(!items_.empty() && items_.front() == number, "first in, first out");
        if (!items_.empty()) items_.pop_front();
    }
    void choose() {
        Item item = next_item();
        const int number = item.number();
        const green::After after = green::after(some_time());
        const bool given = give(item, [&] {
            switch (below(3)) {
                case 0: {
                    const auto got = green::select(event_, result_, green::recv(queue_), after);
                    if (got.index() == 0) was_set();
                    if (got.index() == 1) expect(result_.ready(), "what was chosen is there");
                    if (got.index() == 2) took(std::get<2>(got).number());
                    return false;
                }
                case 1: {
                    const auto got = green::select(green::recv(queue_), event_, after);
                    if (got.index() == 0) took(std::get<0>(got).number());
                    return false;
                }
                default:
                    return green::select(green::send(queue_, item), result_, after).index() == 0;
            }
        });
        if (given) items_.push_back(number);
    }
    void was_set() { expect(sets_ > 0, "nobody is woken by nothing"); }

    void check_at_rest() override {
        expect(queue_.size() == items_.size(), "nothing is lost");
        expect(queue_.empty() || queue_.waiting_getters() == 0, "who could be served is");
        expect(queue_.size() == capacity || queue_.waiting_putters() == 0,
               "who could be served is");
        if (queue_.closed())
            expect(queue_.waiting_getters() + queue_.waiting_putters() == 0, "nobody is left");
    }
    void check() override {
        expect(queue_.waiting_getters() + queue_.waiting_putters() == 0, "nobody is left");
        while (!items_.empty()) {
            const auto item = queue_.try_get();
            expect(item.has_value(), "nothing is lost");
            if (!item) break;
            took(item->number());
        }
        expect(queue_.empty(), "nothing comes twice");
        if (queue_.closed()) return;
        for (std::size_t i = 0; i < capacity; ++i)
            expect(queue_.try_put(next_item()), "all room is free in the end");
        expect(!queue_.try_put(next_item()), "and no more");
    }

    green::ThreadQueue<Item> queue_{capacity};
    std::deque<int> items_;  // what must be in it
    green::ThreadEvent event_;
    int sets_ = 0;
    green::ThreadAsyncResult<int> result_;
    bool was_ready_ = false;
};

}  // namespace

TEST_CASE("thread schedules: in one hub nothing is lost and nobody is left",
          "[core][schedules][os]") {
    tests::run_schedules<ThreadSchedule>(tests::share::thread_queues);
}
