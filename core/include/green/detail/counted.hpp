#pragma once
// Shared ownership within one thread: the counts are not atomic.

#include <cstdint>
#include <type_traits>
#include <utility>

namespace green::detail {

/// Holds one reference to a T, which has retain() and release().
template <class T>
class CountedPtr {
 public:
    CountedPtr() noexcept = default;
    /// Takes over the reference that the caller holds.
    explicit CountedPtr(T* object) noexcept : object_{object} {}
    CountedPtr(const CountedPtr& other) noexcept : object_{other.object_} {
        if (object_ != nullptr) object_->retain();
    }
    CountedPtr(CountedPtr&& other) noexcept : object_{std::exchange(other.object_, nullptr)} {}
    template <class U>
    requires std::is_base_of_v<T, U> CountedPtr(const CountedPtr<U>& other)
    noexcept : object_{other.get()} {  // NOLINT(google-explicit-constructor): a view
        if (object_ != nullptr) object_->retain();
    }
    CountedPtr& operator=(CountedPtr other) noexcept {
        std::swap(object_, other.object_);
        return *this;
    }
    ~CountedPtr() {
        if (object_ != nullptr) object_->release();
    }

    [[nodiscard]] T* get() const noexcept { return object_; }
    T& operator*() const noexcept { return *object_; }
    T* operator->() const noexcept { return object_; }
    explicit operator bool() const noexcept { return object_ != nullptr; }

 private:
    T* object_ = nullptr;
};

/// What a CountedPtr can hold, of whatever type. Begins with the reference of whoever makes it.
class Counted {
 public:
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;

    void retain() const noexcept { ++references_; }
    void release() const noexcept {
        if (--references_ == 0) delete this;
    }

 protected:
    Counted() noexcept = default;
    virtual ~Counted() = default;

 private:
    mutable std::uint32_t references_ = 1;
};

}  // namespace green::detail
