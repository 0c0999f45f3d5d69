#include "frames/lent_file.hpp"

#include <bit>
#include <cerrno>
#include <string>
#include <utility>

#include <green/errors.hpp>
#include <green/sys.hpp>

#include "frames/memory_file.hpp"

namespace green::ipc {
namespace {

constexpr std::uint64_t magic = 0x3154'4e45'4c53'4747;  // "GGSLENT1" in memory
constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

}  // namespace

// Populated: a fault for each page costs more than what is written to it.
LentFile::LentFile(int fd, std::size_t bytes)
    : bytes_{bytes},
      // NOLINTNEXTLINE(performance-no-int-to-ptr): mmap's value is the address
      base_{reinterpret_cast<std::byte*>(sys::must(
          sys::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0),
          "mmap of " + std::to_string(bytes) + " bytes for large frames"))} {}

LentFile::~LentFile() { (void)sys::munmap(base_, bytes_); }

green::detail::CountedPtr<LentFile> LentFile::create(std::size_t bytes) {
    Fd fd{static_cast<int>(sys::must(sys::memfd_create("greensup-frames", MFD_ALLOW_SEALING),
                                     "memfd_create for large frames"))};
    const std::size_t total = header_bytes + bytes;
    (void)sys::must(sys::fallocate(fd.number(), 0, static_cast<off_t>(total)),
                    "fallocate of " + std::to_string(total) + " bytes for large frames");
    (void)sys::must(sys::fcntl(fd.number(), F_ADD_SEALS, seals), "sealing a large frame's memory");
    green::detail::CountedPtr<LentFile> file{new LentFile{fd.number(), total}};
    file->own(std::move(fd));
    file->header().magic = magic;
    file->take();
    return file;
}

green::detail::CountedPtr<LentFile> LentFile::adopt(const Fd& fd, std::size_t most) {
    const sys::Outcome found = sys::fcntl(fd.number(), F_GET_SEALS);
    if (found.error == EINVAL || found.error == EBADF ||
        (sys::must(found, "looking at a large frame's seals") & (seals | F_SEAL_WRITE)) != seals)
        throw ProtocolError("a large frame whose memory its sender could still cut off");
    refuse_huge_pages(fd);
    struct stat status {};
    (void)sys::must(sys::fstat(fd.number(), status), "fstat of a large frame's memory");
    const auto bytes = static_cast<std::size_t>(status.st_size);
    if (bytes <= header_bytes || bytes - header_bytes > most) {
        throw ProtocolError("a large frame in memory of " + std::to_string(bytes) +
                            " bytes; the most is " + std::to_string(header_bytes + most));
    }
    green::detail::CountedPtr<LentFile> file{new LentFile{fd.number(), bytes}};
    if (file->header().magic != magic)
        throw ProtocolError("a large frame in memory that was not made for it");
    return file;
}

kj::Array<capnp::word> LentFile::lend(std::size_t bytes, Borrower& to) noexcept {
    borrower_ = &to;
    header().state.store(read);
    retain();  // until payload_gone()
    return {reinterpret_cast<capnp::word*>(memory()),
            (bytes + sizeof(capnp::word) - 1) / sizeof(capnp::word), *this};
}

void LentFile::payload_gone(void* /*first*/, std::size_t /*bytes*/) const noexcept {
    auto& self = const_cast<LentFile&>(*this);  // what kj hands out is constant, not we
    // In a forked child it is the parent's still.
    if (home_.is_here()) self.give_back();
    Borrower& borrower = *borrower_;
    self.release();
    borrower.file_came_free();
}

std::optional<std::uint8_t> Depot::take(std::size_t bytes) {
    if (bytes > largest) return std::nullopt;
    Place* fits = nullptr;
    Place* instead = nullptr;  // of one that is too small, or of none
    bool on_its_way = false;
    for (Place& place : places_) {
        const std::uint64_t state = place.file ? place.file->state() : LentFile::free;
        on_its_way = on_its_way || state == LentFile::sent;
        if (state != LentFile::free) continue;
        if (!place.file || place.file->size() < bytes) {
            if (instead == nullptr || !place.file) instead = &place;
        } else if (fits == nullptr || place.file->size() < fits->file->size()) {
            fits = &place;
        }
    }
    Place* chosen = fits != nullptr ? fits : instead;
    if (chosen == nullptr) {
        if (on_its_way) return std::nullopt;
        chosen = &places_[last_replaced_ = (last_replaced_ + 1) % places];
    }
    if (chosen != fits) *chosen = {LentFile::create(std::bit_ceil(bytes)), false};
    chosen->file->take();
    return static_cast<std::uint8_t>(chosen - places_.data());
}

std::uint64_t Depot::states() const noexcept {
    std::uint64_t all = 0;
    for (const Place& place : places_) all = all << 2 | (place.file ? place.file->state() & 3 : 0);
    return all;
}

void Depot::note_sent(std::uint8_t place) noexcept {
    places_[place].sent = true;
    places_[place].file->fd().close();
}

}  // namespace green::ipc
