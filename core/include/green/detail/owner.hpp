#pragma once

#include <cstdint>
#include <string>

namespace green::detail {

struct Task;

/// Who holds a lock. A greenlet that ended without giving it up stays the owner: its number and
/// that of its hub tell it from a later one in the same memory, which a forked child's may be, too.
class Owner {
 public:
    [[nodiscard]] bool is_nobody() const noexcept { return task_ == nullptr; }
    [[nodiscard]] bool is_current() const;
    void become_current();
    void clear() noexcept { task_ = nullptr; }
    /// Appends " held by NAME", or nothing for nobody.
    void describe(std::string& into) const;

 private:
    const Task* task_ = nullptr;  // only compared
    std::uint64_t id_ = 0;
    std::uint32_t hub_ = 0;
};

}  // namespace green::detail
