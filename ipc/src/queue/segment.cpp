#include "segment.hpp"

#include <cstring>
#include <random>
#include <utility>

#include <green/sys.hpp>

namespace green::ipc::shm {
namespace {

/// A descriptor that is closed again, and a file that is removed again unless kept.
class Fd {
 public:
    explicit Fd(int fd) noexcept : fd_{fd} {}
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd() { (void)sys::close(fd_); }
    [[nodiscard]] int get() const noexcept { return fd_; }

 private:
    int fd_;
};

class Draft {
 public:
    explicit Draft(std::string path) : path_{std::move(path)} { (void)sys::unlink(path_.c_str()); }
    Draft(const Draft&) = delete;
    Draft& operator=(const Draft&) = delete;
    ~Draft() {
        if (!path_.empty()) (void)sys::unlink(path_.c_str());
    }
    [[nodiscard]] const char* path() const noexcept { return path_.c_str(); }
    void name(const std::string& final) {
        (void)sys::must(sys::rename(path_.c_str(), final.c_str()),
                        "rename " + path_ + " to " + final);
        path_.clear();
    }

 private:
    std::string path_;
};

std::byte* map(int fd, std::uint64_t size, const std::string& path) {
    const auto address = sys::must(
        sys::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), "mmap " + path);
    // NOLINTNEXTLINE(performance-no-int-to-ptr): mmap's value is the address
    return reinterpret_cast<std::byte*>(address);
}

/// How much memory comes free when the file is removed; nothing if it is not there.
std::uint64_t memory_of(const std::string& path) noexcept {
    const sys::Outcome file = sys::open(path.c_str(), O_RDONLY | O_NOFOLLOW);
    if (!file.ok()) return 0;
    struct stat about {};
    const bool is_known = sys::fstat(file.as_int(), about).ok();
    (void)sys::close(file.as_int());
    return is_known ? static_cast<std::uint64_t>(about.st_blocks) * 512 : 0;
}

/// All of it. What stands in the place of the new file goes before only if there is no room for
/// both, and all that its memory does not cover is there: then only who takes room in the same
/// instant, or still holds the old one, can make it fail.
sys::Outcome take_memory(int fd, std::uint64_t total, const std::string& path) noexcept {
    const auto take = [fd](std::uint64_t bytes) {
        return sys::fallocate(fd, 0, static_cast<off_t>(bytes));
    };
    const sys::Outcome taken = take(total);
    const std::uint64_t old = is_want_of_room(taken.error) ? memory_of(path) : 0;
    if (old == 0) return taken;
    if (old < total && !take(total - old).ok()) return taken;
    (void)sys::unlink(path.c_str());
    return take(total);
}

Header write_header(int fd, const Config& config, std::uint64_t total, const std::string& path) {
    Header header{};
    header.magic = segment_magic;
    header.version = segment_version;
    header.header_bytes = sizeof(Header);
    header.total_bytes = total;
    header.config = config;
    std::random_device dice;
    header.identity = (std::uint64_t{dice()} << 32) | dice();
    header.checksum = checksum_of(header);
    const auto written = sys::must(sys::pwrite(fd, &header, sizeof header, 0), "write " + path);
    if (written != sizeof header) throw SegmentError(path, "short write of the header");
    return header;
}

std::string of(std::uint64_t have, std::uint64_t need) {
    return std::to_string(have) + " bytes of " + std::to_string(need);
}

Header read_header(int fd, const std::string& path, std::uint32_t first_version) {
    struct stat file {};
    (void)sys::must(sys::fstat(fd, file), "fstat " + path);
    if (!S_ISREG(file.st_mode)) throw SegmentError(path, "not a regular file");
    const auto size = static_cast<std::uint64_t>(file.st_size);
    if (size < sizeof(Header))
        throw SegmentError(path, "truncated: " + of(size, sizeof(Header)) + " of a header");

    Header header;
    const auto got = sys::must(sys::pread(fd, &header, sizeof header, 0), "read " + path);
    if (got != sizeof header) throw SegmentError(path, "short read of the header");
    if (header.magic != segment_magic)
        throw SegmentError(path, "not a queue segment: another magic number");
    // What is of our size and damaged is not of another version, whatever stands there.
    const bool is_our_size = header.header_bytes == sizeof(Header);
    if (is_our_size && header.checksum != checksum_of(header))
        throw SegmentError(path, "damaged header: its checksum");
    if (header.version < first_version || header.version > segment_version)
        throw VersionError(path, header.version);
    if (!is_our_size) throw SegmentError(path, "damaged header: its size");
    if (const std::string problem = header.config.problem(); !problem.empty()) {
        throw SegmentError(path, "damaged header: " + problem);
    }
    const std::uint64_t total = Geometry{header.config}.total;
    if (header.total_bytes != total)
        throw SegmentError(path, "damaged header: its figures do not add up");
    if (size < total) throw SegmentError(path, "truncated: " + of(size, total));
    if (size > total) throw SegmentError(path, "longer than its header says: " + of(size, total));
    return header;
}

/// What a creation leaves that was killed.
std::string draft_of(const std::string& path) { return path + ".new"; }

}  // namespace

void Segment::remove_draft(const std::string& path) noexcept {
    (void)sys::unlink(draft_of(path).c_str());
}

Segment Segment::create(const std::string& path, const Config& config) {
    // rename() would replace silently; the run directory is ours alone, so looking first is enough.
    const sys::Outcome existing = sys::open(path.c_str(), O_RDONLY | O_NOFOLLOW);
    if (existing.ok()) (void)sys::close(existing.as_int());
    if (existing.error != ENOENT)
        sys::fail(existing.ok() ? EEXIST : existing.error, "create " + path);
    return replace(path, config);
}

Segment Segment::replace(const std::string& path, const Config& config) {
    if (const std::string problem = config.problem(); !problem.empty())
        throw std::invalid_argument(problem);
    const std::uint64_t total = Geometry{config}.total;
    Draft draft{draft_of(path)};
    const Fd fd{static_cast<int>(sys::must(
        sys::open(draft.path(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, S_IRUSR | S_IWUSR),
        "create " + path))};
    (void)sys::must(take_memory(fd.get(), total, path),
                    "fallocate " + std::to_string(total) + " bytes for " + path);
    const Header header = write_header(fd.get(), config, total, path);
    Segment segment{map(fd.get(), total, path), header, path};
    draft.name(path);
    return segment;
}

Segment Segment::open(const std::string& path, std::optional<std::uint64_t> schema_id) {
    const Fd fd{
        static_cast<int>(sys::must(sys::open(path.c_str(), O_RDWR | O_NOFOLLOW), "open " + path))};
    return adopt(fd.get(), path, schema_id);
}

Segment Segment::adopt(int fd, const std::string& path, std::optional<std::uint64_t> schema_id) {
    const Header header = read_header(fd, path, segment_version);
    if (schema_id && *schema_id != header.config.schema_id) {
        throw SegmentError(path, "holds messages of schema " +
                                     std::to_string(header.config.schema_id) + ", not of " +
                                     std::to_string(*schema_id));
    }
    return Segment{map(fd, header.total_bytes, path), header, path};
}

Segment Segment::open_to_look(const std::string& path) {
    const Fd fd{
        static_cast<int>(sys::must(sys::open(path.c_str(), O_RDWR | O_NOFOLLOW), "open " + path))};
    const Header header = read_header(fd.get(), path, first_alike_version);
    return Segment{map(fd.get(), header.total_bytes, path), header, path};
}

Segment::Segment(std::byte* base, const Header& header, std::string path)
    : base_{base},
      config_{header.config},
      identity_{header.identity},
      geometry_{header.config},
      path_{std::move(path)} {}

Segment::Segment(Segment&& other) noexcept
    : base_{std::exchange(other.base_, nullptr)},
      config_{other.config_},
      identity_{other.identity_},
      geometry_{other.geometry_},
      path_{std::move(other.path_)} {}

Segment::~Segment() {
    if (base_ != nullptr) (void)sys::munmap(base_, geometry_.total);
}

}  // namespace green::ipc::shm
