#include <array>
#include <cassert>
#include <new>
#include <utility>

#include <green/detail/park.hpp>
#include <green/detail/task.hpp>
#include <green/detail/timer.hpp>

#include "sched/switching.hpp"
#include "sched/symbols.hpp"

namespace green::detail {
namespace {

// Blocks of ended greenlets, kept for the next ones by size, as their stacks are. A block is from
// operator new all the same, so one that is freed by another thread, or after this cache is gone,
// needs no thought. Under the address sanitizer nothing is kept: a stale handle must be caught.
class BlockCache {
 public:
    ~BlockCache() {
        for (Free*& shelf : shelves_) {
            while (shelf != nullptr) drop(pop(shelf));
        }
    }
    void* take(std::size_t size) {
        const std::size_t index = (size + step - 1) / step;
        if (index < classes && shelves_[index] != nullptr) return pop(shelves_[index]);
        return make(index < classes ? index * step : size);
    }
    void give_back(void* block, std::size_t size) noexcept {
        const std::size_t index = (size + step - 1) / step;
        if (GREEN_ADDRESS_SANITIZER || index >= classes) {
            drop(block);
        } else {
            shelves_[index] = ::new (block) Free{shelves_[index]};
        }
    }

    static void* make(std::size_t size) { return ::operator new(size); }
    static void drop(void* block) noexcept { ::operator delete(block); }

 private:
    static constexpr std::size_t step = 16;  // as malloc's
    static constexpr std::size_t classes = 64;

    struct Free {
        Free* next;
    };
    static void* pop(Free*& shelf) noexcept { return std::exchange(shelf, shelf->next); }

    std::array<Free*, classes> shelves_{};
};

thread_local BlockCache* cache_of_thread = nullptr;

BlockCache* make_cache() {
    (void)Hub::current();  // here, because a task that was made is enrolled without fail
    struct Owner {
        BlockCache cache;
        Owner() { cache_of_thread = &cache; }
        ~Owner() { cache_of_thread = nullptr; }
    };
    thread_local Owner owner;
    return cache_of_thread;
}

}  // namespace

const void* here() noexcept { return __builtin_return_address(0); }

void* allocate_block(std::size_t size) {
    BlockCache* cache = cache_of_thread != nullptr ? cache_of_thread : make_cache();
    return cache != nullptr ? cache->take(size) : BlockCache::make(size);
}

void free_block(void* block, std::size_t size) noexcept {
    if (cache_of_thread != nullptr) {
        cache_of_thread->give_back(block, size);
    } else {
        BlockCache::drop(block);
    }
}

std::string Task::name() const {
    return given_name ? *given_name : type_name(*callable->function) + "#" + std::to_string(id);
}

bool Task::can_go() noexcept {
    if (unobserved) {
        if (Hub* its_hub = Hub::current_of(*this)) its_hub->report_error(*this);
    }
    if (!buried) return true;
    // Not by the switch that finds it in the ring: destructors may wait.
    drop_object();
    failure = nullptr;
    if (!buried) return true;  // it has left the ring meanwhile
    references = 0;
    return false;
}

void Task::never_ran() noexcept {
    if (!home.is_here()) joiners.forget();  // who waited is the parent's
    while (!joiners.empty()) static_cast<WaitNode&>(joiners.front()).lose_source();
    if (minimal_ident == no_ident) return;
    if (Hub* its_hub = Hub::current_of(*this)) its_hub->free_ident(*this);
}

bool Task::hub_is_here() const noexcept { return Hub::current_of(*this) != nullptr; }

void enroll(Task& task, const void* spawned_from) noexcept {
    Hub::current().enroll(task, spawned_from);
}
// The hub of one that has ended may have gone.
void start(Task& task) noexcept {
    if (!task.ended()) task.hub->start(task);
}
void start_later(Task& task, TimePoint when) {
    if (!task.ended()) task.hub->start_later(task, when);
}
void kill(Task& task, std::exception_ptr reason) {
    if (!task.ended()) task.hub->kill(task, std::move(reason));
}
Task& current_task() { return Hub::current().running(); }
bool ends_here(const Task& task) { return Hub::current().ends_here(task); }

void Waker::wake() const noexcept {
    // What ends in a forked child may wake what it likes of its parent's.
    assert((task_->hub == Hub::current_or_null() || task_->hub->is_abandoned()) &&
           "an object of another thread's hub was used");
    if (task_->state != TaskState::parked || task_->epoch != epoch_) return;
    ++task_->epoch;
    task_->hub->make_ready(*task_);
}

void start_timer(Timer& timer, TimePoint when, Timer::Fire fire) {
    Hub::current().timers().start(timer, when, fire);
}
void cancel_timer(Timer& timer) noexcept {
    if (timer.pending()) Hub::current().timers().cancel(timer);
}

}  // namespace green::detail
