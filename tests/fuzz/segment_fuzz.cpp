// A segment that holds messages in all states is damaged anywhere, and opened, looked at, mended
// and used: what is wrong with it is a SegmentError or is borne, and nobody reads or writes
// outside.
//
// Input: what to do about the header; up to 15 edits; then one act after the other.

#include <array>
#include <memory>
#include <optional>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <green/errors.hpp>
#include <green/fd.hpp>
#include <green/sys.hpp>

#include "fuzz.hpp"
#include "queue/keeper.hpp"
#include "queue/member.hpp"
#include "segment_image.hpp"

using namespace green::ipc::shm;

namespace {

constexpr std::uint64_t largest_file = 1u << 20;

/// Address space without access, with a hole in which the next mapping of that size is put. What
/// overruns a segment there by less than a wing dies.
class Fence {
 public:
    explicit Fence(std::size_t size) : size_{(size + page - 1) / page * page} {
        const std::size_t all = wing + size_ + wing;
        base_ = static_cast<std::byte*>(
            ::mmap(nullptr, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        fuzz::expect(base_ != MAP_FAILED, "mmap");
        ::munmap(base_ + wing, size_);
    }
    Fence(const Fence&) = delete;
    Fence& operator=(const Fence&) = delete;
    ~Fence() {
        ::munmap(base_, wing);
        ::munmap(base_ + wing + size_, wing);
    }

 private:
    static constexpr std::size_t page = 4096;
    static constexpr std::size_t wing = 1u << 20;
    std::size_t size_;
    std::byte* base_;
};

/// One for the keeper and one for each member; they stay from input to input.
void put_fences(std::size_t size) {
    static std::size_t present = 0;
    static std::optional<Fence> fences[3];
    if (std::exchange(present, size) == size) return;
    for (auto& fence : fences) fence.reset();
    for (auto& fence : fences) fence.emplace(size);
}

/// The segment's file with the input's edits in it.
class File {
 public:
    File()
        : image_{fuzz::segment_image()},
          fd_{static_cast<int>(green::sys::must(green::sys::memfd_create("fuzz", 0), "memfd"))} {}

    /// Returns its size.
    std::uint64_t damage(fuzz::Input& input) {
        bytes_ = image_;
        const std::size_t header = input.below(4);
        for (std::size_t left = input.below(16); left > 0; --left) edit(input);
        if (header != 0) mend_header();
        if (header == 2) bytes_.resize(input.number<std::uint16_t>());
        if (std::exchange(size_, bytes_.size()) != bytes_.size())
            fuzz::expect(::ftruncate(fd_.number(), static_cast<off_t>(size_)) == 0, "ftruncate");
        const auto size = static_cast<ssize_t>(bytes_.size());
        fuzz::expect(::pwrite(fd_.number(), bytes_.data(), bytes_.size(), 0) == size, "pwrite");
        return bytes_.size();
    }
    [[nodiscard]] int fd() const noexcept { return fd_.number(); }

 private:
    void edit(fuzz::Input& input) {
        static const Geometry geometry{fuzz::segment_config()};
        const std::array<std::uint64_t, 15> areas{0,
                                                  geometry.control,
                                                  geometry.slots,
                                                  geometry.fresh,
                                                  geometry.again,
                                                  geometry.free,
                                                  geometry.chunks,
                                                  geometry.freed,
                                                  geometry.busy,
                                                  geometry.entries,
                                                  geometry.members,
                                                  geometry.pins,
                                                  geometry.waits,
                                                  geometry.dedup,
                                                  geometry.payload};
        const std::size_t area = input.below(areas.size() - 1);
        const std::uint64_t words = (areas[area + 1] - areas[area]) / 8;
        const std::uint64_t at = areas[area] + input.number<std::uint16_t>() % words * 8;
        std::uint64_t word = 0;
        std::memcpy(&word, bytes_.data() + at, sizeof word);
        switch (input.below(4)) {
            case 0:
                word = input.number<std::uint64_t>();
                break;
            case 1:
                word ^= std::uint64_t{1} << input.below(64);
                break;
            case 2: {
                const std::size_t shift = 8 * input.below(8);
                word &= ~(std::uint64_t{0xff} << shift);
                word |= std::uint64_t{input.number<std::uint8_t>()} << shift;
                break;
            }
            default:
                word += static_cast<std::uint64_t>(std::int64_t{input.number<std::int8_t>()});
        }
        std::memcpy(bytes_.data() + at, &word, sizeof word);
    }
    /// Whoever writes such a header also gets its sums right.
    void mend_header() {
        Header header;
        std::memcpy(&header, bytes_.data(), sizeof header);
        if (header.config.problem().empty()) header.total_bytes = Geometry{header.config}.total;
        header.checksum = checksum_of(header);
        std::memcpy(bytes_.data(), &header, sizeof header);
        if (header.total_bytes <= largest_file) bytes_.resize(header.total_bytes);
    }

    std::vector<std::byte> image_;
    std::vector<std::byte> bytes_;
    std::size_t size_ = 0;
    green::Fd fd_;
};

/// The keeper and up to two members, at work in the damaged segment.
class Scene {
 public:
    explicit Scene(int fd) : fd_{fd}, keeper_{Segment::adopt(fd, "fuzz", 7)} {}

    void act(fuzz::Input& input) {
        const std::size_t what = input.below(16);
        Actor& actor = actors_[input.below(actors_.size())];
        try {
            what < 6 ? keep(what, input) : take_part(what, actor, input);
        } catch (const SegmentError&) {
        } catch (const green::UsageError&) {
        } catch (const std::length_error&) {
        }
    }

 private:
    struct Actor {
        std::unique_ptr<Member> member;
        Reservation reservation;
        std::vector<Lease> leases;
    };

    [[nodiscard]] const Segment& segment() const { return keeper_.segment(); }
    [[nodiscard]] Owner owner(fuzz::Input& input) const {
        return static_cast<Owner>(input.below(segment().config().members + 2));
    }

    void keep(std::size_t what, fuzz::Input& input) {
        switch (what) {
            case 0:
                return recover();
            case 1:
                return keeper_.repair(owner(input));
            case 2: {
                const auto slot = static_cast<std::uint32_t>(
                    input.below(std::min(segment().config().capacity, 250u)));
                (void)keeper_.take_back(slot, segment().slot(slot).state.load());
                return;
            }
            case 3:
                (void)keeper_.status();
                (void)keeper_.empty();
                (void)space(segment());
                return;
            case 4:
                (void)audit(segment());
                return;
            default:
                if (input.below(2) == 0) return keeper_.wake_all();
                (void)keeper_.sweep(input.number<std::int64_t>(), 1 + input.below(64));
                (void)keeper_.level();
        }
    }

    /// Whatever it refuses, it loses no message.
    void recover() {
        for (Actor& actor : actors_) actor = {};
        const Status before = keeper_.status();
        keeper_.recover();
        const Status after = keeper_.status();
        const auto messages = [](const Status& status) {
            return status.ready + status.leased + status.delayed + status.dead;
        };
        fuzz::expect(messages(after) == messages(before), "recover() has lost a message");
        fuzz::expect(after.reserved + after.leased + after.retiring + after.zombie == 0,
                     "recover() has left a slot held");
    }

    void take_part(std::size_t what, Actor& actor, fuzz::Input& input) {
        if (!actor.member) {
            actor.member = std::make_unique<Member>(Segment::adopt(fd_, "fuzz"), owner(input),
                                                    keeper_.doorbells());
            return;
        }
        Member& member = *actor.member;
        switch (what) {
            case 6:
                actor = {};
                return;
            case 7:
                if (actor.reservation) return member.abandon(actor.reservation);
                [[fallthrough]];
            case 8:
                if (!actor.reservation) {
                    (void)member.try_reserve(input.number<std::uint16_t>(), actor.reservation);
                    return touch(actor.reservation.memory);
                }
                if (input.below(2) == 0) {
                    (void)member.put_once(actor.reservation, actor.reservation.memory.size(),
                                          {input.number<std::uint8_t>(), 2}, 5);
                } else {
                    (void)member.put(actor.reservation, actor.reservation.memory.size());
                }
                return;
            case 9:
                if (!actor.reservation) return;
                member.release_extent(actor.reservation, input.number<std::uint16_t>());
                (void)member.try_extent(actor.reservation, input.number<std::uint16_t>());
                return touch(actor.reservation.memory);
            case 10:
            case 11: {
                Lease lease;
                if (member.try_get(lease) != Got::message) return;
                fuzz::read_all(lease.message);
                actor.leases.push_back(lease);
                return;
            }
            case 12:
            case 13:
                if (actor.leases.empty()) return;
                (void)member.holds(actor.leases.back());
                fuzz::read_all(actor.leases.back().message);
                if (what == 12) (void)member.ack(actor.leases.back());
                if (what == 13) give_up(member, actor.leases.back(), input);
                actor.leases.pop_back();
                return;
            default: {
                const auto interest = static_cast<Interest>(input.below(interests));
                if (what == 15) return member.pass_on(interest);
                if (member.doorbell() < 0) return;
                member.arm(interest, input.number<std::uint16_t>());
                if (input.below(2) == 0) (void)member.disarm(interest);
            }
        }
    }

    static void give_up(Member& member, Lease& lease, fuzz::Input& input) {
        switch (input.below(4)) {
            case 0:
                (void)member.nack(lease, Turn::last);
                return;
            case 1:
                (void)member.nack_until(lease, input.number<std::int64_t>());
                return;
            case 2:
                (void)member.reject(lease);
                return;
            default:
                (void)member.extend(lease, input.number<std::int64_t>());
        }
    }
    static void touch(std::span<std::byte> memory) noexcept {
        if (!memory.empty()) std::memset(memory.data(), 0x5a, memory.size());
    }

    int fd_;
    Keeper keeper_;
    std::array<Actor, 2> actors_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static File file;
    const fuzz::NoDescriptorLeft descriptors;
    fuzz::Input input{data, size};
    put_fences(file.damage(input));
    try {
        Scene scene{file.fd()};
        for (int acts = 0; acts < 64 && !input.empty(); ++acts) scene.act(input);
    } catch (const SegmentError&) {
    }
    return 0;
}
