#pragma once
// Native threads for calls that block: files, databases, foreign libraries.

#include <concepts>
#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <ranges>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

#include <green/deadline.hpp>
#include <green/detail/map_feed.hpp>
#include <green/detail/thread_job.hpp>
#include <green/thread_task.hpp>

namespace green {

namespace detail {
class ThreadCrew;

/// As several threads call it at the same time.
template <class Function>
using SharedFunction = std::add_lvalue_reference_t<const std::decay_t<Function>>;
template <class Function, class Element>
concept ThreadCallable = std::invocable<SharedFunction<Function>, Element> ||
    std::invocable<SharedFunction<Function>, Element, std::stop_token>;
/// Threads can call the function with the elements of the range.
template <class Function, class Range>
concept ThreadMapsOver =
    std::ranges::input_range<Range> && ThreadCallable<Function, std::ranges::range_value_t<Range>>;
}  // namespace detail

struct ThreadPoolOptions {
    std::size_t max_threads = 10;
    /// How many functions may wait beyond those that the threads run.
    std::size_t max_queue = 1024;
    /// After which a thread without work ends. Zero: at once.
    Duration idle_time = std::chrono::seconds(5);
    /// Functions may use greenlets: each thread makes a hub when one first does, which ends with
    /// the thread. What a function leaves running goes on only while a later one waits there.
    bool greenlets = false;
    /// What `top -H` shows, 15 characters at the most.
    std::string name = "pool";
};

/// Runs functions in native threads, in the order in which they came. Threads start when they are
/// needed, have all signals blocked, and retire when they are idle. May be used from any thread,
/// with a hub or without: a greenlet waits in its hub, a thread without a hub blocks.
///
/// One pool for each kind of work that must not starve the others: threads() is for what is short;
/// what can hang for long, such as a database or a foreign resolver, has a ThreadPool of its own,
/// as large as the number of calls that shall hang at once.
///
/// A function that runs there must not use greenlets (they throw UsageError), unless the pool has
/// the option: pass it values, and take a value back. What it captures by reference has to outlive
/// it, and a waiter that is killed does not wait for its end: hold a Shield, or capture by value.
/// It must not wait for another function of the same pool either, but by apply(): when all threads
/// wait, none is left to work.
class ThreadPool {
 public:
    explicit ThreadPool(ThreadPoolOptions options);
    explicit ThreadPool(std::size_t max_threads = ThreadPoolOptions{}.max_threads,
                        std::string name = ThreadPoolOptions{}.name);
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;
    /// As kill(), but blocks the thread until what runs has ended. kill() first, where other
    /// greenlets should go on meanwhile. In one of the pool's own functions it waits for all
    /// others, and the thread ends by itself after that function.
    ~ThreadPool();

    /// Runs the function in a thread. Switches while the pool is full; those who wait for room are
    /// served in the order in which they came, whatever thread they are of. One of the pool's own
    /// threads never waits for room, which it might be the one to make.
    /// The function is moved when there is room for it, and destroyed where it has run.
    /// Throws Closed, and std::system_error when not even one thread can be had.
    template <detail::ThreadFunction Function>
    auto spawn(Function&& function) {
        return spawn_in(crew_, std::forward<Function>(function));
    }
    /// The same, when there is room before `deadline` passes. Switches, unless there is.
    template <detail::ThreadFunction Function>
    auto spawn_for(Deadline deadline, Function&& function)
        -> std::optional<ThreadTask<detail::ThreadValue<Function>>> {
        const Crew crew = crew_;
        if (!enter(*crew, deadline)) return std::nullopt;
        return admitted(*crew, std::forward<Function>(function));
    }
    /// The same, or nothing when the pool is full. Never switches; safe in hub callbacks.
    template <detail::ThreadFunction Function>
    auto try_spawn(Function&& function)
        -> std::optional<ThreadTask<detail::ThreadValue<Function>>> {
        if (!try_enter(*crew_)) return std::nullopt;
        return admitted(*crew_, std::forward<Function>(function));
    }
    /// Runs the function in a thread and waits for its value, or rethrows. Switches. A kill or a
    /// timeout asks a function that takes a std::stop_token to stop. In one of the pool's own
    /// threads it calls the function there.
    template <detail::ThreadFunction Function>
    auto apply(Function&& function) -> detail::ThreadValue<Function> {
        return apply_in(crew_, std::forward<Function>(function));
    }

    /// Calls the function for each element, each call in a thread; gives the values in the order of
    /// the input, or nothing when there are none. Switches.
    /// All threads call the same function object, which is constant to them; it may take a
    /// std::stop_token behind the element. The first error in time, of a call or of the input, is
    /// thrown, and so is an interrupt of the caller: calls that have begun are asked to stop and
    /// not waited for, the others are dropped. In one of the pool's own threads it calls the
    /// function there, one element after the other.
    template <class Function, class Range>
    requires detail::ThreadMapsOver<Function, Range>
    auto map(Function&& function, Range&& range);
    /// Calls the function for each element as map() does, but lazily: the results can be read while
    /// input is still to come, in the order of the input. Never switches; a greenlet of its own
    /// reads the input. A range given as an lvalue is borrowed until then. When the pool goes, what
    /// has not begun fails with Closed.
    /// At most `maxsize` elements are begun and not read; without it, twice as many as there may be
    /// threads. Throws UsageError when it is 0, and in a thread that has no greenlets.
    template <class Function, class Range>
    requires detail::ThreadMapsOver<Function, Range>
    [[nodiscard]] auto imap(Function&& function, Range&& range, std::size_t maxsize = automatic) {
        return lazy_map(detail::MapOrder::input, std::forward<Function>(function),
                        std::forward<Range>(range), maxsize);
    }
    /// The same, with the results in the order of completion.
    template <class Function, class Range>
    requires detail::ThreadMapsOver<Function, Range>
    [[nodiscard]] auto imap_unordered(Function&& function, Range&& range,
                                      std::size_t maxsize = automatic) {
        return lazy_map(detail::MapOrder::completion, std::forward<Function>(function),
                        std::forward<Range>(range), maxsize);
    }

    /// More threads let in who waits for room; fewer let threads end when they have done what they
    /// do. Throws UsageError for 0.
    void set_max_threads(std::size_t threads);
    [[nodiscard]] std::size_t max_threads() const;
    [[nodiscard]] std::size_t max_queue() const noexcept;
    /// Threads that live now.
    [[nodiscard]] std::size_t size() const;
    /// Functions that have not begun.
    [[nodiscard]] std::size_t queued() const;
    /// Spawners that wait for room.
    [[nodiscard]] std::size_t waiting() const;

    /// Waits until nothing is queued or runs. Switches, unless that is so. Returns false once
    /// `deadline` has passed. Throws UsageError in one of the pool's own functions, which would
    /// wait for itself, unless there is a deadline.
    bool join(Deadline deadline = Deadline::never()) const;
    /// Refuses whatever comes, also from those who wait for room, and drops what has not begun:
    /// both get Closed. Never waits.
    void close() noexcept;
    /// close(), asks what runs to stop, and join(). Switches while functions run. Throws UsageError
    /// as join() does, and has done nothing then.
    bool kill(Deadline deadline = Deadline::never());

    /// For tests: a crew that was made elsewhere.
    explicit ThreadPool(std::shared_ptr<detail::ThreadCrew> crew) noexcept;

 private:
    static constexpr std::size_t automatic = std::numeric_limits<std::size_t>::max();

    // All that may wait, or goes on in greenlets, has a hold on the crew: the pool may go
    // meanwhile.
    using Crew = std::shared_ptr<detail::ThreadCrew>;

    [[nodiscard]] static bool enter(detail::ThreadCrew& crew, Deadline deadline);
    [[nodiscard]] static bool try_enter(detail::ThreadCrew& crew);
    static void leave(detail::ThreadCrew& crew) noexcept;
    static void submit(detail::ThreadCrew& crew, std::shared_ptr<detail::ThreadJob> job);
    /// What this thread runs for this crew, or nullptr.
    [[nodiscard]] static const detail::ThreadJob* job_here(const detail::ThreadCrew& crew) noexcept;

    template <class Function>
    static auto admitted(detail::ThreadCrew& crew, Function&& function) {
        using T = detail::ThreadValue<Function>;
        try {
            auto call = std::make_shared<detail::ThreadCall<T, std::decay_t<Function>>>(
                std::forward<Function>(function));
            ThreadTask<T> task{call};
            submit(crew, std::move(call));
            return task;
        } catch (...) {
            leave(crew);
            throw;
        }
    }
    template <class Function>
    static auto spawn_in(Crew crew, Function&& function) {
        (void)enter(*crew, Deadline::never());
        return admitted(*crew, std::forward<Function>(function));
    }
    template <class Function>
    static auto apply_in(Crew crew, Function&& function) -> detail::ThreadValue<Function> {
        if (const detail::ThreadJob* present = job_here(*crew)) {
            std::decay_t<Function> own(std::forward<Function>(function));
            return detail::call_in_thread(std::move(own), present->stop_token());
        }
        return spawn_in(crew, std::forward<Function>(function)).take();
    }

    /// What a greenlet of a map does: calls the function in a thread, and waits for it.
    template <class Element, class Function>
    auto in_thread(Function&& function);
    template <class Function, class Range>
    auto lazy_map(detail::MapOrder order, Function&& function, Range&& range, std::size_t maxsize);

    Crew crew_;
};

/// The pool of this process, for all that has no pool of its own. What runs at exit is asked to
/// stop and waited for.
ThreadPool& threads();

}  // namespace green

#include <green/detail/thread_map.hpp>
