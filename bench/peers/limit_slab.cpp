// The limit of everything with a stack: bare contexts of Boost.Context, suspended on stacks that
// are cut from one mapping, each with a guard page, and with only its topmost page touched.
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <sys/mman.h>
#include <system_error>
#include <vector>

#include <boost/context/detail/fcontext.hpp>

#include "sleepers.hpp"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

namespace {

using boost::context::detail::fcontext_t;
using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

constexpr std::size_t page = 4096;
constexpr std::size_t stride = 4 * page;  // of which the lowest is the guard

[[noreturn]] void sleep_for_ever(transfer_t from) {
    for (;;) {
        auto& awake = *static_cast<std::size_t*>(from.data);
        from = jump_fcontext(from.fctx, nullptr);
        ++awake;
    }
}

class Slab {
 public:
    explicit Slab(std::size_t count) : count_{count} {}
    ~Slab() {
        if (slab_ != nullptr) ::munmap(slab_, count_ * stride);
    }
    Slab(const Slab&) = delete;
    Slab& operator=(const Slab&) = delete;

    void put_to_sleep(std::uint64_t until) {
        until_ = until;
        void* memory = ::mmap(nullptr, count_ * stride, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
        slab_ = static_cast<std::byte*>(memory);
        ::madvise(slab_, count_ * stride, MADV_NOHUGEPAGE);
        contexts_.reserve(count_);
        for (std::size_t i = 0; i < count_; ++i) {
            std::byte* const lowest = slab_ + i * stride;
            // A kernel before 6.13 does not know it; what is left is a limit all the more.
            ::madvise(lowest, page, MADV_GUARD_INSTALL);
            // Tops at equal offsets would share the same few cache sets.
            std::byte* const top = lowest + stride - i % 16 * 128;
            const fcontext_t fresh = make_fcontext(top, stride - 2 * page, sleep_for_ever);
            contexts_.push_back(jump_fcontext(fresh, &awake_).fctx);
        }
    }

    std::uint64_t wait_for_last() {
        bench::wait_until(until_);
        for (auto& context : contexts_) context = jump_fcontext(context, &awake_).fctx;
        if (awake_ != count_) throw std::runtime_error("not every context has run");
        return bench::now();
    }

 private:
    std::size_t count_;
    std::byte* slab_ = nullptr;
    std::vector<fcontext_t> contexts_;
    std::size_t awake_ = 0;
    std::uint64_t until_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv,
                      {{"sleepers_bytes", bench::sleepers_bytes<Slab>},
                       {"sleepers_spawn", bench::sleepers_spawn<Slab>},
                       {"sleepers_wake", bench::sleepers_wake<Slab>}});
}
