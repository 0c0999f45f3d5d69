#include "fuzz.hpp"

#include <unistd.h>

extern "C" [[gnu::weak]] int __sanitizer_install_malloc_and_free_hooks(
    void (*allocated)(const volatile void*, std::size_t), void (*freed)(const volatile void*));

namespace fuzz {

void read_all(std::span<const std::byte> bytes) noexcept {
    unsigned sum = 0;
    for (const std::byte byte : bytes) sum += static_cast<unsigned>(byte);
    volatile unsigned sink = sum;
    (void)sink;
}

bool LargestAllocation::watch() noexcept {
    if (__sanitizer_install_malloc_and_free_hooks == nullptr) return false;
    (void)__sanitizer_install_malloc_and_free_hooks(
        [](const volatile void*, std::size_t bytes) {
            expect(bytes <= limit_, "more was allocated than the limit allows");
        },
        [](const volatile void*) {});
    return true;
}

int NoDescriptorLeft::first_free() noexcept {
    const int number = ::dup(STDERR_FILENO);
    ::close(number);
    return number;
}

}  // namespace fuzz
