#pragma once
// Values of which each greenlet has its own, as far as their type does not matter.

#include <cstdint>
#include <memory>

#include <green/detail/identity.hpp>
#include <green/detail/intrusive.hpp>
#include <green/detail/task.hpp>

namespace green::detail {

/// One value of one greenlet. The hook is that of its local, whose greenlets may be of several
/// threads; everything else is the greenlet's.
class LocalCell : public ListHook {
 public:
    LocalCell() noexcept = default;
    LocalCell(const LocalCell&) = delete;
    LocalCell& operator=(const LocalCell&) = delete;
    virtual ~LocalCell() = default;

 private:
    friend class LocalKey;
    friend void free_values(Task& task) noexcept;

    std::uint64_t key_ = 0;
    Task* task_ = nullptr;
    LocalCell* older_ = nullptr;  // of the same greenlet
};

/// What a GreenletLocal is found by.
class LocalKey {
 public:
    LocalKey() noexcept = default;
    LocalKey(const LocalKey&) = delete;
    LocalKey& operator=(const LocalKey&) = delete;
    /// Frees the values of this thread's greenlets. Those of other threads' are freed when their
    /// greenlets end.
    ~LocalKey();

    /// The current greenlet's, or nullptr.
    [[nodiscard]] LocalCell* find() const noexcept;
    /// Gives the current greenlet its value. Makes the hub when there is none yet.
    LocalCell& keep(std::unique_ptr<LocalCell> cell);
    /// Frees the current greenlet's value, if it has one.
    void drop() noexcept;

 private:
    static void take_from_task(LocalCell& cell) noexcept;

    const std::uint64_t id_ = next_identity();
    IntrusiveList<LocalCell> cells_;
};

/// Frees all values of a greenlet, the newest first, also those that are made meanwhile.
void free_values(Task& task) noexcept;
inline void free_locals(Task& task) noexcept {
    if (task.locals != nullptr) [[unlikely]]
        free_values(task);
}

}  // namespace green::detail
