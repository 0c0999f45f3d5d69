#pragma once
// Waiting for several things at once, of whatever kinds. Waiting that way takes nothing from them:
// a semaphore keeps its permit, a queue its item. select() is for what is to be taken.

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <green/deadline.hpp>
#include <green/detail/home.hpp>
#include <green/detail/park.hpp>
#include <green/detail/timer.hpp>

namespace green {

/// Greenlets, events, results, semaphores, latches, barriers, queues, results of lazy maps, groups,
/// threads' tasks and queues, signals, processes, watchers, after(), readable(), writable().
template <class W>
concept Waitable = detail::HasReady<W>;

/// A moment, as something to wait for.
class After {
 public:
    class Ready final : public detail::WaitNode {
     public:
        explicit Ready(const After& after) noexcept
            : WaitNode{after.ref_ ? detail::Reach::outside : detail::Reach::background},
              deadline_{after.deadline_} {
            timer_.keeps_alive = after.ref_;
        }
        ~Ready() override { disarm(); }
        bool arm() override;
        void disarm() noexcept override { detail::cancel_timer(timer_); }
        void describe(std::string& into) const override { into += "a time"; }

     private:
        struct NodeTimer : detail::Timer {
            Ready* node = nullptr;
        };
        Deadline deadline_;
        NodeTimer timer_;
    };

    explicit After(Deadline deadline, TimerOptions options = {}) noexcept
        : deadline_{deadline}, ref_{options.ref} {}

 private:
    Deadline deadline_;
    bool ref_;
};
[[nodiscard]] inline After after(Deadline deadline, TimerOptions options = {}) noexcept {
    return After{deadline, options};
}

/// A waitable object of whatever type, borrowed.
class AnyWaitable {
 public:
    template <class W>
    requires(Waitable<std::remove_reference_t<W>> &&
             !std::same_as<std::remove_cvref_t<W>, AnyWaitable>) AnyWaitable(W&& object)
    noexcept  // NOLINT(google-explicit-constructor): a view
        : object_{const_cast<void*>(static_cast<const void*>(&object))},
          make_{&make<std::remove_reference_t<W>>} {}

    [[nodiscard]] std::unique_ptr<detail::WaitNode> node() const { return make_(object_); }

 private:
    template <class W>
    static std::unique_ptr<detail::WaitNode> make(void* object) {
        return std::make_unique<typename W::Ready>(*static_cast<W*>(object));
    }

    void* object_;
    std::unique_ptr<detail::WaitNode> (*make_)(void*);
};

/// Things that are waited for one after the other, in the order in which they become ready. They
/// are watched from add() on, also while nobody waits here. Leaving the set leaves no trace in
/// them; they must outlive it. For one greenlet at a time. In a forked child it is empty.
class WaitSet final : private detail::Collector {
 public:
    WaitSet() = default;
    explicit WaitSet(std::span<const AnyWaitable> objects);
    WaitSet(std::initializer_list<AnyWaitable> objects)
        : WaitSet{std::span{objects.begin(), objects.size()}} {}
    WaitSet(const WaitSet&) = delete;
    WaitSet& operator=(const WaitSet&) = delete;
    ~WaitSet();

    /// Returns its index: 0 for the first, and so on. The same object may be added several times.
    std::size_t add(AnyWaitable object);

    /// The index of the next one that is ready, each once. Switches, unless one is.
    /// Returns nothing when all have been, or once `deadline` has passed.
    std::optional<std::size_t> next(Deadline deadline = Deadline::never());

    /// Those that next() has not given yet.
    [[nodiscard]] std::size_t remaining() const noexcept {
        return home_.is_here() ? remaining_ : 0;
    }

    class Iterator {
     public:
        using value_type = std::size_t;
        using difference_type = std::ptrdiff_t;
        explicit Iterator(WaitSet& set) : set_{&set}, index_{set.next()} {}
        std::size_t operator*() const { return *index_; }
        Iterator& operator++() {
            index_ = set_->next();
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const Iterator& it, std::default_sentinel_t) noexcept {
            return !it.index_.has_value();
        }

     private:
        WaitSet* set_;
        std::optional<std::size_t> index_;
    };
    /// A range over next(). The body may wait.
    [[nodiscard]] Iterator begin() { return Iterator{*this}; }
    [[nodiscard]] static std::default_sentinel_t end() noexcept { return {}; }

 private:
    class Arrival;
    /// In a forked child the nodes stand among those of its parent's, which are not to be touched.
    void come_home() noexcept;
    void collect(detail::WaitNode& node) noexcept override;

    std::vector<std::unique_ptr<detail::WaitNode>> nodes_;  // null: given by next()
    detail::Home home_;
    detail::IntrusiveList<detail::WaitNode> ready_;
    std::size_t remaining_ = 0;
    std::size_t outside_ = 0;  // those that the world can make ready
    Arrival* waiter_ = nullptr;
};

/// How many to wait for, and how long.
struct WaitOptions {
    Deadline deadline = Deadline::never();
    std::size_t count = std::numeric_limits<std::size_t>::max();
};

/// Waits until all are ready, or `count` of them. Switches, unless they are.
/// Returns the indices of those that were, in the order in which they became ready: fewer than
/// asked for once the deadline has passed.
std::vector<std::size_t> wait(std::span<const AnyWaitable> objects, WaitOptions options = {});
inline std::vector<std::size_t> wait(std::initializer_list<AnyWaitable> objects,
                                     WaitOptions options = {}) {
    return wait(std::span{objects.begin(), objects.size()}, options);
}

}  // namespace green
