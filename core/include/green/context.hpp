#pragma once
// What a greenlet is told by the one that spawns it: a trace id, fields for the log, who asks,
// until when. A child gets its parent's context as it is when the child is made; what it changes is
// seen by those whom it spawns, never by its parent.
//
//     const green::ContextVar<std::string> trace{"trace"};
//
//     void serve(const Request& request) {
//         const green::ContextVar<std::string>::Scope traced{trace, request.trace()};
//         const green::DeadlineScope limit{2s};
//         auto page = green::spawn(render, request);   // and whatever render() spawns
//         answer(page.get());
//     }
//     void note(std::string_view event) { log::info(event, {{"trace", trace.get()}}); }

#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <green/deadline.hpp>
#include <green/detail/context_map.hpp>
#include <green/detail/identity.hpp>
#include <green/detail/task.hpp>
#include <green/errors.hpp>
#include <green/timeout.hpp>

namespace green {

template <class T>
class ContextVar;

/// The variables that are bound, and the deadline, at one place of a program. A value: cheap to
/// copy, never changed. Take it along to run something later as if it ran here: a callback, a job
/// that waits in a queue. Belongs to one thread, as its counts are not atomic.
class Context {
 public:
    /// Nothing is bound and there is no deadline: for greenlets that work for everybody.
    Context() noexcept = default;
    /// That of the greenlet that runs now. In a hub callback, and in a thread without a hub, it is
    /// empty.
    [[nodiscard]] static Context current() noexcept;

    /// The same with one variable bound. Throws std::bad_alloc.
    template <class T>
    [[nodiscard]] Context with(const ContextVar<T>& variable, std::type_identity_t<T> value) const;
    /// The same, with the earlier of its deadline and this one.
    [[nodiscard]] Context with_deadline(Deadline deadline) const;
    /// The same, without: for what is started in time and then stays, such as a server.
    [[nodiscard]] Context without_deadline() const;

    [[nodiscard]] Deadline deadline() const noexcept {
        return map_ ? map_->deadline : Deadline::never();
    }

    class Scope;

 private:
    template <class T>
    friend class ContextVar;

    explicit Context(detail::ContextPtr map) noexcept : map_{std::move(map)} {}

    detail::ContextPtr map_;
};

/// Runs the current greenlet under a context while it is open, in place of its own. A deadline in
/// it that comes before the greenlet's own is enforced, as by TimeoutScope; limits that are open
/// already stay. Scopes end in reverse order, in the greenlet that opened them.
class Context::Scope {
 public:
    explicit Scope(Context context);
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope();

    /// The Timeout comes from this context's deadline. A deadline that was inherited is its first
    /// owner's.
    [[nodiscard]] bool owns(const Timeout& timeout) const noexcept {
        return limit_ && limit_->owns(timeout);
    }

 private:
    std::optional<TimeoutScope> limit_;
    detail::Task* task_;
    detail::ContextPtr outer_;
};

/// A variable of the context. Its address means nothing, and it may be shared by threads: make it
/// once, as a constant of a file.
template <class T>
class ContextVar {
 public:
    /// `name` is for people. `initial` is what get() gives where nothing is bound.
    explicit ContextVar(std::string name, T initial = T())
        : name_{std::move(name)}, initial_(std::move(initial)) {}
    ContextVar(const ContextVar&) = delete;
    ContextVar& operator=(const ContextVar&) = delete;

    /// The value bound nearest to here. Lives as long as the scope, or the greenlet, in which this
    /// is asked.
    [[nodiscard]] const T& get() const noexcept { return in(detail::current_map()); }
    /// Its value in a context. Lives as long as that.
    [[nodiscard]] const T& get(const Context& context) const noexcept {
        return in(context.map_.get());
    }
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

    /// Binds it for the current greenlet, and those it spawns, while the scope is open.
    class Scope {
     public:
        Scope(const ContextVar& variable, T value)
            : scope_{Context::current().with(variable, std::move(value))} {}

     private:
        Context::Scope scope_;
    };

 private:
    friend class Context;

    [[nodiscard]] const T& in(const detail::ContextMap* map) const noexcept {
        const detail::Counted* bound = map != nullptr ? map->find(key_) : nullptr;
        return bound != nullptr ? static_cast<const detail::Bound<T>*>(bound)->value : initial_;
    }

    std::uint64_t key_ = detail::next_identity();
    std::string name_;
    T initial_;
};

template <class T>
Context Context::with(const ContextVar<T>& variable, std::type_identity_t<T> value) const {
    const detail::CountedPtr<const detail::Bound<T>> bound{new detail::Bound<T>{std::move(value)}};
    return Context{detail::with_binding(map_.get(), variable.key_, bound)};
}

/// A time limit on the current greenlet and on all that it spawns while the scope is open. When it
/// passes, Timeout appears at the suspension points of each: here it is this scope's, in a child it
/// is the child's own, ends the child as a failure unless it is caught, and get() rethrows it.
/// Within an earlier limit, inherited or not, it is that one that counts and that owns the Timeout.
class DeadlineScope {
 public:
    explicit DeadlineScope(Deadline deadline)
        : scope_{Context::current().with_deadline(deadline)} {}

    [[nodiscard]] bool owns(const Timeout& timeout) const noexcept { return scope_.owns(timeout); }

 private:
    Context::Scope scope_;
};

/// Until when the current greenlet has time, as far as its DeadlineScopes and those it was spawned
/// under say: to be handed on to whoever works for it elsewhere.
[[nodiscard]] inline Deadline ambient_deadline() noexcept {
    const detail::ContextMap* map = detail::current_map();
    return map != nullptr ? map->deadline : Deadline::never();
}

}  // namespace green
