#pragma once
// The mapped file of one queue: made, opened, checked, and looked into by index.

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>

#include "dedup.hpp"
#include "layout.hpp"

namespace green::ipc::shm {

/// The file is not a queue's segment that this version can use, or what it holds contradicts
/// itself. The text names the path and what is wrong; the file is as it was.
class SegmentError : public std::runtime_error {
 public:
    SegmentError(const std::string& path, const std::string& what)
        : std::runtime_error{path + ": " + what} {}
};

/// It is a queue's segment, of a version that this one cannot use.
class VersionError : public SegmentError {
 public:
    VersionError(const std::string& path, std::uint32_t version)
        : SegmentError{path, "segment version " + std::to_string(version) +
                                 ", but this program reads " + std::to_string(segment_version)},
          version_{version} {}
    [[nodiscard]] std::uint32_t version() const noexcept { return version_; }

 private:
    std::uint32_t version_;
};

/// The disk is full, or what its user may have of it.
[[nodiscard]] constexpr bool is_want_of_room(int error) noexcept {
    return error == ENOSPC || error == EDQUOT;
}

class Segment {
 public:
    /// Makes the file, all of its memory included, so that a full disk is an error here and never a
    /// SIGBUS later. It gets its name only when it is complete; one with that name must not exist.
    /// Whoever owns the run directory calls this, nobody else. Throws std::system_error, or
    /// std::invalid_argument for impossible figures.
    [[nodiscard]] static Segment create(const std::string& path, const Config& config);

    /// The same in the place of one that nobody uses, and that has nothing in it: it is there until
    /// the new one is complete, unless only its memory makes that possible. What cannot be made
    /// leaves it as it is, unless somebody still holds its memory.
    [[nodiscard]] static Segment replace(const std::string& path, const Config& config);

    /// What one that was killed in either of them has left, if nobody is in them now.
    static void remove_draft(const std::string& path) noexcept;

    /// Maps an existing one. Throws std::system_error, or SegmentError when the file is truncated,
    /// foreign, newer, damaged, or made for another schema than the one asked for.
    [[nodiscard]] static Segment open(const std::string& path,
                                      std::optional<std::uint64_t> schema_id = {});

    /// The same for a descriptor that was inherited. Borrows it; `path` is for messages.
    [[nodiscard]] static Segment adopt(int fd, const std::string& path,
                                       std::optional<std::uint64_t> schema_id = {});

    /// Maps one of an earlier version too, if its slots stand where ours do: to look at them and to
    /// change nothing. Throws as open() does.
    [[nodiscard]] static Segment open_to_look(const std::string& path);

    Segment(Segment&& other) noexcept;
    Segment& operator=(Segment&&) = delete;
    ~Segment();

    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] const Config& config() const noexcept { return config_; }
    /// A number that no other segment has, also none that had this one's name before.
    [[nodiscard]] std::uint64_t identity() const noexcept { return identity_; }
    [[nodiscard]] const Geometry& geometry() const noexcept { return geometry_; }

    // Places in the mapping. Indexes are the caller's to check: each is compared with its bound
    // where it is read.
    [[nodiscard]] Control& control() const noexcept { return *at<Control>(geometry_.control); }
    [[nodiscard]] SlotRecord& slot(std::uint64_t index) const noexcept {
        return at<SlotRecord>(geometry_.slots)[index];
    }
    [[nodiscard]] ChunkRecord& chunk(std::uint64_t index) const noexcept {
        return at<ChunkRecord>(geometry_.chunks)[index];
    }
    [[nodiscard]] Word& freed(std::uint64_t chunk) const noexcept {
        return at<Word>(geometry_.freed)[chunk];
    }
    [[nodiscard]] Word& busy(std::uint64_t word) const noexcept {
        return at<Word>(geometry_.busy)[word];
    }
    [[nodiscard]] Word& entry(std::uint64_t chunk, std::uint64_t unit_index) const noexcept {
        return at<Word>(geometry_.entries)[chunk * geometry_.chunk_units + unit_index];
    }
    [[nodiscard]] MemberRecord& member(Owner owner) const noexcept {
        return at<MemberRecord>(geometry_.members)[owner - 1];
    }
    [[nodiscard]] std::span<PinRecord> pins(Owner owner) const noexcept {
        return {at<PinRecord>(geometry_.pins) + (owner - 1) * std::size_t{config_.pins},
                config_.pins};
    }
    [[nodiscard]] WaitRecord& wait(unsigned index) const noexcept {
        return at<WaitRecord>(geometry_.waits)[index];
    }
    [[nodiscard]] std::span<Word> fresh_cells() const noexcept { return cells(geometry_.fresh); }
    [[nodiscard]] std::span<Word> again_cells() const noexcept { return cells(geometry_.again); }
    [[nodiscard]] std::span<Word> free_cells() const noexcept { return cells(geometry_.free); }
    /// The bucket that the id belongs to; empty when the queue remembers no ids.
    [[nodiscard]] std::span<DedupCell<Word>> bucket(MessageId id) const noexcept {
        if (geometry_.dedup_buckets == 0) return {};
        return bucket_at(mix(id) % geometry_.dedup_buckets);
    }
    [[nodiscard]] std::span<DedupCell<Word>> bucket_at(std::uint64_t index) const noexcept {
        return {at<DedupCell<Word>>(geometry_.dedup) + index * bucket_cells, bucket_cells};
    }
    [[nodiscard]] std::byte* payload(std::uint64_t chunk,
                                     std::uint64_t unit_index = 0) const noexcept {
        return base_ + geometry_.payload + chunk * geometry_.chunk_bytes + unit_index * unit;
    }

    // The clock of the segment: that of the machine's present start, set to where the one before
    // has stood still. Times in the segment are its own; those in calls are the machine's.
    [[nodiscard]] std::uint64_t from_machine(std::int64_t time) const noexcept {
        return static_cast<std::uint64_t>(time) + control().shift.peek();
    }
    /// A time that lies too far ahead is the last one there is.
    [[nodiscard]] std::int64_t to_machine(std::uint64_t time) const noexcept {
        constexpr std::int64_t last = std::numeric_limits<std::int64_t>::max();
        const auto here = static_cast<std::int64_t>(std::min<std::uint64_t>(time, last));
        const auto shift = static_cast<std::int64_t>(control().shift.peek());
        return shift < 0 && here > last + shift ? last : here - shift;
    }

    [[noreturn]] void damaged(const std::string& what) const { throw SegmentError(path_, what); }

 private:
    Segment(std::byte* base, const Header& header, std::string path);
    template <class T>
    [[nodiscard]] T* at(std::uint64_t offset) const noexcept {
        return reinterpret_cast<T*>(base_ + offset);
    }
    [[nodiscard]] std::span<Word> cells(std::uint64_t offset) const noexcept {
        return {at<Word>(offset), geometry_.ring_cells};
    }

    std::byte* base_;
    Config config_;
    std::uint64_t identity_;
    Geometry geometry_;
    std::string path_;
};

}  // namespace green::ipc::shm
