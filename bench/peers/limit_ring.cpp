// The limit of message passing between two processes: a ring for one sender and one receiver in a
// memfd. Records lie behind one another, 8-byte aligned, each after its size; one that does not fit
// before the end starts anew at the beginning. Both sides sleep on a futex, and are woken by a
// system call only if they have said that they sleep.
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <linux/futex.h>
#include <new>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>

#include "two_processes.hpp"

namespace {

constexpr std::uint64_t capacity = std::uint64_t{8} << 20;  // bytes, a power of two
constexpr std::uint64_t wrap_mark = ~std::uint64_t{0};
constexpr std::size_t apart = 128;  // two cache lines: the prefetcher fetches them in pairs

struct Sleeper {
    alignas(apart) std::atomic<std::uint32_t> asleep{0};

    template <class Ready>
    void wait_until(Ready ready) {
        while (!ready()) {
            asleep.store(1, std::memory_order_relaxed);
            std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with the one in wake()
            if (ready()) break;
            ::syscall(SYS_futex, &asleep, FUTEX_WAIT, 1, nullptr, nullptr, 0);
        }
        asleep.store(0, std::memory_order_relaxed);
    }

    void wake() {
        std::atomic_thread_fence(std::memory_order_seq_cst);
        if (asleep.load(std::memory_order_relaxed) == 0) return;
        // Cleared by the waker: else each message until the sleeper runs would pay the call.
        asleep.store(0, std::memory_order_relaxed);
        ::syscall(SYS_futex, &asleep, FUTEX_WAKE, 1, nullptr, nullptr, 0);
    }
};

struct Header {
    alignas(apart) std::atomic<std::uint64_t> tail{0};  // bytes written since ever
    alignas(apart) std::atomic<std::uint64_t> head{0};  // bytes read since ever
    Sleeper receiver;
    Sleeper sender;
};

class Ring {
 public:
    explicit Ring(const bench::Options&) {
        const int fd = ::memfd_create("ring", MFD_CLOEXEC);
        if (fd < 0 || ::ftruncate(fd, sizeof(Header) + capacity) != 0)
            throw std::system_error(errno, std::generic_category(), "memfd");
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

    void attach_sender() {}
    void attach_receiver() {}

    void send(std::span<const std::byte> message) {
        const std::uint64_t need = footprint(message.size());
        const std::uint64_t left = capacity - offset(mine_);
        const std::uint64_t skip = left < need ? left : 0;
        if (!has_room(skip + need))
            header_->sender.wait_until([&] { return has_room(skip + need); });
        if (skip != 0) {
            store(mine_, wrap_mark);
            mine_ += skip;
        }
        store(mine_, message.size());
        std::memcpy(data_ + offset(mine_) + sizeof need, message.data(), message.size());
        mine_ += need;
        header_->tail.store(mine_, std::memory_order_release);
        header_->receiver.wake();
    }

    std::size_t receive(std::span<std::byte> buffer) {
        if (!has_record()) header_->receiver.wait_until([&] { return has_record(); });
        std::uint64_t size = load(mine_);
        if (size == wrap_mark) {  // published together with the record behind it
            mine_ += capacity - offset(mine_);
            size = load(mine_);
        }
        std::memcpy(buffer.data(), data_ + offset(mine_) + sizeof size,
                    std::min<std::size_t>(size, buffer.size()));
        mine_ += footprint(size);
        header_->head.store(mine_, std::memory_order_release);
        header_->sender.wake();
        return size;
    }

 private:
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
    std::uint64_t mine_ = 0;    // the sender's copy is the tail, the receiver's the head
    std::uint64_t theirs_ = 0;  // the other index, as last seen
};

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv, {{"queue_put_get_ack", bench::messages_per_second<Ring>}});
}
