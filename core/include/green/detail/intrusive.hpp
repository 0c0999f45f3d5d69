#pragma once
// A doubly linked list whose hooks are members or bases of the elements: nothing is allocated,
// leaving is O(1).
// clang's analyser does not see a deleted element leave by its destructor: it warns of those that
// are left.

#include <cstddef>

namespace green::detail {

class ListHook {
 public:
    ListHook() noexcept = default;
    ListHook(const ListHook&) = delete;
    ListHook& operator=(const ListHook&) = delete;
    ~ListHook() { unlink(); }

    // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDelete): see above
    [[nodiscard]] bool linked() const noexcept { return next_ != nullptr; }

    /// Leaves whatever list this is in; nothing happens when it is in none.
    void unlink() noexcept {
        if (next_ == nullptr) return;
        // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDelete): see above
        next_->previous_ = previous_;
        previous_->next_ = next_;
        next_ = previous_ = nullptr;
    }
    /// The same without a look at its neighbours. A forked child may find them half way in or out,
    /// where a thread that it does not have was at it; none of that list may be unlinked there.
    void forget() noexcept { next_ = previous_ = nullptr; }

 private:
    template <class>
    friend class IntrusiveList;

    ListHook* next_ = nullptr;
    ListHook* previous_ = nullptr;
};

/// T must derive from ListHook. The list owns nothing; it must be empty, or its elements outlive
/// it.
template <class T>
class IntrusiveList {
 public:
    IntrusiveList() noexcept { forget(); }
    IntrusiveList(const IntrusiveList&) = delete;
    IntrusiveList& operator=(const IntrusiveList&) = delete;
    ~IntrusiveList() {
        while (!empty()) front().unlink();
    }

    [[nodiscard]] bool empty() const noexcept { return head_.next_ == &head_; }
    // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDelete): see above
    [[nodiscard]] T& front() noexcept { return static_cast<T&>(*head_.next_); }

    void push_back(T& element) noexcept {
        ListHook& hook = element;
        hook.previous_ = head_.previous_;
        hook.next_ = &head_;
        head_.previous_->next_ = &hook;
        head_.previous_ = &hook;
    }
    /// Calls visit(element) for each; visit may unlink the element it is given.
    template <class Visit>
    void for_each(Visit visit) {
        for (ListHook* hook = head_.next_; hook != &head_;) {
            ListHook* next = hook->next_;
            visit(static_cast<T&>(*hook));
            hook = next;
        }
    }
    /// Empties it without a look at those that stand in it, for a forked child as well: they may
    /// be in memory that has others by now. None of them may be unlinked afterwards.
    void forget() noexcept { head_.next_ = head_.previous_ = &head_; }
    [[nodiscard]] std::size_t size() const noexcept {
        std::size_t count = 0;
        for (const ListHook* hook = head_.next_; hook != &head_; hook = hook->next_) ++count;
        return count;
    }

 private:
    ListHook head_;
};

}  // namespace green::detail
