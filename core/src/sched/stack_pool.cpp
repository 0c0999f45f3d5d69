#include "sched/stack_pool.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <green/sys.hpp>

#include "sched/valgrind.hpp"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

namespace green::detail {
namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t guard_size = 4 * page;  // a frame of up to 16 KiB cannot step over it
constexpr std::size_t first_slab = 16;
constexpr std::size_t largest_slab = 4096;

// Tops at equal offsets would share the same few cache sets: 16 colours, a cache line pair apart.
constexpr std::size_t colour(std::size_t index) noexcept { return index % 16 * 128; }

constexpr std::size_t whole_pages(std::size_t stack_size) noexcept {
    return std::max((stack_size + page - 1) / page * page, guard_size + 4 * page);
}

constexpr std::uint64_t canary = 0x6772'6565'6e20'6775;

}  // namespace

StackPool::StackPool(std::size_t stack_size) : stride_{whole_pages(stack_size)} {}

StackPool::~StackPool() {
    for (const Slab& slab : slabs_) {
        for (std::size_t i = 0; i < slab.count; ++i)
            valgrind::remove_stack(slab.stacks[i].known_as);
        // What is mapped there next is not to be taken for our frames, some of which never
        // returned.
        sanitizer::fresh_stack(slab.base, slab.count * slab.stride);
        (void)sys::munmap(slab.base, slab.count * slab.stride);
    }
}

void StackPool::add_slab() {
    const std::size_t most = std::clamp(made_, first_slab, largest_slab);
    free_.reserve(made_ + most);  // give_back must not fail
    const Slab& slab = map_slab(most, stride_);
    // Handed out from the back: the lowest address first.
    for (std::size_t i = slab.count; i-- > 0;) free_.push_back(&slab.stacks[i]);
    made_ += slab.count;
}

StackPool::Slab& StackPool::map_slab(std::size_t count, std::size_t stride) {
    slabs_.reserve(slabs_.size() + 1);
    const auto map = [&] {
        return sys::mmap(nullptr, count * stride, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    };
    Slab slab{nullptr, count, stride, std::make_unique<Stack[]>(count)};
    sys::Outcome mapped = map();
    // Where there is no room for as many, a single one will do.
    while (!mapped.ok() && count > 1) {
        count /= 2;
        slab.stacks = std::make_unique<Stack[]>(count);
        mapped = map();
    }
    // NOLINTNEXTLINE(performance-no-int-to-ptr): mmap's value is the address
    slab.base = reinterpret_cast<char*>(sys::must(mapped, "mmap of greenlet stacks"));
    slab.count = count;
    // One touched byte must cost one page, not two MiB.
    (void)sys::madvise(slab.base, count * stride, MADV_NOHUGEPAGE);

    for (std::size_t i = 0; i < count; ++i) {
        char* lowest = slab.base + i * stride;
        Stack& stack = slab.stacks[i];
        stack.low = lowest + guard_size;
        stack.high = lowest + stride - colour(i);
        stack.has_canary = !protect(lowest);
        stack.known_as = valgrind::add_stack(stack.low, stack.high);
    }
    slabs_.push_back(std::move(slab));
    return slabs_.back();
}

Stack& StackPool::make_hubs(std::size_t size) {
    if (free_.empty()) add_slab();
    Stack& stack = map_slab(1, whole_pages(size)).stacks[0];
    sanitizer::fresh_stack(stack.low, stack.size());
    stack.fiber.make();
    return stack;
}

bool StackPool::protect(char* guard) noexcept {
    if (guard_ == Guard::installed) {
        if (sys::madvise(guard, guard_size, MADV_GUARD_INSTALL).ok()) return true;
        guard_ = Guard::protect;  // an older kernel
    }
    if (guard_ == Guard::protect) {
        if (sys::mprotect(guard, guard_size, PROT_NONE).ok()) return true;
        guard_ = Guard::canary;
        std::fputs(
            "greensup: no guard pages left for greenlet stacks (vm.max_map_count); "
            "overflows are noticed late, by a canary\n",
            stderr);
    }
    std::memcpy(guard + guard_size - sizeof canary, &canary, sizeof canary);
    return false;
}

Stack& StackPool::take() {
    while (free_.size() <= 1) add_slab();
    return pop_free();
}

Stack* StackPool::take_last() noexcept { return free_.empty() ? nullptr : &pop_free(); }

Stack& StackPool::pop_free() noexcept {
    Stack& stack = *free_.back();
    free_.pop_back();
    sanitizer::fresh_stack(stack.low, stack.size());
    stack.fiber.make();
    return stack;
}

void StackPool::give_back(Stack& stack) noexcept {
    if (stack.has_canary && std::memcmp(stack.low - sizeof canary, &canary, sizeof canary) != 0) {
        std::fputs("greensup: a greenlet has overflowed its stack (canary overwritten)\n", stderr);
        std::abort();
    }
    free_.push_back(&stack);
}

const Stack* StackPool::overflowed(const void* address) const noexcept {
    const auto* byte = static_cast<const char*>(address);
    for (const Slab& slab : slabs_) {
        if (byte < slab.base || byte >= slab.base + slab.count * slab.stride) continue;
        const auto offset = static_cast<std::size_t>(byte - slab.base);
        if (offset % slab.stride < guard_size) return &slab.stacks[offset / slab.stride];
    }
    return nullptr;
}

}  // namespace green::detail
