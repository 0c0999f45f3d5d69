#include "moment.hpp"

#include <green/deadline.hpp>
#include <green/sys.hpp>

namespace green::ipc::shm {
namespace {

/// "1de51eb8-0aa3-…" without its dashes; zeros when it cannot be read.
std::array<std::uint64_t, 2> read_boot_id() noexcept {
    std::array<std::uint64_t, 2> id{};
    const sys::Outcome file = sys::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (!file.ok()) return id;
    char text[64];
    const sys::Outcome got = sys::read(file.as_int(), text, sizeof text);
    (void)sys::close(file.as_int());
    unsigned digits = 0;
    for (std::int64_t i = 0; got.ok() && i < got.value; ++i) {
        const char c = text[i];
        const bool is_number = c >= '0' && c <= '9';
        if (digits == 32 || (!is_number && (c < 'a' || c > 'f'))) continue;
        std::uint64_t& half = id[digits++ / 16];
        half = half << 4 | static_cast<std::uint64_t>(is_number ? c - '0' : c - 'a' + 10);
    }
    return id;
}

}  // namespace

Moment Moment::present() noexcept {
    return {read_boot_id(), green::now().time_since_epoch().count()};
}

}  // namespace green::ipc::shm
