#include "ring/ring_memory.hpp"

#include <bit>
#include <cerrno>
#include <sched.h>
#include <string>
#include <utility>

#include <green/errors.hpp>
#include <green/sys.hpp>

namespace green::ipc::ring {
namespace {

constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

/// Address space that is given back unless it is kept.
class Reserved {
 public:
    explicit Reserved(std::size_t size)
        : size_{size},
          // NOLINTNEXTLINE(performance-no-int-to-ptr): mmap's value is the address
          base_{reinterpret_cast<std::byte*>(
              sys::must(sys::mmap(nullptr, size, PROT_NONE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
                        "mmap for a ring"))} {}
    Reserved(const Reserved&) = delete;
    Reserved& operator=(const Reserved&) = delete;
    ~Reserved() {
        if (base_ != nullptr) (void)sys::munmap(base_, size_);
    }
    void put(std::size_t at, int fd, std::size_t size, off_t offset) {
        (void)sys::must(
            sys::mmap(base_ + at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, offset),
            "mmap of a ring");
    }
    [[nodiscard]] std::byte* base() const noexcept { return base_; }
    [[nodiscard]] std::byte* keep() noexcept { return std::exchange(base_, nullptr); }

 private:
    std::size_t size_;
    std::byte* base_;
};

[[nodiscard]] std::size_t mapped_bytes(std::size_t capacity) { return header_bytes + 2 * capacity; }

/// The data appears twice: what runs over the end of the first goes on in the second.
void map_into(Reserved& space, int fd, std::size_t capacity) {
    space.put(0, fd, header_bytes + capacity, 0);
    space.put(header_bytes + capacity, fd, capacity, static_cast<off_t>(header_bytes));
}

[[nodiscard]] bool is_capacity(std::size_t bytes) noexcept {
    return std::has_single_bit(bytes) && bytes >= smallest && bytes <= largest;
}

}  // namespace

std::uint64_t present_processor() noexcept { return static_cast<std::uint64_t>(::sched_getcpu()); }

RingMemory RingMemory::create(std::size_t capacity) {
    if (!is_capacity(capacity)) {
        throw UsageError("a ring of " + std::to_string(capacity) +
                         " bytes: it takes a power of two from " + std::to_string(smallest) +
                         " to " + std::to_string(largest));
    }
    const std::size_t total = header_bytes + capacity;
    Fd fd{static_cast<int>(sys::must(sys::memfd_create("greensup-ring", MFD_ALLOW_SEALING),
                                     "memfd_create for a ring"))};
    (void)sys::must(sys::fallocate(fd.number(), 0, static_cast<off_t>(total)),
                    "fallocate of " + std::to_string(total) + " bytes for a ring");
    Reserved space{mapped_bytes(capacity)};
    map_into(space, fd.number(), capacity);
    auto& header = *reinterpret_cast<Header*>(space.base());
    header.magic = magic;
    header.version = version;
    header.capacity = capacity;
    (void)sys::must(sys::fcntl(fd.number(), F_ADD_SEALS, seals), "sealing a ring");
    return RingMemory{std::move(fd), space.keep(), capacity};
}

RingMemory RingMemory::adopt(Fd fd) {
    const sys::Outcome found = sys::fcntl(fd.number(), F_GET_SEALS);
    if (found.error == EINVAL) throw ProtocolError("not a ring: it has no seals");
    if ((sys::must(found, "looking at a ring's seals") & seals) != seals)
        throw ProtocolError("not a ring: its maker could still cut its memory off");
    struct stat file {};
    (void)sys::must(sys::fstat(fd.number(), file), "fstat of a ring");
    const auto total = static_cast<std::size_t>(file.st_size);
    if (total < header_bytes || !is_capacity(total - header_bytes))
        throw ProtocolError("not a ring: " + std::to_string(total) + " bytes");
    const std::size_t capacity = total - header_bytes;
    Reserved space{mapped_bytes(capacity)};
    map_into(space, fd.number(), capacity);
    // Only what the size of the file says is believed later: the header stays the other's to write.
    const auto& header = *reinterpret_cast<const Header*>(space.base());
    if (header.magic != magic) throw ProtocolError("not a ring: another magic number");
    if (const std::uint32_t theirs = header.version; theirs != version) {
        throw ProtocolError("a ring of version " + std::to_string(theirs) +
                            ", but this program uses " + std::to_string(version));
    }
    if (header.capacity != capacity) throw ProtocolError("a damaged ring: its size");
    return RingMemory{std::move(fd), space.keep(), capacity};
}

RingMemory::RingMemory(RingMemory&& other) noexcept
    : fd_{std::move(other.fd_)},
      base_{std::exchange(other.base_, nullptr)},
      capacity_{other.capacity_} {}

RingMemory::~RingMemory() {
    if (base_ != nullptr) (void)sys::munmap(base_, mapped_bytes(capacity_));
}

}  // namespace green::ipc::ring
