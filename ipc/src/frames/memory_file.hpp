#pragma once
// Payloads too large for a ring: files in memory that nobody can change any more.

#include <cstddef>

#include <capnp/common.h>
#include <kj/array.h>

#include <green/detail/home.hpp>
#include <green/fd.hpp>

namespace green::ipc {

/// One that is being written.
class MemoryFile {
 public:
    /// All of its memory is there when this returns. Throws std::system_error.
    explicit MemoryFile(std::size_t bytes);
    MemoryFile(const MemoryFile&) = delete;
    MemoryFile& operator=(const MemoryFile&) = delete;
    ~MemoryFile();

    [[nodiscard]] std::byte* memory() const noexcept { return memory_; }
    /// From now on nobody can change it. memory() is gone. Throws std::system_error.
    [[nodiscard]] Fd seal() &&;

 private:
    void unmap() noexcept;

    Fd fd_;
    std::size_t bytes_;
    std::byte* memory_;
    green::detail::Home home_;
};
/// Throws ProtocolError for one of hugetlbfs: it can be unmapped only in whole pages of its own, of
/// a size that its maker has chosen. Throws std::system_error.
void refuse_huge_pages(const Fd& file);
/// Its first bytes, in whole words, readable until the array goes. Borrows the descriptor. Throws
/// std::system_error, and ProtocolError when its maker could still change it, or when it is
/// shorter.
[[nodiscard]] kj::Array<capnp::word> map_sealed(const Fd& file, std::size_t bytes);

}  // namespace green::ipc
