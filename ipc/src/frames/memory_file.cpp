#include "frames/memory_file.hpp"

#include <cerrno>
#include <linux/magic.h>
#include <string>
#include <sys/vfs.h>
#include <utility>

#include <green/errors.hpp>
#include <green/sys.hpp>

#include "frames/payload_owner.hpp"

namespace green::ipc {
namespace {

constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;

struct Unmap final : PayloadOwner<Unmap> {
    static void payload_gone(void* first, std::size_t bytes) noexcept {
        (void)sys::munmap(first, bytes);
    }
};
const Unmap unmap{};

}  // namespace

MemoryFile::MemoryFile(std::size_t bytes)
    : fd_{static_cast<int>(sys::must(sys::memfd_create("greensup-frame", MFD_ALLOW_SEALING),
                                     "memfd_create for a frame"))},
      bytes_{bytes} {
    const std::string what = " of " + std::to_string(bytes) + " bytes for a frame";
    (void)sys::must(sys::fallocate(fd_.number(), 0, static_cast<off_t>(bytes)), "fallocate" + what);
    // NOLINTNEXTLINE(performance-no-int-to-ptr): mmap's value is the address
    memory_ = reinterpret_cast<std::byte*>(
        sys::must(sys::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.number(), 0),
                  "mmap" + what));
    // In a child it would stand in the way of seal().
    (void)sys::madvise(memory_, bytes, MADV_DONTFORK);
}

MemoryFile::~MemoryFile() { unmap(); }

void MemoryFile::unmap() noexcept {
    std::byte* const memory = std::exchange(memory_, nullptr);
    // A forked child has not got it, and perhaps something else in its place.
    if (memory != nullptr && home_.is_here()) (void)sys::munmap(memory, bytes_);
}

Fd MemoryFile::seal() && {
    unmap();  // while somebody could write through a mapping the kernel refuses
    (void)sys::must(sys::fcntl(fd_.number(), F_ADD_SEALS, seals), "sealing a frame");
    return std::move(fd_);
}

// Not by the size of its blocks: that of ordinary memory is huge too where the system prefers it.
void refuse_huge_pages(const Fd& file) {
    struct statfs status {};
    if (::fstatfs(file.number(), &status) != 0)
        sys::fail(errno, "fstatfs of a large frame's memory");
    if (status.f_type == HUGETLBFS_MAGIC)
        throw ProtocolError("a large frame in memory of huge pages");
}

kj::Array<capnp::word> map_sealed(const Fd& file, std::size_t bytes) {
    const sys::Outcome found = sys::fcntl(file.number(), F_GET_SEALS);
    if (found.error == EINVAL || found.error == EBADF ||
        (sys::must(found, "looking at a frame's seals") & seals) != seals)
        throw ProtocolError("a large frame whose sender could still change it");
    refuse_huge_pages(file);
    struct stat status {};
    (void)sys::must(sys::fstat(file.number(), status), "fstat of a frame");
    if (static_cast<std::size_t>(status.st_size) < bytes) {
        throw ProtocolError("a large frame of " + std::to_string(status.st_size) + " bytes, " +
                            std::to_string(bytes) + " were announced");
    }
    const std::size_t words = (bytes + sizeof(capnp::word) - 1) / sizeof(capnp::word);
    // Private: a write here would be nobody's affair but ours.
    const auto address = sys::must(sys::mmap(nullptr, words * sizeof(capnp::word),
                                             PROT_READ | PROT_WRITE, MAP_PRIVATE, file.number(), 0),
                                   "mmap of a frame");
    // NOLINTNEXTLINE(performance-no-int-to-ptr): mmap's value is the address
    return {reinterpret_cast<capnp::word*>(address), words, unmap};
}

}  // namespace green::ipc
