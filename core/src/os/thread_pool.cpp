#include <atomic>
#include <memory>
#include <utility>

#include <green/detail/home.hpp>
#include <green/thread_pool.hpp>

#include "os/thread_crew.hpp"

namespace green {

ThreadPool::ThreadPool(std::shared_ptr<detail::ThreadCrew> crew) noexcept
    : crew_{std::move(crew)} {}
ThreadPool::ThreadPool(ThreadPoolOptions options)
    : crew_{std::make_shared<detail::ThreadCrew>(std::move(options))} {}
ThreadPool::ThreadPool(std::size_t max_threads, std::string name)
    : ThreadPool{ThreadPoolOptions{.max_threads = max_threads, .name = std::move(name)}} {}
ThreadPool::~ThreadPool() { crew_->end(); }

bool ThreadPool::enter(detail::ThreadCrew& crew, Deadline deadline) { return crew.enter(deadline); }
bool ThreadPool::try_enter(detail::ThreadCrew& crew) { return crew.try_enter(); }
void ThreadPool::leave(detail::ThreadCrew& crew) noexcept { crew.leave(); }
void ThreadPool::submit(detail::ThreadCrew& crew, std::shared_ptr<detail::ThreadJob> job) {
    crew.submit(std::move(job));
}
const detail::ThreadJob* ThreadPool::job_here(const detail::ThreadCrew& crew) noexcept {
    return crew.job_here();
}

void ThreadPool::set_max_threads(std::size_t threads) { crew_->set_max_threads(threads); }
std::size_t ThreadPool::max_threads() const { return crew_->max_threads(); }
std::size_t ThreadPool::max_queue() const noexcept { return crew_->max_queue(); }
std::size_t ThreadPool::size() const { return crew_->size(); }
std::size_t ThreadPool::queued() const { return crew_->queued(); }
std::size_t ThreadPool::waiting() const { return crew_->waiting(); }

bool ThreadPool::join(Deadline deadline) const {
    const auto crew = crew_;
    return crew->join(deadline);
}
void ThreadPool::close() noexcept { crew_->close(); }
bool ThreadPool::kill(Deadline deadline) {
    const auto crew = crew_;
    crew->check_may_join(deadline);
    crew->close();
    crew->request_stop();
    return crew->join(deadline);
}

namespace {

struct DefaultPool {
    const detail::Home home{};
    ThreadPool pool{10, "green-pool"};
};

std::atomic<DefaultPool*> default_pool{nullptr};

struct CloseAtExit {
    ~CloseAtExit() { delete default_pool.exchange(nullptr); }
} const close_at_exit;

}  // namespace

ThreadPool& threads() {
    DefaultPool* known = default_pool.load(std::memory_order_acquire);
    if (known != nullptr && known->home.is_here()) return known->pool;
    // The first use; or a forked child, which has its parent's pool but none of its threads.
    auto made = std::make_unique<DefaultPool>();
    if (default_pool.compare_exchange_strong(known, made.get())) return made.release()->pool;
    return known->pool;
}

}  // namespace green
