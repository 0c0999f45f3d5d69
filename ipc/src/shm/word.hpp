#pragma once
// A 64-bit word of mapped memory that several processes change at once. A plain aggregate, so that
// it begins to exist with the mapping; each access goes through std::atomic_ref.
//
// All loads, and all changes that read and write, are sequentially consistent. On the machines we
// run on that costs nothing (a load is a plain load, a change is the locked instruction that it
// would be anyway), and it makes short arguments: of two who each change one word and then load the
// other's, at least one sees the other's change. Plain stores only release; who stores and must
// then load says so, or makes a full fence between.

#include <atomic>
#include <cstdint>

namespace green::ipc::shm {

class Word {
 public:
    [[nodiscard]] std::uint64_t load() const noexcept {
        return ref().load(std::memory_order_seq_cst);
    }
    void store(std::uint64_t value) noexcept { ref().store(value, std::memory_order_release); }
    /// A change like those below, for who loads next. Quicker than a fence behind a plain store.
    void store_before_load(std::uint64_t value) noexcept {
        ref().store(value, std::memory_order_seq_cst);
    }

    /// For fields that the state word beside them publishes, and for figures that nobody decides
    /// by.
    [[nodiscard]] std::uint64_t peek() const noexcept {
        return ref().load(std::memory_order_relaxed);
    }
    void poke(std::uint64_t value) noexcept { ref().store(value, std::memory_order_relaxed); }

    /// One compare-and-swap; true if `expected` stood there and `desired` stands there now.
    bool swap(std::uint64_t expected, std::uint64_t desired) noexcept {
        return ref().compare_exchange_strong(expected, desired, std::memory_order_seq_cst);
    }
    std::uint64_t add(std::uint64_t amount) noexcept {
        return ref().fetch_add(amount, std::memory_order_seq_cst);
    }
    /// Both return the word as it was before.
    std::uint64_t set_bits(std::uint64_t bits) noexcept {
        return ref().fetch_or(bits, std::memory_order_seq_cst);
    }
    std::uint64_t clear_bits(std::uint64_t bits) noexcept {
        return ref().fetch_and(~bits, std::memory_order_seq_cst);
    }

    /// For a counter with a single writer.
    void count(std::uint64_t amount = 1) noexcept { poke(peek() + amount); }

 private:
    using Ref = std::atomic_ref<std::uint64_t>;
    static_assert(Ref::is_always_lock_free, "a lock in one process's memory would protect nothing");
    [[nodiscard]] Ref ref() const noexcept { return Ref{const_cast<std::uint64_t&>(value_)}; }

    alignas(Ref::required_alignment) std::uint64_t value_;
};
static_assert(sizeof(Word) == 8);

/// Keeps a plain store before a later load of another word: the one order that neither hardware nor
/// compiler keeps.
inline void full_fence() noexcept { std::atomic_thread_fence(std::memory_order_seq_cst); }

/// Asks for the line there, to be changed: it comes while we go on.
inline void fetch_to_change(const void* place) noexcept {
#if defined(__x86_64__)
    // The builtin would ask for a copy to read, unless told of a processor that is newer than all.
    asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(place)));
#else
    __builtin_prefetch(place, 1);
#endif
}

/// For loops that wait for another processor.
inline void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace green::ipc::shm
