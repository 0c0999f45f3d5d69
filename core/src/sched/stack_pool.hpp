#pragma once
// Stacks, cut from large mappings and handed out last-in-first-out. Only touched pages cost memory;
// a guard lies below each stack.

#include <cstddef>
#include <memory>
#include <vector>

#include "sched/sanitizer.hpp"

namespace green::detail {

/// One stack. Lives in the pool as long as the pool.
struct Stack {
    char* low = nullptr;   // lowest usable byte; the guard lies below
    char* high = nullptr;  // one past the highest usable byte: where the stack begins
    bool has_canary = false;
    [[no_unique_address]] sanitizer::Fiber fiber{};
    unsigned known_as = 0;  // to valgrind
    [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(high - low); }
};

class StackPool {
 public:
    /// How an overflow is noticed, best first.
    enum class Guard {
        installed,  // MADV_GUARD_INSTALL (Linux 6.13): costs no mapping, so a million stacks can
                    // have one
        protect,    // mprotect: two mappings a stack, of which the kernel allows 65 530
        canary,     // a word that is checked when the stack comes back: noticed late, but noticed
    };

    explicit StackPool(std::size_t stack_size);
    StackPool(const StackPool&) = delete;
    StackPool& operator=(const StackPool&) = delete;
    ~StackPool();

    /// A stack; the caller gives it back. One always stays behind for take_last().
    /// Throws std::system_error when there is no memory for one.
    [[nodiscard]] Stack& take();
    /// The one that has stayed behind, or nullptr while somebody has it.
    [[nodiscard]] Stack* take_last() noexcept;
    void give_back(Stack& stack) noexcept;

    /// One of another size, which is never given back and not counted; and sees to it that one of
    /// the others stays behind from the beginning. Throws like take().
    [[nodiscard]] Stack& make_hubs(std::size_t size);

    /// The stack in whose guard the address lies, or nullptr. Safe in a signal handler.
    [[nodiscard]] const Stack* overflowed(const void* address) const noexcept;
    [[nodiscard]] Guard guard() const noexcept { return guard_; }
    [[nodiscard]] std::size_t taken() const noexcept { return made_ - free_.size(); }
    [[nodiscard]] std::size_t stack_size() const noexcept { return stride_; }

 private:
    struct Slab {
        char* base = nullptr;
        std::size_t count = 0;
        std::size_t stride = 0;
        std::unique_ptr<Stack[]> stacks;
    };

    void add_slab();
    /// Of fewer stacks where there is no room for as many.
    Slab& map_slab(std::size_t count, std::size_t stride);
    [[nodiscard]] Stack& pop_free() noexcept;
    /// Returns false when only a canary could be put there.
    bool protect(char* guard) noexcept;

    std::size_t stride_;
    Guard guard_ = Guard::installed;
    std::size_t made_ = 0;
    std::vector<Slab> slabs_;
    std::vector<Stack*> free_;
};

}  // namespace green::detail
