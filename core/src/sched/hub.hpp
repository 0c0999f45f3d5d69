#pragma once
// One hub per thread: the ready ring, the switch, the loop that is entered when nobody is ready.
// Longer than most headers: waiting, waking, switching and ending work on the same few members.
//
//  H1  The thread's own stack is the main greenlet; the hub is a task with a stack of its
//      own. Both appear when the thread first needs them.
//  H2  What is ready stands in one first-in-first-out ring. Nothing overtakes.
//  H3  A greenlet that waits switches straight to the next ready one. The hub's stack is entered
//      when the ring is empty or its budget is used up; it polls the reactor without waiting if
//      anybody is ready, and goes on.
//  H4  A started task is held by its hub until it is done and has left the ring.
//  H5  Waking never switches. Whoever wakes keeps running until its own next suspension point.
//  H6  An interrupt appears only inside park() or yield(), on the target's own stack, never while
//      it unwinds.
//  H7  Functions that others posted, timers and watchers run on the hub's stack, after each look
//      outside, in this order. Those who wait for what was found there are woken before the timers
//      run: it beats their limits.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <green/detail/home.hpp>
#include <green/detail/park.hpp>
#include <green/detail/task.hpp>
#include <green/detail/turn_end.hpp>
#include <green/hub.hpp>
#include <green/trace.hpp>

#include "loop/fd_table.hpp"
#include "loop/reactor.hpp"
#include "sched/overflow.hpp"
#include "sched/polls.hpp"
#include "sched/ready_ring.hpp"
#include "sched/sanitizer.hpp"
#include "sched/scout.hpp"
#include "sched/stack_pool.hpp"
#include "sched/throw_site.hpp"
#include "sched/timers.hpp"

namespace green::detail {

class Mailbox;
class SignalBoard;
class WatcherBoard;

/// What nobody owns: the hub destroys it at its end, unless it has gone by itself.
class Orphan : public ListHook {
 public:
    virtual ~Orphan() = default;
};

class Hub final : private ReactorSink {
 public:
    explicit Hub(std::unique_ptr<Reactor> reactor, HubOptions config = {});
    Hub(const Hub&) = delete;
    Hub& operator=(const Hub&) = delete;
    ~Hub();

    /// This thread's hub, made when there is none.
    [[nodiscard]] static Hub& current() {
        return this_threads != nullptr ? *this_threads : make_for_thread();
    }
    [[nodiscard]] static Hub* current_or_null() noexcept { return this_threads; }
    /// This thread's hub if it is the task's, which may have gone otherwise.
    [[nodiscard]] static Hub* current_of(const Task& task) noexcept {
        Hub* const here = this_threads;
        return here != nullptr && here->number_ == task.hub_number ? here : nullptr;
    }
    /// This thread's hub, made when there is none; nullptr where none can be.
    [[nodiscard]] static Hub* current_if_possible() noexcept {
        return this_threads != nullptr ? this_threads : try_make_for_thread();
    }
    static void configure(const HubOptions& config);
    /// This thread gets no hub from now on: whoever would need one is told `why`, which is
    /// borrowed.
    static void forbid_for_thread(const char* why) noexcept { why_none = why; }
    /// Ends the process, with a message, in the child that a thread with a hub has forked, until
    /// that begins anew.
    static void refuse_in_forked_child() noexcept {
        if (forked_child) [[unlikely]]
            abort_in_forked_child();
    }
    [[nodiscard]] static bool refused_in_forked_child() noexcept { return forked_child; }
    /// In a forked child: `parents`, the hub that this thread had before, and those behind it are
    /// memory of the past from now on. The stack that this runs on can become the main greenlet of
    /// a hub of its own.
    static void begin_anew(Hub* parents) noexcept;
    /// Ends this thread's hub, if it has one, as its thread's end does.
    static void end_for_thread() noexcept;
    /// No other hub of this process had it or has it, as one may have the address. Never 0.
    [[nodiscard]] std::uint32_t number() const noexcept { return number_; }
    /// A forked child's copy of one of its parent's, of whichever thread.
    [[nodiscard]] bool is_abandoned() const noexcept { return !home_.is_here(); }

    [[nodiscard]] Task& running() noexcept { return *running_; }
    [[nodiscard]] TimePoint now() noexcept { return reactor_->now(); }
    [[nodiscard]] TimePoint soon() noexcept { return reactor_->soon(); }
    [[nodiscard]] Timers& timers() noexcept { return timers_; }
    [[nodiscard]] FdTable& fds() noexcept { return fds_; }
    [[nodiscard]] Reactor& reactor() noexcept { return *reactor_; }
    [[nodiscard]] const StackPool& stacks() const noexcept { return *stacks_; }
    [[nodiscard]] SignalBoard& signals() noexcept { return *signals_; }
    [[nodiscard]] WatcherBoard& watchers() noexcept { return *watchers_; }
    [[nodiscard]] const std::shared_ptr<Mailbox>& mailbox() const noexcept { return mailbox_; }

    void enroll(Task& task, const void* spawned_from) noexcept;
    void start(Task& task) noexcept;
    void start_later(Task& task, TimePoint when);
    [[nodiscard]] std::size_t minimal_ident(Task& task);
    void free_ident(const Task& task) noexcept;
    [[nodiscard]] bool ends_here(const Task& task) noexcept;
    void kill(Task& task, std::exception_ptr reason);
    void make_ready(Task& task) noexcept;
    /// Wakes the task for an interrupt that is already noted in it.
    void interrupt(Task& task) noexcept;

    template <std::size_t Extent>
    bool park_on(std::span<WaitNode* const, Extent> nodes, Deadline deadline);
    void yield();
    void sleep_until(TimePoint when);
    void wait_idle();
    /// hub_join(); hub_join.cpp.
    bool join(Deadline deadline);
    /// What can be ended from outside keeps the hub alive, also when no greenlet waits for it.
    void begin_outside_wait() noexcept { ++outside_waits_; }
    void end_outside_wait() noexcept { --outside_waits_; }
    void check_may_switch() const {
        if (fence_ != nullptr) [[unlikely]]
            throw BlockingInHub(fence_);
    }
    const char* set_fence(const char* why) noexcept { return std::exchange(fence_, why); }
    /// Counts a call that was served without waiting. Returns whether it is time to give way, so
    /// that a busy socket starves nobody.
    [[nodiscard]] bool served_enough() noexcept {
        if (++served_ < budget_served || fence_ != nullptr) return false;
        served_ = 0;  // also when nobody else is ready and no switch resets it
        return true;
    }

    /// For how long a greenlet may linger in the hub's place that waits until then, as nobody else
    /// has work; not at all now and then, so that the hub has its turn.
    [[nodiscard]] Duration time_to_linger(Deadline deadline) noexcept;
    /// Before the next switch, not only after some.
    void ask_clock_next() noexcept { look_in_ = 1; }

    void adopt(Orphan& orphan) noexcept { orphans_.push_back(orphan); }

    [[nodiscard]] std::string report_tasks();
    /// Of one that may have ended, and whose memory may be another's by now.
    [[nodiscard]] std::string name_of(const Task* task, std::uint64_t id);
    void set_error_handler(ErrorHandler handler) { on_error_ = kept(std::move(handler)); }
    [[nodiscard]] GreenletReport describe(const Task& task) const;
    [[nodiscard]] std::vector<GreenletReport> describe_tasks();
    void set_error_policy(ErrorPolicy policy) noexcept { error_policy_ = policy; }
    void report_error(const ErrorReport& report) noexcept;
    void report_error(std::string where, std::exception_ptr error) noexcept;
    /// Of one that has failed.
    void report_error(Task& task) noexcept;
    [[nodiscard]] ErrorReport report_of(Task& task);
    [[nodiscard]] ThrowSite& throw_site() noexcept { return throw_site_; }
    void set_trace(TraceHook hook) {
        trace_ = kept(std::move(hook));
        traced_ = trace_ != nullptr;
    }
    [[nodiscard]] HubFigures figures() const noexcept;

    [[nodiscard]] Polls& polls() noexcept { return polls_; }
    void at_turn_end(TurnEnd& end) noexcept { turn_ends_.push_back(end); }

 private:
    static constexpr unsigned budget_served = 256;
    // For greenlets that wait while their hub ends them.
    static constexpr int last_rounds = 1000;
    static constexpr Duration last_time = std::chrono::seconds(1);

    /// Of one that never ran: its callable is destroyed, on the stack of whoever killed it.
    struct Burial : ListHook {
        Burial(const Task& dead, const Task& killer) noexcept : task{&dead}, by{&killer} {}
        const Task* task;
        const Task* by;
    };

    struct PlainTask final : Task {  // main and hub
        explicit PlainTask(const char* name);
        static const CallableTypes types;
        void run() override {}
        void drop_callable() noexcept override {}
        void destroy() noexcept override { delete this; }
        void end() noexcept;
    };

    /// Stands in the ring behind those that are ready after a look outside. Comes out of it as one
    /// that was killed before it ran does, so that a switch knows nothing of it.
    struct Probe final : Task {
        Probe();
        void run() override {}
        void drop_callable() noexcept override {}
        void destroy() noexcept override;
        bool in_ring = false;
    };
    void send_probe() noexcept;

    [[nodiscard]] static Hub& make_for_thread();
    [[nodiscard]] static Hub* try_make_for_thread() noexcept;
    static inline thread_local HubOptions config_for_thread;
    static inline constinit thread_local Hub* this_threads = nullptr;
    static inline constinit thread_local const char* why_none = nullptr;

    static const int no_fork_handlers;  // the errno for which there are none
    static void mind_forks();
    static void in_forked_child() noexcept;
    void become_the_past() noexcept;
    [[noreturn]] static void abort_in_forked_child() noexcept;
    static inline constinit bool forked_child = false;
    const Home home_;
    static inline constinit std::atomic<std::uint32_t> hubs_so_far{0};
    static std::uint32_t next_number() noexcept {
        const std::uint32_t next = ++hubs_so_far;
        return next != 0 ? next : ++hubs_so_far;
    }
    const std::uint32_t number_ = next_number();

    static void* greenlet_entry() noexcept;
    static void* hub_entry() noexcept;
    Task& run_greenlets(Stack& stack) noexcept;
    void run_one(Task& task) noexcept;
    void end_without_stack(Task& task) noexcept;
    static void run_plainly(void* task) { static_cast<Task*>(task)->run(); }
    static void run_in_context(void* task);
    void hold(Task& task) noexcept;
    void let_go(Task& task) noexcept;
    void finish(Task& task, Outcome outcome, std::exception_ptr failure) noexcept;
    /// For one that never ran: drops its callable first.
    void finish_unborn(Task& task, Outcome outcome, std::exception_ptr failure) noexcept;

    [[nodiscard]] bool budget_left() noexcept { return --look_in_ > 0 || renew_budget(); }
    [[nodiscard]] bool renew_budget() noexcept;
    [[nodiscard]] Task* next_task() noexcept;
    [[nodiscard]] bool give_stack(Task& task) noexcept;
    void end_shortage() noexcept;
    [[nodiscard]] Task* next_with_stack() noexcept;
    /// The task, which has left the ring, or the next one there of which this is true.
    [[nodiscard]] Task* first_alive(Task* task) noexcept;
    [[nodiscard]] Task* first_with_stack(Task* task) noexcept;
    void switch_away() noexcept;
    void suspend_for(Task& next) noexcept;
    void begin(void*& from, Task& next) noexcept;
    void tell_sanitizer(Task& next, void** fake_stack) noexcept;
    void arrived(void* fake_stack) noexcept;
    void became_running(Task& task) noexcept;
    void trace(TraceEvent event, Task& task) noexcept;
    void report_failure(Task& task) noexcept;
    void keep_from_main() noexcept;
    /// Ends every greenlet by GreenletExit and returns how many of them would not end, though they
    /// had until `limit`.
    std::size_t kill_all(Deadline limit) noexcept;
    /// The same, and then frees what main and the hub have in locals.
    std::size_t end_all(Deadline limit) noexcept;
    [[nodiscard]] bool wait_for_turn(Deadline deadline);
    void disown_survivors() noexcept;
    /// Drops what others have left with it, and takes nothing in any more.
    void drop_all() noexcept;

    template <class Function>
    [[nodiscard]] static std::shared_ptr<const Function> kept(Function function) {
        return function ? std::make_shared<const Function>(std::move(function)) : nullptr;
    }

    template <std::size_t Extent>
    [[nodiscard]] bool arm(Task& me, std::span<WaitNode* const, Extent> nodes);
    template <std::size_t Extent>
    void sleep_on(Task& me, std::span<WaitNode* const, Extent> nodes) noexcept;
    bool sleep_on_until(Task& me, std::span<WaitNode* const> nodes, TimePoint when);
    void deliver(bool event_fired);

    void turn() noexcept;
    void end_turn() noexcept;
    /// How long it may do without a look outside.
    [[nodiscard]] Duration time_until(TimePoint when) noexcept {
        return when == TimePoint::max() ? Duration::max() : when - now();
    }
    /// Before it sleeps. Returns whether it need not.
    bool linger(TimePoint until) noexcept;
    /// Whether more were woken than the cache has room for; `last` is the one that was the last in
    /// the ring before, or nullptr.
    [[nodiscard]] bool woke_a_crowd(const Task* last) const noexcept;
    void run_posted() noexcept;
    [[nodiscard]] bool nobody_has_work() const noexcept;
    [[nodiscard]] bool nothing_keeps_alive() const noexcept;
    [[nodiscard]] bool deadlocked() noexcept;
    void end_deadlock() noexcept;

    void on_ready(int fd, std::uint32_t generation, Readiness readiness) noexcept override {
        fds_.on_ready(fd, generation, readiness);
    }
    void on_signal(int signal) noexcept override;
    void on_notify() noexcept override {}

    HubOptions config_;
    std::unique_ptr<Reactor> reactor_;
    std::unique_ptr<StackPool> stacks_;
    std::unique_ptr<OverflowWatch> overflow_;
    Timers timers_;
    FdTable fds_;
    std::unique_ptr<SignalBoard> signals_;
    std::unique_ptr<WatcherBoard> watchers_;

    ReadyRing ring_;
    ReadyRing without_stack_;  // ready, until a stack comes back
    Scout scout_;
    // Handles of them may live on when the hub has gone.
    const TaskPtr<PlainTask> main_{new PlainTask{"main"}};
    const TaskPtr<PlainTask> hub_{new PlainTask{"hub"}};
    Task* running_;
    Stack* left_ = nullptr;  // of the greenlet that ended just before this switch
    ExceptionState* exceptions_;
    const char* fence_ = nullptr;  // why nobody may switch now

    unsigned look_in_ = 0;  // switches until the budget is looked at
    unsigned budget_ = 0;   // switches after that until the hub's turn
    unsigned served_ = 0;
    bool traced_ = false;
    TimePoint turn_time_{};
    TimePoint slice_end_{};
    std::size_t outside_waits_ = 0;
    WaitList<ListNode> idle_;
    IntrusiveList<TurnEnd> turn_ends_;
    Polls polls_;
    WaitList<ListNode> turned_;   // main, at the hub's end
    WaitNode* joiner_ = nullptr;  // main, which waits for what would otherwise be a deadlock
    std::uint64_t turns_ = 0;

    IntrusiveList<Orphan> orphans_;
    IntrusiveList<Task> tasks_;
    IntrusiveList<Burial> burials_;
    std::size_t task_count_ = 0;  // without main
    std::uint64_t next_id_ = 1;
    std::uint64_t switches_ = 0;
    std::shared_ptr<const ErrorHandler> on_error_;  // shared with its calls: it may remove itself
    ErrorPolicy error_policy_ = ErrorPolicy::immediate;
    bool main_takes_errors_ = true;
    ThrowSite throw_site_;
    std::shared_ptr<const TraceHook> trace_;  // as well
    std::vector<const Task*> idents_;         // who has which minimal ident; nullptr: nobody
    Probe probe_;
    Duration lag_{};
    Duration longest_lag_{};

    std::shared_ptr<Mailbox> mailbox_;

    const void* main_stack_low_ = nullptr;  // for the address sanitizer
    std::size_t main_stack_size_ = 0;
    [[no_unique_address]] sanitizer::PresentFiber main_fiber_;

    Hub* outer_ = nullptr;  // this thread's hub while this one is not there: a test's stands before
                            // the thread's own
};

}  // namespace green::detail
