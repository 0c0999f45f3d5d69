#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <list>
#include <pthread.h>
#include <system_error>
#include <thread>
#include <unistd.h>

#include <green/sys.hpp>
#include <green/thread_pool.hpp>

#include "os/signals_blocked.hpp"

namespace green {
namespace detail {

void ThreadJob::finish(const std::shared_ptr<ThreadJob>& job) noexcept {
    const std::lock_guard lock{job->mutex_};
    if (!job->hub_) return;
    job->hub_->post([job] {
        job->done_ = true;
        job->waiters_.fire_all();
    });
}

bool ThreadJob::wait(Deadline deadline) {
    Node node{*this};
    return park(node, deadline);
}

void ThreadJob::leave() noexcept {
    const std::lock_guard lock{mutex_};
    hub_.reset();
}

}  // namespace detail

struct ThreadPool::Crew {
    using Job = std::shared_ptr<detail::ThreadJob>;
    using Threads = std::list<std::jthread>;

    Crew(std::size_t most_threads, const std::string& its_name)
        : most{most_threads}, name{its_name.substr(0, 15)} {}

    void start_one();
    void live(Threads::iterator me) noexcept;
    void close();

    const std::size_t most;
    const std::string name;

    mutable std::mutex mutex;  // for all below
    std::condition_variable work;
    std::condition_variable gone;
    std::deque<Job> queue;
    Threads alive;
    Threads retired;  // ended, or about to: to be joined by the next one who comes by
    std::size_t idle = 0;
    bool closing = false;
};

namespace {

constexpr auto idle_time = std::chrono::seconds(5);

// What a thread itself does wrong must reach its handlers; everything else is for the hubs.
void let_faults_through() noexcept {
    sigset_t faults;
    sigemptyset(&faults);
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) {
        sigaddset(&faults, signal);
    }
    (void)sys::sigprocmask(SIG_UNBLOCK, &faults, nullptr);
}

}  // namespace

void ThreadPool::Crew::start_one() {
    const detail::SignalsBlocked inherited;
    sys::must(inherited.outcome(), "sigprocmask");
    const auto me = alive.emplace(alive.end());
    try {
        *me = std::jthread([this, me] { live(me); });
    } catch (...) {
        alive.erase(me);
        throw;
    }
}

void ThreadPool::Crew::live(Threads::iterator me) noexcept {
    let_faults_through();
    (void)::pthread_setname_np(::pthread_self(), name.c_str());
    std::unique_lock lock{mutex};
    for (;;) {
        ++idle;
        work.wait_for(lock, idle_time, [this] { return closing || !queue.empty(); });
        --idle;
        if (queue.empty()) break;
        Job job = std::move(queue.front());
        queue.pop_front();
        lock.unlock();
        job->run();
        detail::ThreadJob::finish(job);
        job.reset();  // with what nobody took of it
        lock.lock();
    }
    retired.splice(retired.end(), alive, me);
    gone.notify_all();
}

void ThreadPool::Crew::close() {
    std::deque<Job> dropped;
    Threads ended;  // joined when it goes out of scope
    std::unique_lock lock{mutex};
    closing = true;
    dropped.swap(queue);
    work.notify_all();
    lock.unlock();
    for (const Job& job : dropped) {
        job->refuse(std::make_exception_ptr(Closed("the thread pool is gone")));
        detail::ThreadJob::finish(job);
    }
    lock.lock();
    gone.wait(lock, [this] { return alive.empty(); });
    ended.swap(retired);
    lock.unlock();
}

ThreadPool::ThreadPool(std::size_t max_threads, const std::string& name)
    : crew_{std::make_unique<Crew>(max_threads, name)} {
    if (max_threads == 0) throw UsageError("a ThreadPool needs at least one thread");
}
ThreadPool::~ThreadPool() { crew_->close(); }

void ThreadPool::submit(std::shared_ptr<detail::ThreadJob> job) {
    Crew& crew = *crew_;
    Crew::Threads ended;
    const std::lock_guard lock{crew.mutex};
    ended.swap(crew.retired);
    crew.queue.push_back(std::move(job));
    if (crew.queue.size() > crew.idle && crew.alive.size() < crew.most) {
        try {
            crew.start_one();
        } catch (...) {
            // With fewer threads it takes longer; with none it would take for ever.
            if (crew.alive.empty()) {
                crew.queue.pop_back();
                throw;
            }
        }
    }
    crew.work.notify_one();
}

std::size_t ThreadPool::max_threads() const noexcept { return crew_->most; }

std::size_t ThreadPool::size() const {
    const std::lock_guard lock{crew_->mutex};
    return crew_->alive.size();
}

std::size_t ThreadPool::queued() const {
    const std::lock_guard lock{crew_->mutex};
    return crew_->queue.size();
}

namespace {

struct DefaultPool {
    const pid_t pid = ::getpid();
    ThreadPool pool{10, "green-pool"};
};

std::atomic<DefaultPool*> default_pool{nullptr};

struct CloseAtExit {
    ~CloseAtExit() {
        DefaultPool* pool = default_pool.exchange(nullptr);
        if (pool != nullptr && pool->pid == ::getpid()) delete pool;
    }
} const close_at_exit;

}  // namespace

ThreadPool& threads() {
    DefaultPool* known = default_pool.load(std::memory_order_acquire);
    if (known != nullptr && known->pid == ::getpid()) return known->pool;
    // The first use; or a forked child, which has its parent's pool but none of its threads.
    auto made = std::make_unique<DefaultPool>();
    if (default_pool.compare_exchange_strong(known, made.get())) return made.release()->pool;
    return known->pool;
}

}  // namespace green
