#pragma once
// The threads of a pool, and what they have to do.
//
//  C1  `accepted` counts functions from the moment they have room until they have ended. It never
//      exceeds max_threads + max_queue but by those that the crew's own threads spawned.
//  C2  A function's end is told, and its room given on, in one step: whoever learns that it has
//      ended finds the room free, and its thread about to look for more. So a value that nobody
//      wants any more is destroyed before.
//  C3  Nothing of the users', such as a destructor or a callback of a stop token, runs with the
//      mutex held.
//  C4  Only the crew's end waits for threads to end: what ends with a thread, such as a hub or what
//      is thread_local, takes as long as it likes. It waits for all but for one that it is called
//      in. That one has a hold on the crew then, and ends by itself.

#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <pthread.h>
#include <string>
#include <vector>

#include <green/detail/home.hpp>
#include <green/detail/thread_gate.hpp>
#include <green/detail/thread_job.hpp>
#include <green/thread_pool.hpp>

namespace green::detail {

/// How a thread without work waits for some. Tests have a time of their own.
class IdleWait {
 public:
    virtual ~IdleWait() = default;
    /// Returns when `ready`, or when `limit` has passed.
    virtual void wait(std::condition_variable& work, std::unique_lock<std::mutex>& lock,
                      Duration limit, const std::function<bool()>& ready) = 0;
};

class ThreadCrew : public std::enable_shared_from_this<ThreadCrew> {
 public:
    using Job = std::shared_ptr<ThreadJob>;

    /// Throws UsageError when the options make no sense.
    explicit ThreadCrew(ThreadPoolOptions options, std::unique_ptr<IdleWait> idle_wait = nullptr);
    ThreadCrew(const ThreadCrew&) = delete;
    ThreadCrew& operator=(const ThreadCrew&) = delete;

    [[nodiscard]] bool enter(Deadline deadline);
    [[nodiscard]] bool try_enter();
    void leave() noexcept;
    void submit(Job job);

    void set_max_threads(std::size_t threads);
    [[nodiscard]] std::size_t max_threads() const;
    [[nodiscard]] std::size_t max_queue() const noexcept { return options_.max_queue; }
    [[nodiscard]] std::size_t size() const;
    [[nodiscard]] std::size_t queued() const;
    [[nodiscard]] std::size_t waiting() const;

    bool join(Deadline deadline);
    /// Throws UsageError in a function of this crew that would wait for its own end for ever.
    void check_may_join(Deadline deadline) const;
    void close() noexcept;
    void request_stop();
    /// Blocks until every other thread has ended. In a forked child, which has none of them, the
    /// crew stays for ever: what its threads wait in would wait for them to leave.
    void end() noexcept;

    /// What this thread runs for this crew, or nullptr.
    [[nodiscard]] const ThreadJob* job_here() const noexcept;

 private:
    struct Worker {
        [[nodiscard]] bool is_here() const noexcept;

        ThreadCrew* crew;
        pthread_t thread{};
        std::list<Worker>::iterator me{};
        Job job{};                               // at work
        std::shared_ptr<ThreadCrew> keeps = {};  // C4
    };
    using Workers = std::list<Worker>;

    void check_open() const;
    void accept() noexcept;
    void ended(std::size_t count) noexcept;
    [[nodiscard]] bool too_many() const noexcept { return alive_.size() > max_threads_; }
    void start_workers();
    void start_one();
    void live(Worker& me) noexcept;
    void work(Worker& me, std::unique_lock<std::mutex>& lock) noexcept;
    void part() const noexcept;

    const ThreadPoolOptions options_;
    const std::string why_no_greenlets_;
    const std::unique_ptr<IdleWait> idle_wait_;

    mutable std::mutex mutex_;  // for all below
    std::size_t max_threads_;
    std::size_t accepted_ = 0;
    ThreadGate room_;
    ThreadGate nothing_left_{mutex_, 0, "the end of all that a thread pool has to do"};
    std::condition_variable work_;
    std::condition_variable gone_;
    std::deque<Job> queue_;
    Workers alive_;
    Workers retired_;       // about to end: joined when they have, by who comes by
    std::size_t idle_ = 0;  // those that will look into the queue soon
    bool closed_ = false;

    const Home home_;
    std::shared_ptr<ThreadCrew> stays_;  // itself, in a forked child
    ThreadCrew* stays_too_ = nullptr;
};

}  // namespace green::detail
