/// The limit of message passing between two processes: a ring for one sender and one receiver in a
/// memfd. Records lie behind one another, 8-byte aligned, each after its size; one that does not
/// fit before the end starts anew at the beginning, so that each can be built and read in place.
/// Who sleeps is woken by a system call only if it has said that it sleeps.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <linux/futex.h>
#include <new>
#include <span>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>

#include "bench.hpp"

namespace bench {

/// How one waits for the other: asleep on a futex at once, or after having looked for some 50 us,
/// or in epoll for an eventfd, as a program has to that waits for other things as well.
enum class Wake { futex, spin, eventfd };

inline int must(int result, const char* call) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), call);
    return result;
}

/// In shared memory: one process waits here, another wakes it.
template <Wake how>
class Sleeper {
 public:
    Sleeper() {
        if constexpr (how == Wake::eventfd) {
            event_ = must(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "eventfd");
            epoll_ = must(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
            epoll_event interest{};
            interest.events = EPOLLIN | EPOLLET;  // each write is an edge: nobody needs to read
            must(::epoll_ctl(epoll_, EPOLL_CTL_ADD, event_, &interest), "epoll_ctl");
        }
    }

    template <class Ready>
    void wait_until(Ready ready) {
        if constexpr (how == Wake::spin) {
            for (int i = 0; i < 4000; ++i) {
                if (ready()) return;
                __builtin_ia32_pause();
            }
        }
        while (!ready()) {
            asleep_.store(1, std::memory_order_relaxed);
            std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with the one in wake()
            if (ready()) break;
            sleep();
        }
        asleep_.store(0, std::memory_order_relaxed);
    }

    void wake() {
        std::atomic_thread_fence(std::memory_order_seq_cst);
        if (asleep_.load(std::memory_order_relaxed) == 0) return;
        // Cleared by the waker: else each message until the sleeper runs would pay the call.
        asleep_.store(0, std::memory_order_relaxed);
        if constexpr (how == Wake::eventfd) {
            const std::uint64_t one = 1;
            [[maybe_unused]] const auto written = ::write(event_, &one, sizeof one);
        } else {
            ::syscall(SYS_futex, &asleep_, FUTEX_WAKE, 1, nullptr, nullptr, 0);
        }
    }

 private:
    void sleep() {
        if constexpr (how == Wake::eventfd) {
            epoll_event event{};
            ::epoll_wait(epoll_, &event, 1, -1);
        } else {
            ::syscall(SYS_futex, &asleep_, FUTEX_WAIT, 1, nullptr, nullptr, 0);
        }
    }

    static constexpr std::size_t apart = 128;  // two cache lines: the prefetcher fetches pairs
    alignas(apart) std::atomic<std::uint32_t> asleep_{0};
    int event_ = -1;  // descriptors that both processes have by the fork
    int epoll_ = -1;
};

inline constexpr std::uint64_t large = std::uint64_t{8} << 20;  // bytes of a ring
inline constexpr std::uint64_t in_cache = std::uint64_t{2} << 20;

/// Made before the fork. Afterwards one process calls reserve(), commit() and publish(), the other
/// one peek() and release(). What was committed is published at the latest with the
/// `publish_each`th record or with 1 MiB; a receiver that is faster than the sender otherwise
/// pulls the index over for every record. `capacity` is a power of two.
template <Wake how, unsigned publish_each = 1, std::uint64_t capacity = large>
class Ring {
 public:
    Ring() {
        const int fd = must(::memfd_create("ring", MFD_CLOEXEC), "memfd_create");
        must(::ftruncate(fd, sizeof(Header) + capacity), "ftruncate");
        void* memory = ::mmap(nullptr, sizeof(Header) + capacity, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_POPULATE, fd, 0);
        ::close(fd);
        if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
        header_ = new (memory) Header;
        data_ = static_cast<std::byte*>(memory) + sizeof(Header);
    }
    ~Ring() { ::munmap(header_, sizeof(Header) + capacity); }
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;

    /// Room for a record of up to so many bytes.
    std::byte* reserve(std::size_t bytes) {
        const std::uint64_t need = footprint(bytes);
        const std::uint64_t left = capacity - offset(mine_);
        const std::uint64_t skip = left < need ? left : 0;
        if (!has_room(skip + need)) {
            publish();
            header_->sender.wait_until([&] { return has_room(skip + need); });
        }
        if (skip != 0) {
            store(mine_, wrap_mark);
            mine_ += skip;
        }
        return data_ + offset(mine_) + sizeof need;
    }
    void commit(std::size_t bytes) {
        store(mine_, bytes);
        mine_ += footprint(bytes);
        if (++unpublished_ == publish_each || mine_ - published_ >= publish_bytes) publish();
    }
    void publish() {
        if (mine_ == published_) return;
        header_->tail.store(mine_, std::memory_order_release);
        published_ = mine_;
        unpublished_ = 0;
        header_->receiver.wake();
    }

    /// The oldest record.
    std::span<const std::byte> peek() {
        if (!has_record()) header_->receiver.wait_until([&] { return has_record(); });
        std::uint64_t size = load(mine_);
        if (size == wrap_mark) {  // published together with the record behind it
            mine_ += capacity - offset(mine_);
            size = load(mine_);
        }
        return {data_ + offset(mine_) + sizeof size, size};
    }
    void release(std::span<const std::byte> record) {
        mine_ += footprint(record.size());
        header_->head.store(mine_, std::memory_order_release);
        header_->sender.wake();
    }

 private:
    static constexpr std::uint64_t publish_bytes = std::uint64_t{1} << 20;
    static constexpr std::uint64_t wrap_mark = ~std::uint64_t{0};

    struct Header {
        alignas(128) std::atomic<std::uint64_t> tail{0};  // bytes written since ever
        alignas(128) std::atomic<std::uint64_t> head{0};  // bytes read since ever
        Sleeper<how> receiver;
        Sleeper<how> sender;
    };

    static std::uint64_t offset(std::uint64_t position) { return position & (capacity - 1); }
    static std::uint64_t footprint(std::uint64_t size) {
        return (size + sizeof size + 7) & ~std::uint64_t{7};
    }
    void store(std::uint64_t position, std::uint64_t value) {
        std::memcpy(data_ + offset(position), &value, sizeof value);
    }
    std::uint64_t load(std::uint64_t position) const {
        std::uint64_t value = 0;
        std::memcpy(&value, data_ + offset(position), sizeof value);
        return value;
    }

    // The other side's index is read only when the copy of it does not suffice.
    bool has_room(std::uint64_t bytes) {
        if (capacity - (mine_ - theirs_) >= bytes) return true;
        theirs_ = header_->head.load(std::memory_order_acquire);
        return capacity - (mine_ - theirs_) >= bytes;
    }
    bool has_record() {
        if (mine_ != theirs_) return true;
        theirs_ = header_->tail.load(std::memory_order_acquire);
        return mine_ != theirs_;
    }

    Header* header_;
    std::byte* data_;
    std::uint64_t mine_ = 0;       // the sender's copy is the tail, the receiver's the head
    std::uint64_t theirs_ = 0;     // the other index, as last seen
    std::uint64_t published_ = 0;  // the tail as the receiver knows it
    unsigned unpublished_ = 0;     // records since
};

/// The best of them. On one core looking does not help, since the other one cannot run meanwhile,
/// and the cache keeps what has just been written; on two the sides are fast as long as they are
/// far apart.
using OneCoreRing = Ring<Wake::futex, 1, in_cache>;
using TwoCoreRing = Ring<Wake::spin, 16, large>;
/// For one record at a time.
using OneCoreRoundTripRing = Ring<Wake::eventfd, 1, in_cache>;
using TwoCoreRoundTripRing = Ring<Wake::spin, 1, in_cache>;

inline bool on_two_cores(const Options& options) {
    return options.consumer_core != options.producer_core;
}

}  // namespace bench
