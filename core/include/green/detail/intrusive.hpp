#pragma once
// A doubly linked list whose hooks are members or bases of the elements: nothing is allocated,
// leaving is O(1).

#include <cstddef>

namespace green::detail {

class ListHook {
 public:
    ListHook() noexcept = default;
    ListHook(const ListHook&) = delete;
    ListHook& operator=(const ListHook&) = delete;
    ~ListHook() { unlink(); }

    [[nodiscard]] bool linked() const noexcept { return next_ != nullptr; }

    /// Leaves whatever list this is in; nothing happens when it is in none.
    void unlink() noexcept {
        if (next_ == nullptr) return;
        next_->previous_ = previous_;
        previous_->next_ = next_;
        next_ = previous_ = nullptr;
    }

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
    IntrusiveList() noexcept { head_.next_ = head_.previous_ = &head_; }
    IntrusiveList(const IntrusiveList&) = delete;
    IntrusiveList& operator=(const IntrusiveList&) = delete;
    ~IntrusiveList() {
        while (!empty()) front().unlink();
    }

    [[nodiscard]] bool empty() const noexcept { return head_.next_ == &head_; }
    [[nodiscard]] T& front() noexcept { return static_cast<T&>(*head_.next_); }

    void push_back(T& element) noexcept {
        ListHook& hook = element;
        hook.previous_ = head_.previous_;
        hook.next_ = &head_;
        head_.previous_->next_ = &hook;
        head_.previous_ = &hook;
    }
    void push_front(T& element) noexcept {
        ListHook& hook = element;
        hook.next_ = head_.next_;
        hook.previous_ = &head_;
        head_.next_->previous_ = &hook;
        head_.next_ = &hook;
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
    /// Moves all elements of the other one to the end of this one.
    void splice_back(IntrusiveList& other) noexcept {
        if (other.empty()) return;
        ListHook* first = other.head_.next_;
        ListHook* last = other.head_.previous_;
        other.head_.next_ = other.head_.previous_ = &other.head_;
        first->previous_ = head_.previous_;
        head_.previous_->next_ = first;
        last->next_ = &head_;
        head_.previous_ = last;
    }
    /// Puts them in order: before(a, b) says that a must come first. Stable; allocates nothing.
    template <class Before>
    void sort(Before before) noexcept {
        if (is_sorted(before)) return;
        // Sorted runs of 1, 2, 4, ... elements wait in bins for another of their size, as the
        // digits of a binary counter wait for a carry. Only next_ is kept meanwhile.
        ListHook* bins[64] = {};
        std::size_t used = 0;
        ListHook* rest = head_.next_;
        while (rest != &head_) {
            ListHook* run = rest;
            rest = rest->next_;
            run->next_ = nullptr;
            std::size_t bin = 0;
            for (; bins[bin] != nullptr; ++bin) {
                run = merged(bins[bin], run, before);
                bins[bin] = nullptr;
            }
            bins[bin] = run;
            if (bin >= used) used = bin + 1;
        }
        ListHook* all = nullptr;
        for (std::size_t bin = 0; bin < used; ++bin) {
            if (bins[bin] != nullptr) all = merged(bins[bin], all, before);
        }
        ListHook* previous = &head_;
        for (ListHook* hook = all; hook != nullptr; hook = hook->next_) {
            previous->next_ = hook;
            hook->previous_ = previous;
            previous = hook;
        }
        previous->next_ = &head_;
        head_.previous_ = previous;
    }
    [[nodiscard]] std::size_t size() const noexcept {
        std::size_t count = 0;
        for (const ListHook* hook = head_.next_; hook != &head_; hook = hook->next_) ++count;
        return count;
    }

 private:
    template <class Before>
    [[nodiscard]] bool is_sorted(Before& before) const noexcept {
        if (empty()) return true;
        for (const ListHook* hook = head_.next_; hook->next_ != &head_; hook = hook->next_) {
            if (before(static_cast<const T&>(*hook->next_), static_cast<const T&>(*hook)))
                return false;
        }
        return true;
    }
    /// Of two sorted chains, the elements of `a` being the earlier ones of equals.
    template <class Before>
    static ListHook* merged(ListHook* a, ListHook* b, Before& before) noexcept {
        ListHook* first = nullptr;
        ListHook** end = &first;
        while (a != nullptr && b != nullptr) {
            ListHook*& least = before(static_cast<T&>(*b), static_cast<T&>(*a)) ? b : a;
            *end = least;
            end = &least->next_;
            least = least->next_;
        }
        *end = a != nullptr ? a : b;
        return first;
    }

    ListHook head_;
};

}  // namespace green::detail
