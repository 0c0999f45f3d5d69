#pragma once
// The one way to sleep. Whatever waits, in this library or on top of it, is a WaitNode handed to
// park().
//
//  P1  A node lives on the waiter's stack (or in its frame's objects) for the length of one park().
//  P2  arm() registers the node with its source, or answers true: already satisfied, nothing
//      registered.
//  P3  A source that has something for the node calls fire() once and forgets the node.
//  P4  disarm() is called for every armed node that has neither fired nor lost its source, before
//      park() returns or throws.
//  P5  A source hands something only to a node that is open(): one whose wait was not ended by
//      another node, by its deadline or by an interrupt. So of several nodes exactly one fires, and
//      only that one is handed anything.
//  P6  A node that fired while its waiter leaves by an exception is told abandon(): what it was
//      handed goes to the next one. Nothing is lost with a killed waiter.
//  P7  fire() never switches: it marks the waiter ready. Callers keep running until their own next
//      suspension point.
//  P8  A source that goes tells the nodes that still stand in its WaitList, those too that it has
//      passed over and that did not run yet: their waits throw Closed. One that has fired or was
//      missed leaves it alone in disarm(): it may be gone by then. One that needs the source once
//      more, to take what it was promised or to give it back, stands in a list of those until it
//      has run; but who was handed a lock holds it, and a lock must not go while it is held.
//  P9  In a forked child none of its parent's nodes is there. They may have stood on the stack of a
//      thread that it has not, which is another thread's by now: nobody looks at them.
//
// Longer than most headers: a node, its waker and its list keep these rules together.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include <green/deadline.hpp>
#include <green/detail/home.hpp>
#include <green/detail/intrusive.hpp>
#include <green/detail/task.hpp>

namespace green::detail {

/// Wakes one wait of one task, once; later and repeated calls are harmless. Does not keep the task
/// alive: the source that holds one must be told by disarm() when the wait is over.
class Waker {
 public:
    Waker() noexcept = default;
    explicit Waker(Task& task) noexcept : task_{&task}, epoch_{task.epoch} {}
    void wake() const noexcept;
    /// The wait it was made for still goes on.
    [[nodiscard]] bool open() const noexcept {
        return task_->state == TaskState::parked && task_->epoch == epoch_;
    }
    /// The wait it was made for is being prepared, by the greenlet that runs now.
    [[nodiscard]] bool arming() const noexcept {
        return task_->state == TaskState::running && task_->epoch == epoch_;
    }

 private:
    Task* task_ = nullptr;
    std::uint32_t epoch_ = 0;
};

/// Whether a wait can be ended from outside the hub. A hub in which nobody waits on the outside is
/// deadlocked.
enum class Reach : std::uint8_t {
    inside,      // another greenlet: events, queues, joins
    outside,     // the world: descriptors, timers, children, other threads
    background,  // the world, but not worth staying alive for: signal handlers, housekeeping
};

class WaitNode;

/// Takes what fires instead of a parked greenlet: for nodes that stay armed between waits.
class Collector {
 public:
    /// Either it fired or it has lost its source. Must neither switch nor throw.
    virtual void collect(WaitNode& node) noexcept = 0;

 protected:
    ~Collector() = default;
};

class WaitNode : public ListHook {
 public:
    virtual ~WaitNode() = default;
    /// Where arming needs code of the user's: comes before any node of the same wait is armed. What
    /// that code sets off meanwhile would be lost on an armed one.
    virtual void prepare() {}
    virtual bool arm() = 0;
    virtual void disarm() noexcept { unlink(); }
    virtual void abandon() noexcept {}
    /// For one that has fired: what it waited for cannot be undone any more, so that an interrupt
    /// must wait until the next suspension point instead.
    [[nodiscard]] virtual bool beyond_recall() const noexcept { return false; }
    /// What is waited on, for reports: "event", "fd 7 readable".
    virtual void describe(std::string& into) const = 0;
    /// For one that has lost its source: what its wait throws.
    [[noreturn]] virtual void throw_lost() const;

    /// Nothing happens when its wait was ended by something else before.
    void fire() noexcept {
        unlink();
        if (!open()) return miss();
        end_ = End::fired;
        tell();
    }
    /// In place of fire(), when the source goes (P8), or fails.
    void lose_source() noexcept {
        unlink();
        end_ = End::lost;
        tell();
    }
    [[nodiscard]] bool fired() const noexcept { return end_ == End::fired; }
    /// Its source went, or failed.
    [[nodiscard]] bool lost() const noexcept { return end_ == End::lost; }
    /// It would have fired, but something else had ended its wait and its greenlet had not run yet.
    /// The source may be gone since: this is the only place to ask.
    [[nodiscard]] bool missed() const noexcept { return end_ == End::missed; }
    /// Something can be handed to it (P5).
    [[nodiscard]] bool open() const noexcept { return collector_ != nullptr || waker_.open(); }
    /// It belongs to the greenlet that runs now, which is about to wait: a rendezvous must not be
    /// with oneself.
    [[nodiscard]] bool arming() const noexcept { return collector_ == nullptr && waker_.arming(); }
    [[nodiscard]] Reach reach() const noexcept { return reach_; }

    /// Arms it for a collector, which disarms it in the end unless it fired.
    /// Returns true when it is satisfied already; then it counts as fired.
    bool arm_for(Collector& collector) {
        begin();
        collector_ = &collector;
        if (!arm()) return false;
        end_ = End::fired;
        return true;
    }
    /// A number of the collector's own.
    [[nodiscard]] std::size_t tag() const noexcept { return tag_; }
    void set_tag(std::size_t tag) noexcept { tag_ = static_cast<std::uint32_t>(tag); }

 protected:
    explicit WaitNode(Reach reach) noexcept : reach_{reach} {}
    void miss() noexcept {
        if (end_ == End::none) end_ = End::missed;
    }

 private:
    friend class Hub;
    enum class End : std::uint8_t {
        none,
        fired,
        missed,
        lost,
    };
    void begin() noexcept { end_ = End::none; }
    void tell() noexcept {
        if (collector_ != nullptr) {
            collector_->collect(*this);
        } else {
            waker_.wake();
        }
    }

    Waker waker_;
    Collector* collector_ = nullptr;
    std::uint32_t tag_ = 0;
    Reach reach_;
    End end_ = End::none;
};

/// Something that can be waited for beside others: it has a nested type Ready, a WaitNode that is
/// made from a reference to it and fires when it is ready. Waiting that way takes nothing from it.
template <class W>
concept HasReady = std::derived_from<typename W::Ready, WaitNode> &&
    std::constructible_from<typename W::Ready, W&>;

/// Sleeps until one of the nodes fires or the deadline passes.
/// Switches, unless a node is satisfied at once or the deadline had passed before the hub last
/// looked outside.
/// Returns false when the deadline passed and no node fired. Throws what arm() throws, throw_lost()
/// when a source went and no node fired, and BlockingInHub in a hub callback. All nodes are
/// disarmed afterwards.
bool park(std::span<WaitNode* const> nodes, Deadline deadline);
bool park(WaitNode& node, Deadline deadline);

/// A list of waiters, first come first served. Node may be incomplete where a source is declared.
/// In a forked child nobody stands in it (P9).
template <class Node>
class WaitList {
 public:
    WaitList() noexcept = default;
    WaitList(const WaitList&) = delete;
    WaitList& operator=(const WaitList&) = delete;
    ~WaitList() {
        come_home();
        for (auto* nodes : {&list_, &passed_over_}) {
            while (!nodes->empty()) nodes->front().lose_source();
        }
    }
    [[nodiscard]] bool empty() const noexcept { return list_.empty() || !home_.is_here(); }
    /// There must be one.
    [[nodiscard]] Node& front() noexcept { return static_cast<Node&>(list_.front()); }
    [[nodiscard]] std::size_t size() const noexcept { return empty() ? 0 : list_.size(); }
    void push_back(Node& node) noexcept {
        come_home();
        list_.push_back(node);
    }
    template <class Visit>
    void for_each(Visit visit) {
        if (!empty()) list_.for_each([&](WaitNode& node) { visit(static_cast<Node&>(node)); });
    }
    /// The first that something can be handed to, or nullptr. Those whose wait was ended by
    /// something else are passed over for good. Those that the greenlet which runs now is arming
    /// stay: they are the last, so nobody stands behind them.
    [[nodiscard]] Node* first_open() noexcept {
        while (!empty()) {
            Node& node = front();
            if (node.open()) return &node;
            if (node.arming()) return nullptr;
            node.unlink();
            passed_over_.push_back(node);
        }
        return nullptr;
    }
    /// Returns whether there was one.
    bool fire_one() noexcept {
        Node* node = first_open();
        if (node != nullptr) node->fire();
        return node != nullptr;
    }
    void fire_all() noexcept {
        while (!empty()) list_.front().fire();
    }

 private:
    void come_home() noexcept {
        if (home_.is_here()) [[likely]]
            return;
        home_ = {};
        list_.forget();
        passed_over_.forget();
    }

    Home home_;
    IntrusiveList<WaitNode> list_;
    // Until they have run: what has ended their wait may be taken back, and then they come again.
    IntrusiveList<WaitNode> passed_over_;
};

/// The plainest node: stands in a list until somebody fires it.
class ListNode : public WaitNode {
 public:
    ListNode(WaitList<ListNode>& list, const char* what) noexcept
        : WaitNode{Reach::inside}, list_{&list}, what_{what} {}
    bool arm() override {
        list_->push_back(*this);
        return false;
    }
    void describe(std::string& into) const override { into += what_; }

 private:
    WaitList<ListNode>* list_;
    const char* what_;
};

}  // namespace green::detail
