#pragma once
// A greenlet that is an object, for bodies with state that others look at.

#include <concepts>
#include <optional>
#include <typeinfo>
#include <utility>

#include <green/detail/local.hpp>
#include <green/detail/task.hpp>
#include <green/greenlet.hpp>

namespace green {

namespace detail {
template <class T>
struct ObjectTask;
}

/// Derive from it and override run(); make the object with make_greenlet().
///
///     struct Crawler : green::BasicGreenlet {
///         explicit Crawler(std::string url);
///         std::size_t pages = 0;
///      protected:
///         void run() override;
///     };
///     auto crawler = green::make_greenlet<Crawler>("http://...");
///     crawler.start();
///     crawler.join(5s);
///     report(crawler->pages);
class BasicGreenlet {
 public:
    BasicGreenlet(const BasicGreenlet&) = delete;
    BasicGreenlet& operator=(const BasicGreenlet&) = delete;
    virtual ~BasicGreenlet() = default;

 protected:
    BasicGreenlet() = default;
    /// The body, on the greenlet's own stack. What it throws is the greenlet's outcome.
    virtual void run() = 0;

 private:
    template <class>
    friend struct detail::ObjectTask;
};

/// A handle of such an object: everything that a handle of a greenlet can do, and the object
/// itself, which lives as long as a handle does or the greenlet runs.
template <class T>
class GreenletObject : public AnyGreenlet {
 public:
    using AnyGreenlet::AnyGreenlet;
    [[nodiscard]] T& operator*() const noexcept {
        return *static_cast<detail::ObjectTask<T>&>(*task_).object;
    }
    [[nodiscard]] T* operator->() const noexcept { return &**this; }
};

namespace detail {

template <class T>
struct ObjectTask final : Task {
    template <class... Arguments>
    explicit ObjectTask(Arguments&&... arguments)
        : Task{types}, object{std::in_place, std::forward<Arguments>(arguments)...} {}

    void run() override {
        static_cast<BasicGreenlet&>(*object).run();
        // None of it must be interrupted.
        ++this->shields;
        free_locals(*this);
    }
    void drop_callable() noexcept override {}  // the object stays for those who hold it
    void drop_object() noexcept override { object.reset(); }
    void destroy() noexcept override {
        this->~ObjectTask();
        free_block(this, sizeof(*this));
    }

    static inline const CallableTypes types{&typeid(T), &typeid(void())};

    std::optional<T> object;
};

}  // namespace detail

/// Makes the object and its greenlet, which has not been started. Throws what the constructor does.
template <std::derived_from<BasicGreenlet> T, class... Arguments>
requires std::constructible_from<T, Arguments...>
[[nodiscard, gnu::always_inline]] inline GreenletObject<T> make_greenlet(Arguments&&... arguments) {
    return GreenletObject<T>{detail::make_task<detail::ObjectTask<T>>(
        detail::here(), std::forward<Arguments>(arguments)...)};
}

}  // namespace green
