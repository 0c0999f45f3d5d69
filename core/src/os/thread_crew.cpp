#include "os/thread_crew.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <limits>
#include <pthread.h>
#include <system_error>
#include <utility>

#include <green/sys.hpp>

#include "os/signals_blocked.hpp"
#include "sched/hub.hpp"

namespace green::detail {

void ThreadJob::finish() noexcept {
    const std::lock_guard lock{mutex_};
    end_.open();
}

bool ThreadJob::wait(Deadline deadline) {
    std::unique_lock lock{mutex_};
    return end_.wait(lock, deadline);
}

bool ThreadJob::done() const noexcept {
    const std::lock_guard lock{mutex_};
    return end_.is_open();
}

namespace {

class RealIdleWait final : public IdleWait {
 public:
    void wait(std::condition_variable& work, std::unique_lock<std::mutex>& lock, Duration limit,
              const std::function<bool()>& ready) override {
        constexpr Duration longest = std::chrono::hours(24 * 365);  // more would overflow
        (void)work.wait_for(lock, std::min(limit, longest), ready);
    }
};

/// What the present thread is for. It runs for one crew all its life, or all that of the crew.
struct Place {
    const ThreadCrew* crew = nullptr;
    const ThreadJob* job = nullptr;
};
constinit thread_local Place place;

// What a thread itself does wrong must reach its handlers; everything else is for the hubs.
void let_faults_through() noexcept {
    sigset_t faults;
    sigemptyset(&faults);
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) {
        sigaddset(&faults, signal);
    }
    (void)sys::sigprocmask(SIG_UNBLOCK, &faults, nullptr);
}

std::ptrdiff_t room_for(std::size_t threads, std::size_t queue) {
    if (threads == 0) throw UsageError("a ThreadPool needs at least one thread");
    constexpr auto most = static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max() / 4);
    return static_cast<std::ptrdiff_t>(std::min(threads, most) + std::min(queue, most));
}

}  // namespace

bool ThreadCrew::Worker::is_here() const noexcept {
    return ::pthread_equal(thread, ::pthread_self()) != 0;
}

ThreadCrew::ThreadCrew(ThreadPoolOptions options, std::unique_ptr<IdleWait> idle_wait)
    : options_{std::move(options)},
      why_no_greenlets_{"greenlets in a thread of the pool '" + options_.name +
                        "', which was made without ThreadPoolOptions::greenlets"},
      idle_wait_{idle_wait ? std::move(idle_wait) : std::make_unique<RealIdleWait>()},
      max_threads_{options_.max_threads},
      room_{mutex_, room_for(options_.max_threads, options_.max_queue), "room in a thread pool"} {
    nothing_left_.open();
}

// --- from the spawners' side ---

void ThreadCrew::check_open() const {
    if (closed_) throw Closed("the thread pool is closed");
}

void ThreadCrew::accept() noexcept {
    if (accepted_++ == 0) nothing_left_.shut();
}

bool ThreadCrew::enter(Deadline deadline) {
    std::unique_lock lock{mutex_};
    check_open();
    if (place.crew == this) {
        room_.admit(-1);
    } else if (room_.pass(lock, deadline)) {
        check_open();
    } else {
        return false;
    }
    accept();
    return true;
}

bool ThreadCrew::try_enter() {
    const std::lock_guard lock{mutex_};
    check_open();
    if (!room_.try_pass()) return false;
    accept();
    return true;
}

void ThreadCrew::ended(std::size_t count) noexcept {
    accepted_ -= count;
    room_.admit(static_cast<std::ptrdiff_t>(count));
    if (accepted_ == 0) nothing_left_.open();
}

void ThreadCrew::leave() noexcept {
    const std::lock_guard lock{mutex_};
    ended(1);
}

void ThreadCrew::submit(Job job) {
    const std::lock_guard lock{mutex_};
    check_open();
    retired_.remove_if(
        [](const Worker& worker) { return ::pthread_tryjoin_np(worker.thread, nullptr) == 0; });
    queue_.push_back(std::move(job));
    try {
        start_workers();
    } catch (...) {
        // With fewer threads it takes longer; with none it would take for ever.
        if (alive_.empty()) {
            queue_.pop_back();
            throw;
        }
    }
    work_.notify_one();
}

void ThreadCrew::set_max_threads(std::size_t threads) {
    const std::lock_guard lock{mutex_};
    room_.admit(room_for(threads, options_.max_queue) - room_for(max_threads_, options_.max_queue));
    max_threads_ = threads;
    work_.notify_all();
    try {
        start_workers();
    } catch (...) {  // those that cannot be had now are tried again with the next function
    }
}

std::size_t ThreadCrew::max_threads() const {
    const std::lock_guard lock{mutex_};
    return max_threads_;
}

std::size_t ThreadCrew::size() const {
    const std::lock_guard lock{mutex_};
    return alive_.size();
}

std::size_t ThreadCrew::queued() const {
    const std::lock_guard lock{mutex_};
    return queue_.size();
}

std::size_t ThreadCrew::waiting() const {
    const std::lock_guard lock{mutex_};
    return room_.waiting();
}

void ThreadCrew::check_may_join(Deadline deadline) const {
    if (job_here() == nullptr || !deadline.is_never()) return;
    throw UsageError("a function of the thread pool '" + options_.name +
                     "' waits for the end of all that runs there, itself too: let another thread "
                     "do so, or close() the pool, or give join() or kill() a limit");
}

bool ThreadCrew::join(Deadline deadline) {
    check_may_join(deadline);
    std::unique_lock lock{mutex_};
    return nothing_left_.wait(lock, deadline);
}

void ThreadCrew::close() noexcept {
    std::deque<Job> dropped;
    {
        const std::lock_guard lock{mutex_};
        closed_ = true;
        dropped.swap(queue_);
        room_.open();
        work_.notify_all();
    }
    const auto why = std::make_exception_ptr(Closed("the thread pool was closed before it began"));
    for (const Job& job : dropped) job->refuse(why);
    const std::lock_guard lock{mutex_};
    for (const Job& job : dropped) job->finish();
    ended(dropped.size());
}

void ThreadCrew::request_stop() {
    std::vector<Job> running;
    {
        const std::lock_guard lock{mutex_};
        for (const Worker& worker : alive_) {
            if (worker.job) running.push_back(worker.job);
        }
    }
    for (const Job& job : running) job->stop().request_stop();
}

void ThreadCrew::end() noexcept {
    if (!home_.is_here()) {
        static constinit ThreadCrew* known = nullptr;  // so that no leak is seen in it
        stays_ = shared_from_this();
        stays_too_ = std::exchange(known, this);
        return;
    }
    close();
    request_stop();
    Workers ended;
    {
        std::unique_lock lock{mutex_};
        const auto me = std::find_if(alive_.begin(), alive_.end(),
                                     [](const Worker& worker) { return worker.is_here(); });
        if (me != alive_.end()) me->keeps = shared_from_this();
        const std::size_t left = me != alive_.end() ? 1 : 0;
        gone_.wait(lock, [&] { return alive_.size() == left; });
        ended.swap(retired_);
    }
    for (Worker& worker : ended) {
        if (worker.is_here()) {  // what ends with the thread had the pool
            (void)::pthread_detach(worker.thread);
            part();
        } else {
            (void)::pthread_join(worker.thread, nullptr);
        }
    }
}

// --- the threads ---

void ThreadCrew::start_workers() {
    while (queue_.size() > idle_ && alive_.size() < max_threads_) start_one();
}

void ThreadCrew::start_one() {
    const SignalsBlocked inherited;
    sys::must(inherited.outcome(), "sigprocmask");
    const auto me = alive_.insert(alive_.end(), Worker{.crew = this});
    me->me = me;
    const auto run = [](void* worker) -> void* {
        Worker& here = *static_cast<Worker*>(worker);
        here.crew->live(here);
        return nullptr;
    };
    const int error = ::pthread_create(&me->thread, nullptr, run, &*me);
    if (error != 0) {
        alive_.erase(me);
        throw std::system_error(error, std::system_category(), "pthread_create");
    }
    ++idle_;
}

void ThreadCrew::live(Worker& me) noexcept {
    let_faults_through();
    (void)::pthread_setname_np(::pthread_self(), options_.name.substr(0, 15).c_str());
    place.crew = this;
    if (!options_.greenlets) Hub::forbid_for_thread(why_no_greenlets_.c_str());
    const auto ready = [this] { return closed_ || too_many() || !queue_.empty(); };

    std::shared_ptr<ThreadCrew> kept;  // until the lock has gone
    std::unique_lock lock{mutex_};
    for (;;) {
        idle_wait_->wait(work_, lock, options_.idle_time, ready);
        if (queue_.empty() || too_many()) break;
        work(me, lock);
    }
    --idle_;
    if (me.keeps) {
        kept = std::move(me.keeps);
        (void)::pthread_detach(me.thread);
        alive_.erase(me.me);
        part();
    } else {
        retired_.splice(retired_.end(), alive_, me.me);
        gone_.notify_all();
    }
}

void ThreadCrew::part() const noexcept {
    place = {};
    if (!options_.greenlets)
        Hub::forbid_for_thread("greenlets in a thread of a pool that has gone");
}

void ThreadCrew::work(Worker& me, std::unique_lock<std::mutex>& lock) noexcept {
    --idle_;
    Job job = std::move(queue_.front());
    queue_.pop_front();
    me.job = job;
    lock.unlock();

    place.job = job.get();
    job->run();
    place.job = nullptr;

    lock.lock();
    me.job = nullptr;
    job->finish();
    ended(1);
    ++idle_;
}

const ThreadJob* ThreadCrew::job_here() const noexcept {
    return place.crew == this ? place.job : nullptr;
}

}  // namespace green::detail
