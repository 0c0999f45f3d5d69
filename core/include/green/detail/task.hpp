#pragma once
// The control block of a greenlet. Private to the library: users hold it through a Greenlet handle.

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include <green/deadline.hpp>
#include <green/detail/context_map.hpp>
#include <green/detail/counted.hpp>
#include <green/detail/home.hpp>
#include <green/detail/intrusive.hpp>
#include <green/detail/timer.hpp>
#include <green/errors.hpp>

namespace green {

class TimeoutScope;

/// How a greenlet ended, as far as the type of its value does not matter.
enum class Outcome : std::uint8_t {
    pending,   // it has not
    returned,  // with a value
    exited,    // by GreenletExit: a success without a value
    failed,    // with an error
};

}  // namespace green

namespace green::detail {

class Hub;
class LocalCell;
class WaitNode;
struct Stack;
struct Task;

/// What the C++ runtime keeps per thread about exceptions, and we per greenlet: two greenlets that
/// sleep inside `catch` must each rethrow their own.
struct ExceptionState {
    void* caught = nullptr;
    unsigned int uncaught = 0;
};

/// Called once when a task has ended, on the stack of whoever ended it. Must neither switch nor
/// throw.
class EndHook : public ListHook {
 public:
    virtual void ended(Task& task) noexcept = 0;

 protected:
    ~EndHook() = default;
};

enum class TaskState : std::uint8_t {
    fresh,    // made, not started
    delayed,  // starts when its time has come
    ready,    // in the ready ring, whether or not it has run before
    running,  // the one that runs now
    parked,   // waits; `waits` says on what
    done,
};

/// What a greenlet runs, for names.
struct CallableTypes {
    const std::type_info* function;
    const std::type_info* arguments;  // void(Arguments...)
};

/// The timer that ends the wait a task is in. It stands in the task and not in the frame that
/// waits: who has slept long is woken without a look at its stack, which is in no cache any more.
struct WaitLimit : Timer {};

/// In a forked child: whether it has a life of its own, so that its parent's greenlets are memory.
[[nodiscard]] bool parents_are_past() noexcept;

/// All members belong to the hub; what derives from this gives the three functions. What a switch
/// touches comes first.
struct Task : ListHook, WaitLimit {  // the hook: every living task of the hub
    explicit Task(const CallableTypes& types) noexcept : callable{&types} {}
    virtual ~Task() {
        if (!done()) [[unlikely]]
            never_ran();
    }

    static constexpr std::uint32_t no_ident = ~std::uint32_t{0};
    static constexpr std::uint32_t going = ~std::uint32_t{0} / 2;  // a count that never ends

    /// Runs the callable on the greenlet's own stack, keeps its value and drops the callable. What
    /// it throws is for the caller, who then drops the callable.
    virtual void run() = 0;
    /// Destroys the callable and all it captured: as soon as it has ended, or when it will never
    /// run.
    virtual void drop_callable() noexcept = 0;
    /// Destroys what has stayed of the users' when it ended, before the task itself goes.
    virtual void drop_object() noexcept {}
    /// Destroys the task and gives its block back.
    virtual void destroy() noexcept = 0;

    void retain() noexcept { ++references; }
    void release() noexcept {
        if (--references > 0) return;
        references = going;  // its destructors may hold it for a while, as the greenlet that runs
        if (unobserved || buried) [[unlikely]] {
            if (!can_go()) return;
        }
        destroy();
    }
    /// Of one that had ended when its turn came.
    void leave_ring() noexcept {
        buried = false;
        if (references == 0) destroy();
    }
    [[nodiscard]] bool done() const noexcept { return state == TaskState::done; }
    /// What users are told: it has, or its process has been left behind, or its hub has gone before
    /// it was started.
    [[nodiscard]] bool ended() const noexcept {
        return done() || (!home.is_here() && parents_are_past()) ||
               (state == TaskState::fresh && home.is_here() && !hub_is_here());
    }
    /// Its hub is this thread's. It may have gone otherwise.
    [[nodiscard]] bool hub_is_here() const noexcept;
    [[nodiscard]] std::string name() const;
    /// All that users may notice of its going. Returns false when the ring still has its block.
    [[nodiscard]] bool can_go() noexcept;
    /// Nobody holds it any more, so it cannot be started: whoever waits for its end is told.
    void never_ran() noexcept;

    void* context = nullptr;  // where the suspended stack goes on
    Task* next_ready = nullptr;
    ExceptionState exceptions;
    TaskState state = TaskState::fresh;
    bool began = false;
    bool attention = false;  // an interrupt is pending: look before going on
    Outcome outcome = Outcome::pending;
    std::uint16_t shields = 0;
    bool unobserved = false;    // its failure was told to nobody yet
    bool buried = false;        // it ended in the ring, which does not hold it, but has its block
    bool limit_passed = false;  // that is what has woken it

    std::uint32_t epoch = 0;  // counts wake-ups: a waker made for an earlier wait is harmless
    std::uint32_t references = 1;
    Home home;
    std::uint32_t hub_number = 0;  // for who does not know whether it is still there
    Hub* hub = nullptr;
    Stack* stack = nullptr;
    WaitNode* const* waits = nullptr;  // what it is parked on
    std::uint32_t wait_count = 0;
    std::uint32_t minimal_ident = no_ident;  // only when it was asked for
    TimePoint since{};

    std::exception_ptr kill;                  // pending, delivered once
    green::TimeoutScope* timeouts = nullptr;  // the innermost open scope
    std::exception_ptr failure;               // with Outcome::failed
    IntrusiveList<EndHook> end_hooks;
    IntrusiveList<ListHook> joiners;  // WaitNodes, fired after the hooks have been told

    LocalCell* locals = nullptr;  // the newest of its values, see local.hpp
    ContextPtr inherited;         // what it runs under, see context.hpp

    std::uint64_t id = 0;
    std::uint64_t spawner = 0;  // the id of the greenlet that made it
    const CallableTypes* callable;
    const void* spawned_from = nullptr;       // a code address
    std::unique_ptr<std::string> given_name;  // only when one was given
    void* fake_stack = nullptr;               // the address sanitizer's
};

/// Shared ownership of a task, within its thread.
template <class T>
using TaskPtr = CountedPtr<T>;

/// The code address it is called from.
[[nodiscard]] const void* here() noexcept;

/// Memory for a task, from the pool of this thread. Throws std::bad_alloc.
[[nodiscard]] void* allocate_block(std::size_t size);
void free_block(void* block, std::size_t size) noexcept;

/// Makes a task of type T in a pooled block and enters it in the hub of this thread, not yet
/// started. `spawned_from` is a code address for reports.
void enroll(Task& task, const void* spawned_from) noexcept;
template <class T, class... Arguments>
[[nodiscard]] TaskPtr<T> make_task(const void* spawned_from, Arguments&&... arguments) {
    void* block = allocate_block(sizeof(T));
    T* task = nullptr;
    try {
        task = ::new (block) T(std::forward<Arguments>(arguments)...);
    } catch (...) {
        free_block(block, sizeof(T));
        throw;
    }
    enroll(*task, spawned_from);
    return TaskPtr<T>{task};
}

/// Puts a fresh task at the end of the ready ring; silent when it was started before.
void start(Task& task) noexcept;
/// The same when the time has come. Throws std::bad_alloc.
void start_later(Task& task, TimePoint when);

/// Interrupts the task with `reason` at its suspension point; one that never ran ends without
/// running.
void kill(Task& task, std::exception_ptr reason);

/// The task that runs now; makes the hub when there is none yet.
[[nodiscard]] Task& current_task();
/// Whether who runs now cannot wait for its end: for that of his own, and of one that never ran and
/// whose callable he destroys just now.
[[nodiscard]] bool ends_here(const Task& task);

}  // namespace green::detail
